//! Networks that a user may have led out of the machine: unprivileged users make network namespaces, and what plugs one
//! of those into a bridge is a program with rights of its own. No program on a cgroup sees a packet socket there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Escape;
use crate::hook::account::Account;

const NAME: &str = "bridges";
/// lxc-usernet(5)
const QUOTAS: &str = "/etc/lxc/lxc-usernet";
const HELPER: &str = "lxc/lxc-user-nic";

/// Whether lxc-user-nic(1) makes `account` a device on a bridge of the machine's.
pub(super) fn look(account: &Account) -> Escape {
    const REMEDY: &str = "take the user and its groups out of /etc/lxc/lxc-usernet";
    if !helpers().iter().any(|path| path.exists()) {
        return Escape::closed(NAME, "no lxc-user-nic is here");
    }
    let groups = fs::read_to_string("/etc/group").map(|text| names(&text, &account.groups));
    let text = match fs::read_to_string(QUOTAS) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Escape::unknown(NAME, format!("{QUOTAS}: {e}"), REMEDY),
    };
    let Ok(groups) = groups else { return Escape::unknown(NAME, "/etc/group cannot be read", REMEDY) };
    match bridge(&text, &account.name, &groups) {
        None => Escape::closed(NAME, format!("{QUOTAS} gives {} none", account.name)),
        Some(bridge) => {
            let found = format!("lxc-user-nic plugs networks of {} into {bridge}", account.name);
            Escape::open(NAME, found, REMEDY)
        }
    }
}

fn helpers() -> Vec<PathBuf> {
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let libraries = ["/usr/lib", "/usr/libexec", "/usr/local/lib", "/usr/local/libexec"].map(PathBuf::from);
    libraries.into_iter().chain(below).map(|dir: PathBuf| dir.join(Path::new(HELPER))).collect()
}

/// The names in group(5) of these numbers.
pub(super) fn names(text: &str, gids: &[u32]) -> Vec<String> {
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        gids.contains(&gid).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// The bridge of the first line of lxc-usernet(5) that is for `user` or one of `groups`.
pub(super) fn bridge<'a>(text: &'a str, user: &str, groups: &[String]) -> Option<&'a str> {
    let of = |line: &'a str| {
        let mut words = line.split_whitespace();
        let (who, _kind, bridge, count) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let ours =
            who == user || who.strip_prefix('@').is_some_and(|group| groups.iter().any(|g| g == group));
        (ours && count != "0").then_some(bridge)
    };
    text.lines().find_map(of)
}
