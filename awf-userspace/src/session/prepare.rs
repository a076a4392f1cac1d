//! What a run needs to know about this machine and its caller, gathered before anything is made.

use std::{
    env, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    SessionError,
    mount_point::MountPoint,
    startup::StartupFiles,
    tls::Tls,
    unix,
    view::{self, For},
};
use crate::{
    audit::{self, Invoker, JsonSink},
    config::{NetworkMode, RunFacts, SessionPlan},
    dns::{PORT, Upstream, parse_resolv_conf},
    jail::{
        InitSpec, Restore, SelfTest,
        accounts::Accounts,
        hide,
        identity::{self, Caller, Identity},
        other_networks,
        rootfs::RootfsPlan,
        unix_sockets,
    },
    launch::Terminal,
    policy::DomainName,
    resolve::NameServer,
    sys::ifaddrs,
    upstream_proxy::UpstreamProxies,
};

/// Where audit records go that are given no other place.
const AUDIT: &str = "/var/log/awf-bpf";
/// Where this host says whom it asks for names.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Whom libc asks if that says nobody (resolver(3)).
const DEFAULT_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
/// HOME of a user who has none, on a tmpfs that covers our state.
const HOME: &str = "/run/awf-bpf/home";
/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the inode of the first pid namespace.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Whom the command runs as, and where.
#[derive(Debug)]
pub(super) struct Command {
    identity: Identity,
    home_on_tmpfs: bool,
    cwd: PathBuf,
    /// Where its record goes, if that was said.
    audit: Option<PathBuf>,
    /// Unix sockets that the command may use.
    allowed: Vec<PathBuf>,
    /// Others that processes outside serve.
    sockets: Vec<PathBuf>,
    root: Option<RootfsPlan>,
    startup: StartupFiles,
    /// Files that decide over the next run, where nothing keeps them.
    decisive: StartupFiles,
    tls: Option<Tls>,
    _mount_point: Option<MountPoint>,
}

/// Decides whom the command of run `id` runs as.
///
/// # Errors
///
/// When we are not root, or nobody can be chosen.
pub(super) fn command(plan: &SessionPlan, id: &str) -> Result<Command, SessionError> {
    let here = env::current_dir().unwrap_or_else(|_| "/".into());
    let caller = Caller {
        euid: rustix::process::geteuid().as_raw(),
        user: plan.identity.user.clone(),
        sudo_uid: plan.identity.sudo_uid.clone(),
        sudo_gid: plan.identity.sudo_gid.clone(),
        cwd_owner: fs::metadata(&here).ok().map(|meta| meta.uid()),
    };
    let accounts = Accounts::load().map_err(SessionError::Accounts)?;
    let choice = identity::choose(&caller, &accounts)?;
    if let Some(note) = choice.note {
        log::info!("{note}");
    }
    let mut identity = choice.identity;
    if choice.home_on_tmpfs {
        identity.home = HOME.into();
    }
    let audit = audit_dir(plan, &here)?;
    let allowed = unix::sockets(&plan.jail.unix)?;
    unix::join_groups(&mut identity, &accounts, &allowed);
    let table = fs::read("/proc/net/unix").map_err(SessionError::UnixSockets)?;
    let mut served = unix_sockets::served(&table);
    served.extend(other_networks());
    let sockets = unix::without(served, &allowed);
    let home_on_tmpfs = choice.home_on_tmpfs;
    let tls = Tls::prepare(plan, id, &identity.home, &here)?;
    let trusted = tls.as_ref().map_or(&[][..], Tls::files);
    let of = For {
        identity: &identity,
        accounts: &accounts,
        home_on_tmpfs,
        here: &here,
        audit: audit.as_deref(),
        allowed: &allowed,
        sockets: &sockets,
        trust: &tls.as_ref().map(Tls::in_root).unwrap_or_default(),
        trusted,
    };
    let view = view::root(plan, of)?;
    let (root, mount_point) = view.map_or((None, None), |view| (Some(view.root), view.mount_point));
    if root.is_none() {
        unix::check_hidden(identity.uid, &allowed)?;
    }
    let decisive = view::decisive(plan, &here).chain(trusted.iter().cloned());
    let decisive = StartupFiles::of(decisive, root.is_none());
    let cwd = plan.workdir.clone().unwrap_or(here);
    let home = Some(&identity.home).filter(|_| !home_on_tmpfs);
    let look = |home: &PathBuf| StartupFiles::look(home, &plan.jail.config_dirs, root.is_none());
    let startup = home.map(look).unwrap_or_default();
    Ok(Command {
        identity,
        home_on_tmpfs,
        cwd,
        audit,
        allowed,
        sockets,
        root,
        startup,
        decisive,
        tls,
        _mount_point: mount_point,
    })
}

/// The sockets of containers and of other runs.
fn other_networks() -> Vec<PathBuf> {
    let found = other_networks::look().unwrap_or_else(|e| {
        log::warn!("cannot look for the unix sockets of other network namespaces: {e}");
        other_networks::Found::default()
    });
    if let Some(why) = found.missed {
        log::warn!("unix sockets of other network namespaces may be in view: {why}");
    }
    found.sockets
}

impl Command {
    /// What `__init` is told.
    pub(super) fn init(
        &self,
        plan: &SessionPlan,
        run_id: &str,
        proxy: SocketAddr,
        test: &SelfTest,
        restore: Restore,
    ) -> InitSpec {
        let facts = RunFacts {
            proxy,
            run_id,
            user: &self.identity.name,
            home: &self.identity.home,
            shell: &self.identity.shell,
            trust: self.tls.as_ref().map_or(&[], Tls::variables),
        };
        let mut init = InitSpec::new(plan.argv.clone(), self.identity.clone(), self.cwd.clone());
        init.cwd_must = plan.workdir.is_some();
        init.env = plan.env.finish(&facts);
        match &self.root {
            Some(root) => init.root = Some(root.clone()),
            None => {
                init.hide = unix::without(hide::services(self.identity.uid), &self.allowed);
                init.hide.extend(Terminal::paths());
                init.hide.extend(self.audit.clone());
                init.hide.extend(plan.tls.key.clone());
                init.trust = self.tls.as_ref().map(Tls::beneath_cover).unwrap_or_default();
                init.hide_sockets.clone_from(&self.sockets);
            }
        }
        init.home_tmpfs = self.home_on_tmpfs.then(|| self.identity.home.clone());
        init.self_test = Some(test.clone());
        init.restore = restore;
        init
    }

    /// What is intercepted.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Says which files that programs outside run by themselves, or that decide over the next run, are other than at
    /// the start.
    ///
    /// With --quiet too: nobody would look.
    pub(super) fn warn_of_startup_files(&self) {
        for path in self.startup.changed() {
            let path = path.display();
            log::error!(
                "{path} was made or changed while the command ran, and programs outside run it or obey it: look at it"
            );
        }
        for path in self.decisive.changed() {
            let path = path.display();
            log::error!(
                "{path} was changed while the command ran, and decides over the next run: look at it"
            );
        }
    }
}

/// What a run's resolver depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameServing<'a> {
    /// Those that were named.
    pub(super) servers: Option<&'a [NameServer]>,
    /// Whether the command has a network of its own.
    pub(super) isolated: bool,
    /// Whether it may well be that no name is resolved here: by nobody, or by an upstream proxy.
    pub(super) needless: bool,
}

impl<'a> NameServing<'a> {
    pub(super) fn of(plan: &'a SessionPlan) -> Self {
        Self {
            servers: plan.dns_servers.as_deref(),
            isolated: plan.network == NetworkMode::Isolated,
            needless: !plan.upstream_proxies.is_empty() || !plan.policy.may_resolve(),
        }
    }
}

/// The resolver the proxy and the stub use, in the host's network. A host without a name server can still run the
/// command: what is reached by address or through an upstream proxy needs none, and a name is refused for it.
pub(super) fn upstream(serving: &NameServing<'_>) -> Upstream {
    let needs_host = match serving.servers {
        Some(servers) => servers.iter().any(NameServer::needs_lookup),
        // A policy may be given names later.
        None => true,
    };
    let (finders, remark) = if needs_host { host_servers(serving) } else { (Vec::new(), None) };
    let own = || finders.iter().copied().map(NameServer::Plain).collect();
    let servers = serving.servers.map_or_else(own, <[_]>::to_vec);
    Upstream::new(&servers, &finders).with_remark(remark)
}

/// Which refused names are given an address, so that connecting tells why: not those that a resolver makes up of others
/// in search of one that is found (resolv.conf(5)).
pub(super) fn tells_of_refusal() -> impl Fn(&DomainName) -> bool + Send + Sync + 'static {
    let suffixes = search_suffixes(&fs::read_to_string(RESOLV_CONF).unwrap_or_default());
    move |name| is_meant(name.as_str(), &suffixes)
}

fn is_meant(name: &str, suffixes: &[String]) -> bool {
    name.contains('.') && !suffixes.iter().any(|suffix| name.ends_with(suffix))
}

/// `.corp.test` for each domain that is searched.
fn search_suffixes(resolv_conf: &str) -> Vec<String> {
    let lines = resolv_conf
        .lines()
        .map(str::split_whitespace)
        .filter_map(|mut words| matches!(words.next(), Some("search" | "domain")).then_some(words));
    let domains = lines.flatten().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
    domains.filter(|domain| !domain.is_empty()).map(|domain| format!(".{domain}")).collect()
}

/// The name servers of this host, and what to say of a name that they do not find.
///
/// Where none is named, [`DEFAULT_SERVER`] is asked if it is there, unless the command shares this network: with low
/// ports open to everybody it could be what answers there, and lead every allowed name to where it likes.
fn host_servers(serving: &NameServing<'_>) -> (Vec<SocketAddr>, Option<String>) {
    let read = fs::read_to_string(RESOLV_CONF);
    let found = read.as_deref().map(|text| parse_resolv_conf(text, RESOLV_CONF)).unwrap_or_default();
    found.unusable.iter().for_each(|line| log::warn!("{line}"));
    if !found.servers.is_empty() {
        return (found.servers, None);
    }
    let why = match &read {
        Ok(_) => format!("{RESOLV_CONF} names no name server"),
        Err(e) => format!("reading {RESOLV_CONF}: {e}"),
    };
    let asked = serving.isolated && is_served(DEFAULT_SERVER);
    let (servers, instead) =
        if asked { (vec![DEFAULT_SERVER], ", 127.0.0.1 is asked") } else { (Vec::new(), "") };
    // Behind an upstream proxy that is how many networks are made.
    let level = if serving.needless { log::Level::Info } else { log::Level::Warn };
    log::log!(level, "{why}{instead}; --dns-servers ADDRESS names one");
    (servers, Some(format!("{why}; --dns-servers ADDRESS names one")))
}

/// Whether somebody takes questions there. It is told at once that nobody does, by ICMP, which a resolver does not
/// wait for: each name would cost all of its time.
fn is_served(server: SocketAddr) -> bool {
    /// For the root's own servers (RFC 8109): nothing is said by it.
    const QUESTION: &[u8; 17] = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.send(QUESTION)?;
        socket.recv(&mut [0; 512])
    };
    // Who takes longer may have to ask others.
    ask().map_or_else(|e: io::Error| e.kind() == io::ErrorKind::WouldBlock, |_| true)
}

/// Opens the audit record of run `id`.
///
/// # Errors
///
/// When its file cannot be made, or could be replaced by someone else.
pub(super) fn audit(
    dir: Option<&Path>,
    id: &str,
    invoker: Option<Invoker>,
) -> Result<JsonSink, SessionError> {
    if dir.is_none() {
        fs::create_dir_all(AUDIT).map_err(|source| SessionError::AuditDir { path: AUDIT.into(), source })?;
    }
    Ok(JsonSink::create(&dir.map_or_else(|| Path::new(AUDIT).join(id), Into::into), id, invoker)?)
}

/// The directory that was named for it. It is made before the command's view of files is planned: it may be the
/// invoker's own, who may be the command's user, and must be hidden then.
fn audit_dir(plan: &SessionPlan, here: &Path) -> Result<Option<PathBuf>, SessionError> {
    let Some(dir) = &plan.audit_dir else { return Ok(None) };
    audit::open_dir(dir, invoker(plan))?;
    Ok(Some(here.join(dir)))
}

pub(super) fn invoker(plan: &SessionPlan) -> Option<Invoker> {
    let id_of = |text: &Option<String>| text.as_deref().and_then(|t| t.parse().ok());
    let ids = id_of(&plan.identity.sudo_uid).zip(id_of(&plan.identity.sudo_gid));
    ids.map(|(uid, gid)| Invoker { uid, gid })
}

/// The addresses of this host, which are nobody's to reach through the proxy.
///
/// # Errors
///
/// When the kernel does not tell: without them a name could lead to this host's services.
pub(super) fn own_addresses() -> Result<Vec<IpAddr>, SessionError> {
    ifaddrs::addresses().map_err(SessionError::OwnAddresses)
}

/// The upstream proxies, which are not asked for what this host itself is called.
#[must_use]
pub(super) fn upstream_proxies(proxies: &UpstreamProxies, own: &[IpAddr]) -> UpstreamProxies {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok().and_then(|name| DomainName::parse(name).ok());
    proxies.clone().with_own(own.iter().copied(), name)
}

/// Whether our /proc numbers processes as the kernel programs do.
pub(super) fn in_first_pid_namespace() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|meta| meta.ino() == FIRST_PID_NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `ndots:5` these are asked for before the name itself.
    #[test]
    fn names_that_a_resolver_makes_up_are_not_found() {
        let text = "nameserver 192.0.2.1\nsearch Default.svc.test. lan.test\n#search no.test\ndomain corp.test\noptions ndots:5\n";
        let suffixes = search_suffixes(text);
        assert_eq!(suffixes, [".default.svc.test", ".lan.test", ".corp.test"]);
        for made_up in ["denied.example.lan.test", "x.default.svc.test", "host.corp.test", "host"] {
            assert!(!is_meant(made_up, &suffixes), "{made_up}");
        }
        for meant in ["denied.test", "lan.test", "x.no.test", "xlan.test"] {
            assert!(is_meant(meant, &suffixes), "{meant}");
        }
    }
}
