//! The lab: a machine, the world it can reach, a cable between them, and what was seen in the world.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use crate::{
    cable,
    dns::{self, DnsQuery},
    hosts::{self, HOSTS},
    machine,
    ns::Namespace,
    origin::{self, Connection, Origins, Received},
    pki::Pki,
    run::Run,
    seen::Seen,
    tools,
    workdir::WorkDir,
};

/// One test's own network. Dropped, nothing of it remains.
#[derive(Debug)]
pub struct Lab {
    // Declaration order is dropping order: the servers stop before their namespace and directory go.
    _servers: Servers,
    machine: Namespace,
    world: Namespace,
    dir: WorkDir,
    origins: Origins,
    queries: Seen<DnsQuery>,
    pki: Pki,
}

impl Lab {
    /// Builds the network and waits until every server listens.
    ///
    /// # Panics
    /// Without root, without iproute2, or if any address cannot be listened on.
    #[must_use]
    pub fn new() -> Self {
        let (dir, pki) = (WorkDir::new(), Pki::new());
        let (machine, world) = (machine::new(&dir, pki.ca_pem()), Namespace::network());
        ip(&machine, &machine_cable(&world));
        ip(&world, &(world_commands() + &world_cable()));
        ip(&machine, &machine_routes());
        cable::wait_until_it_carries(&machine);
        let (origins, queries) = (Origins::default(), Seen::default());
        let servers = Servers::start(&world, origins.clone(), &pki, dir.root(), queries.clone());
        Self { _servers: servers, machine, world, dir, origins, queries, pki }
    }

    /// A command behind awf-bpf on the lab's machine.
    #[must_use]
    pub fn awf(&self) -> Run<'_> {
        Run::firewalled(self)
    }

    /// The same command, user and machine without awf-bpf: what a test compares with.
    #[must_use]
    pub fn bare(&self) -> Run<'_> {
        Run::bare(self)
    }

    /// Where awf-bpf runs.
    #[must_use]
    pub fn machine(&self) -> &Namespace {
        &self.machine
    }

    /// Where the servers are; every address the machine routes here is accepted.
    #[must_use]
    pub fn world(&self) -> &Namespace {
        &self.world
    }

    /// Every query the DNS server got.
    #[must_use]
    pub fn queries(&self) -> &Seen<DnsQuery> {
        &self.queries
    }

    /// Every HTTP request an origin got.
    #[must_use]
    pub fn requests(&self) -> &Seen<Received> {
        &self.origins.requests
    }

    /// Every TCP connection an origin accepted.
    #[must_use]
    pub fn connections(&self) -> &Seen<Connection> {
        &self.origins.connections
    }

    #[must_use]
    pub fn dir(&self) -> &WorkDir {
        &self.dir
    }

    /// The lab's CA as a file everyone may read.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.root().join("etc/certs/ca-certificates.crt")
    }

    /// Who vouches for the origins.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Panics if the name was asked for, or any of its addresses dialled.
    #[track_caller]
    pub fn assert_untouched(&self, name: &str) {
        let asked: Vec<_> = self.queries.all().into_iter().filter(|query| query.name == name).collect();
        assert!(asked.is_empty(), "{name} must not be asked for, but: {asked:#?}");
        self.assert_not_dialled(name);
    }

    /// Panics if any address of the name was dialled.
    #[track_caller]
    pub fn assert_not_dialled(&self, name: &str) {
        let addrs: Vec<IpAddr> = hosts::host(name).addrs().collect();
        let dialled: Vec<_> =
            self.connections().all().into_iter().filter(|conn| addrs.contains(&conn.to.ip())).collect();
        assert!(dialled.is_empty(), "{name} must not be dialled, but: {dialled:#?}");
    }

    /// Makes every JVM of the machine trust the lab's CA, as an administrator would.
    pub fn trust_in_java(&self) {
        let store = self.dir.root().join("etc/certs/java/cacerts");
        let mut keytool = Command::new(tools::require("keytool"));
        keytool.args(["-importcert", "-noprompt", "-alias", "lab", "-storepass", "changeit"]);
        // The JVM opens its cacerts without a password, which encrypted PKCS #12 (the default) does not allow.
        keytool.args(["-storetype", "JKS", "-keystore"]);
        tools::succeed(keytool.arg(&store).arg("-file").arg(self.ca_file()));
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// The thread that serves the world.
#[derive(Debug)]
struct Servers {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    fn start(world: &Namespace, origins: Origins, pki: &Pki, dir: &Path, queries: Seen<DnsQuery>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let files = dir.join("served");
        std::fs::create_dir(&files).expect("make the origins' directory");
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    // `thread` is spawned from inside, so it and all its blocking threads start there.
                    world.enter();
                    let pki = Pki::clone(pki);
                    let thread = thread::spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                        let runtime = runtime.expect("start the world's runtime");
                        runtime.block_on(async {
                            for addr in [IpAddr::V4(hosts::DNS_V4), IpAddr::V6(hosts::DNS_V6)] {
                                dns::serve(addr, queries.clone(), &pki).await.expect("listen on port 53");
                            }
                            origin::serve(origins, &pki, &files)
                                .await
                                .expect("listen on the origins' addresses");
                            ready.send(()).expect("the lab waits for its servers");
                            let _ = stopped.await;
                        });
                        runtime.shutdown_background();
                    });
                    is_ready.recv().expect("the world's servers failed to start; their panic is above");
                    Self { stop: Some(stop), thread: Some(thread) }
                })
                .join()
                .expect("start the world")
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A server that panicked has failed the test where it waits, or is of no concern to it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Every address of the origins, and "any address is mine" behind the cable. The catch-all stands in table
/// main, where the cable's own route is more specific; in table local it would swallow the answers.
fn world_commands() -> String {
    let mut batch = String::from("link set lo up\n");
    let origins = HOSTS.iter().filter(|host| host.served).flat_map(|host| host.addrs());
    let dns = [IpAddr::V4(hosts::DNS_V4), IpAddr::V6(hosts::DNS_V6)];
    let canary = [IpAddr::V4(hosts::CANARY_V4), IpAddr::V6(hosts::CANARY_V6)];
    for addr in origins.chain(dns).chain(canary) {
        match addr {
            IpAddr::V4(addr) => writeln!(batch, "addr add {addr}/32 dev lo"),
            IpAddr::V6(addr) => writeln!(batch, "addr add {addr}/128 dev lo nodad"),
        }
        .expect("write to a String");
    }
    batch.push_str("route add local 0.0.0.0/0 dev lo table main\n");
    batch.push_str("route add local ::/0 dev lo table main\n");
    let hole = hosts::BLACK_HOLE_V6;
    writeln!(batch, "route add blackhole {hole}/128").expect("write to a String");
    batch
}

/// Both ends know each other's address from the start: neighbour discovery would cost the first packets of a lab up
/// to a second, because the kernel reports a new carrier no faster.
const UP_MAC: &str = "02:00:00:00:00:01";
const DOWN_MAC: &str = "02:00:00:00:00:02";

fn world_cable() -> String {
    format!(
        "addr add {}/24 dev down0\naddr add {}/64 dev down0 nodad\nlink set down0 up\n\
         neigh replace {} lladdr {UP_MAC} nud permanent dev down0\n\
         neigh replace {} lladdr {UP_MAC} nud permanent dev down0\n",
        hosts::GATEWAY_V4,
        hosts::GATEWAY_V6,
        hosts::MACHINE_V4,
        hosts::MACHINE_V6,
    )
}

fn machine_cable(world: &Namespace) -> String {
    let world = world.net_path();
    format!(
        "link set lo up\n\
         link add up0 address {UP_MAC} type veth peer name down0 address {DOWN_MAC} netns {}\n\
         link set up0 up\n\
         addr add {}/24 dev up0\n\
         addr add {}/64 dev up0 nodad\n",
        world.display(),
        hosts::MACHINE_V4,
        hosts::MACHINE_V6,
    )
}

fn machine_routes() -> String {
    let (gateway4, gateway6) = (hosts::GATEWAY_V4, hosts::GATEWAY_V6);
    format!(
        "neigh replace {gateway4} lladdr {DOWN_MAC} nud permanent dev up0\n\
         neigh replace {gateway6} lladdr {DOWN_MAC} nud permanent dev up0\n\
         route add 0.0.0.0/0 via {gateway4}\nroute add ::/0 via {gateway6}\n"
    )
}

/// Runs the commands in one `ip -batch`.
fn ip(namespace: &Namespace, commands: &str) {
    let ip = tools::require("ip");
    let out = namespace.within(|| {
        let mut child = Command::new(ip)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start ip");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(commands.as_bytes()).expect("write to ip");
        drop(stdin);
        child.wait_with_output().expect("wait for ip")
    });
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "ip -batch: {}: {said}\n{commands}", out.status);
}
