//! Squid with ssl-bump on the lab's machine, as gh-aw-firewall runs it: what interception is compared with.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use harness::{Lab, hosts, tools};

/// Where it listens.
pub(crate) const ADDR: &str = "127.0.0.1:3129";
const SQUID: &str = "/usr/sbin/squid";
const CERTGEN: &str = "/usr/lib/squid/security_file_certgen";
const PATIENCE: Duration = Duration::from_secs(20);

/// Ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Squid {
    child: Child,
    /// Its CA.
    pub(crate) ca: PathBuf,
}

impl Squid {
    /// `None` where there is none that can intercept.
    pub(crate) fn start(lab: &Lab) -> Option<Self> {
        if !Path::new(CERTGEN).is_file() {
            return None;
        }
        let dir = lab.dir().root().join("squid");
        fs::create_dir(&dir).expect("make Squid's directory");
        let (ca, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        let mut openssl = Command::new(tools::require("openssl"));
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=squid"]);
        tools::succeed(openssl.arg("-keyout").arg(&key).arg("-out").arg(&ca));
        tools::succeed(Command::new(CERTGEN).args(["-c", "-s"]).arg(dir.join("db")).args(["-M", "16MB"]));
        let shown = dir.display();
        // The lines of gh-aw-firewall's config-generator.ts that are about this.
        let config = format!(
            "http_port {ADDR} ssl-bump cert={shown}/ca.pem key={shown}/ca.key generate-host-certificates=on \
             dynamic_cert_mem_cache_size=16MB options=NO_SSLv3,NO_TLSv1,NO_TLSv1_1\n\
             sslcrtd_program {CERTGEN} -s {shown}/db -M 16MB\nsslcrtd_children 5\n\
             acl allowed dstdomain .allowed.test\nacl step1 at_step SslBump1\nssl_bump peek step1\nssl_bump bump allowed\n\
             ssl_bump terminate all\nhttp_access allow allowed\nhttp_access deny all\n\
             tls_outgoing_options cafile={ca}\ndns_nameservers {dns}\ncache deny all\npid_filename none\n\
             access_log none\ncache_log {shown}/cache.log\ncoredump_dir {shown}\nshutdown_lifetime 0 seconds\n",
            ca = lab.ca_file().display(),
            dns = hosts::DNS_V4,
        );
        let file = dir.join("squid.conf");
        fs::write(&file, config).expect("write Squid's configuration");
        // It gives up root's rights before it opens most of these.
        tools::succeed(Command::new(tools::require("chown")).args(["-R", "proxy:proxy"]).arg(&dir));
        let child = lab.machine().within(|| {
            let mut squid = Command::new(SQUID);
            squid.arg("-N").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            squid.spawn().expect("start Squid")
        });
        let squid = Self { child, ca };
        let begun = Instant::now();
        while lab.machine().within(|| std::net::TcpStream::connect(ADDR)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "Squid does not listen: see {shown}/cache.log");
            std::thread::yield_now();
        }
        Some(squid)
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        // Told so and not killed: it removes what it shares with its helpers.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
