//! Daemons of root's that begin a process for a user: cron, at, sshd, systemd by polkit, and su.

use std::{
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use super::{Escape, running};
use crate::hook::{account::Account, tools};

/// A server on this host's loopback answers sooner.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn look(account: &Account) -> Vec<Escape> {
    let runs = |names: &[&str]| {
        !running(|exe| exe.file_name().is_some_and(|name| names.iter().any(|n| name == *n))).is_empty()
    };
    let list = |path: &str| fs::read_to_string(path).ok();
    vec![
        cron(account, runs(&["cron", "crond", "fcron"]), list("/etc/cron.allow"), list("/etc/cron.deny")),
        at(account, runs(&["atd"]), list("/etc/at.allow"), list("/etc/at.deny")),
        sshd(account),
        polkit(account),
        su(account, list("/etc/shadow").as_deref()),
    ]
}

/// crontab(1): without either file everybody may, on Debian, or root alone, elsewhere.
pub(super) fn cron(account: &Account, runs: bool, allow: Option<String>, deny: Option<String>) -> Escape {
    timer(("cron", "crontab"), account, runs, allow.as_deref(), deny.as_deref(), true)
}

/// at(1): without either file root alone may.
pub(super) fn at(account: &Account, runs: bool, allow: Option<String>, deny: Option<String>) -> Escape {
    timer(("at", "at"), account, runs, allow.as_deref(), deny.as_deref(), false)
}

fn timer(
    (name, program): (&'static str, &str),
    account: &Account,
    runs: bool,
    allow: Option<&str>,
    deny: Option<&str>,
    else_open: bool,
) -> Escape {
    if !runs {
        return Escape::closed(name, "its daemon does not run");
    }
    let names = |list: &str| list.lines().any(|line| line.trim() == account.name);
    let open = match (allow, deny) {
        (Some(allow), _) => names(allow),
        (None, Some(deny)) => !names(deny),
        (None, None) => else_open,
    };
    if !open {
        return Escape::closed(name, format!("refused to {}", account.name));
    }
    let found = format!("{} may leave a job with {program}, which the daemon runs outside", account.name);
    Escape::open(name, found, format!("echo root > /etc/{name}.allow"))
}

/// Who can write to HOME lets itself in with a key.
fn sshd(account: &Account) -> Escape {
    let match_for = format!("user={},host=localhost,addr=127.0.0.1", account.name);
    let settings = tools::run("sshd", &["-T", "-C", &match_for]).unwrap_or_default();
    let ports: Vec<u16> =
        settings.lines().filter_map(|line| line.strip_prefix("port ")?.parse().ok()).collect();
    let ports = if ports.is_empty() { vec![22] } else { ports };
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let open = |port: &u16| hosts.iter().any(|host| greets(SocketAddr::new(*host, *port)));
    ssh(account, &settings, ports.iter().any(open))
}

pub(super) fn ssh(account: &Account, settings: &str, answers: bool) -> Escape {
    const NAME: &str = "ssh to localhost";
    if !answers {
        return Escape::closed(NAME, "no server answers there");
    }
    let values = |key: &str| -> Vec<&str> {
        settings.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).collect()
    };
    // Patterns are left to sshd: only the name itself is taken for a refusal.
    let denied = values("denyusers").contains(&&*account.name);
    let allowed = values("allowusers");
    if denied
        || (!allowed.is_empty()
            && allowed.iter().all(|name| *name != account.name && !name.contains(['*', '?', '!', '@'])))
    {
        return Escape::closed(NAME, format!("sshd refuses {}", account.name));
    }
    let found = format!("{} may put a key into its ~/.ssh, and log in to a session outside", account.name);
    Escape::open(NAME, found, format!("DenyUsers {} in /etc/ssh/sshd_config.d/awf-bpf.conf", account.name))
}

fn greets(server: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&server, PATIENCE) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(PATIENCE)).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && greeting == *b"SSH-"
}

/// Over D-Bus, systemd begins units for whom polkit lets it. Asked for a process of the user's.
fn polkit(account: &Account) -> Escape {
    const NAME: &str = "system units";
    if !Path::new("/run/dbus/system_bus_socket").exists() || !Path::new("/run/systemd/system").exists() {
        return Escape::closed(NAME, "no systemd answers on D-Bus");
    }
    let own = super::processes::of(account.uid);
    let remedy = "remove the polkit rule that gives the user org.freedesktop.systemd1.manage-units";
    let Some((pid, _)) = own.first() else {
        return Escape::unknown(
            NAME,
            "polkit is asked for a process of the user's, and there is none",
            remedy,
        );
    };
    let pid = pid.to_string();
    match tools::ask("pkcheck", &["-a", "org.freedesktop.systemd1.manage-units", "-p", &pid]) {
        Ok(out) if out.status.success() => {
            let found =
                format!("polkit lets {} begin units, which are not in the job's cgroup", account.name);
            Escape::open(NAME, found, remedy)
        }
        Ok(_) => Escape::closed(NAME, format!("polkit refuses them to {}", account.name)),
        // Without polkit, systemd takes nobody but root.
        Err(_) => Escape::closed(NAME, "without polkit they are root's alone"),
    }
}

/// With a password that is empty, su opens a session of the user's own outside (pam_systemd(8)).
pub(super) fn su(account: &Account, shadow: Option<&str>) -> Escape {
    const NAME: &str = "su";
    let Some(shadow) = shadow else {
        return Escape::unknown(NAME, "/etc/shadow cannot be read", "ask as root");
    };
    let empty: Vec<_> = shadow
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(_, rest)| rest.starts_with(':'))
        .map(|(name, _)| name)
        .collect();
    if empty.is_empty() {
        return Escape::closed(
            NAME,
            format!("no account is without a password, and a step of {} knows none", account.name),
        );
    }
    Escape::open(NAME, format!("no password is asked for {}", empty.join(", ")), "passwd -l each of them")
}
