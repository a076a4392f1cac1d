//! awf's own configuration file, JSON or YAML: each of its keys is one of ours, or means nothing here, or is a promise
//! that is not kept here and so an error.

use super::{
    Item,
    keys::{KEYS, Key},
    node::{Node, Value},
    read::Reader,
};

/// What a key of awf's comes to.
#[derive(Clone, Copy, Debug)]
enum Means {
    /// The same as this key of ours.
    Key(&'static str, &'static str),
    /// `true` is this value of our key.
    Yes(&'static str, &'static str, &'static str),
    /// It steers Docker, or what else is not here.
    Nothing,
    /// Who writes it counts on it.
    NotBuilt(&'static str),
}
use Means::{Key as Ours, NotBuilt, Nothing, Yes};

/// Of awf's schema (`network.allowDomains` ...); a table alone stands for all that is in it.
#[rustfmt::skip]
const MEANINGS: [(&str, Means); 52] = [
    ("$schema", Nothing),
    ("apiProxy", Nothing),
    ("chroot.binariesSourcePath", Nothing),
    ("chroot.identity", NotBuilt("use `container`'s own user: awf-bpf exec --user")),
    ("cloudHypervisor", Nothing),
    ("container.agentImage", Nothing),
    ("container.agentTimeout", Ours("limits", "timeout")),
    ("container.buildLocal", Nothing),
    ("container.containerRuntime", Nothing),
    ("container.containerWorkDir", Ours("sandbox", "workdir")),
    ("container.dockerHost", Nothing),
    ("container.dockerHostPathPrefix", Nothing),
    ("container.enableDind", Yes("filesystem", "allow_unix", "/var/run/docker.sock")),
    ("container.imageRegistry", Nothing),
    ("container.imageTag", Nothing),
    ("container.images", Nothing),
    ("container.memoryLimit", Ours("limits", "memory")),
    ("container.mounts", Ours("filesystem", "mount")),
    ("container.pidsLimit", Ours("limits", "pids")),
    ("container.runnerToolCachePath", Nothing),
    ("container.skipPull", Nothing),
    ("container.tty", Ours("sandbox", "tty")),
    ("container.workDir", Nothing),
    ("dind", Nothing),
    ("enclaves", NotBuilt("leave it out")),
    ("environment.envAll", Ours("environment", "all")),
    ("environment.envFile", Ours("environment", "file")),
    ("environment.excludeEnv", Ours("environment", "exclude")),
    ("filesystem.allowWrite", Ours("filesystem", "allow_write")),
    ("logging.auditDir", Ours("output", "audit_dir")),
    ("logging.diagnosticLogs", Nothing),
    ("logging.logLevel", Ours("output", "log_level")),
    ("logging.proxyLogsDir", Ours("output", "audit_dir")),
    ("logging.sessionStateDir", Nothing),
    ("network.allowDomains", Ours("policy", "allow_domains")),
    ("network.blockDomains", Ours("policy", "block_domains")),
    ("network.dnsServers", Ours("policy", "dns_servers")),
    ("network.isolation", Nothing),
    ("network.topologyAttach", Nothing),
    ("network.upstreamProxy", Ours("policy", "upstream_proxy")),
    ("platform", Nothing),
    ("rateLimiting", NotBuilt("leave it out")),
    ("runner", Nothing),
    ("security.allowHostPorts", Ours("policy", "allow_host_ports")),
    ("security.allowHostServicePorts", Ours("policy", "allow_host_service_ports")),
    ("security.difcProxy", NotBuilt("leave it out")),
    ("security.enableDlp", NotBuilt("leave it out")),
    ("security.enableHostAccess", Ours("policy", "enable_host_access")),
    ("security.legacySecurity", Nothing),
    ("security.mode", Nothing),
    ("security.sslBump", Yes("tls", "mode", "on")),
    ("version", Nothing),
];

impl Reader<'_> {
    /// Reads a file of awf's.
    pub(super) fn awf(&mut self, root: &[(String, usize, Node)]) {
        for (name, line, node) in root {
            self.meaning(name, *line, node);
        }
    }

    fn meaning(&mut self, path: &str, line: usize, node: &Node) {
        if let Some((_, means)) = MEANINGS.iter().find(|(known, _)| *known == path) {
            return self.means(*means, path, line, node);
        }
        let (within, begins) = (format!("{path}."), |known: &str, part: &str| known.starts_with(part));
        match &node.value {
            Value::Table(entries) if MEANINGS.iter().any(|(known, _)| begins(known, &within)) => {
                entries
                    .iter()
                    .for_each(|(name, line, node)| self.meaning(&format!("{within}{name}"), *line, node));
            }
            other if MEANINGS.iter().any(|(known, _)| begins(known, &within)) => {
                self.refuse(node.line, format!("`{path}` is {}; write an object", other.kind()));
            }
            _ => {
                let known = || MEANINGS.iter().map(|(known, _)| *known);
                let table = path.rsplit_once('.').map_or("", |(table, _)| table);
                let beside: Vec<_> = known()
                    .filter(|known| !table.is_empty() && begins(known, &format!("{table}.")))
                    .collect();
                let known = if beside.is_empty() { known().collect() } else { beside };
                self.unknown(line, "key", path, &known);
            }
        }
    }

    fn means(&mut self, means: Means, path: &str, line: usize, node: &Node) {
        match means {
            Nothing if path == "$schema" => {}
            Nothing => self.file.ignored.push(path.to_owned()),
            // Not asked for.
            NotBuilt(_) if matches!(node.value, Value::Bool(false) | Value::Null) => {}
            NotBuilt(instead) => self.refuse(line, format!("`{path}`: not built yet; {instead}")),
            _ if matches!(node.value, Value::Null) => {}
            Ours(table, name) => {
                let Some(at) = Key::find(table, name) else { return };
                let items = self.items(&KEYS[at], node);
                // Of the two directories that are one here, the first one counts.
                self.file.values.entry(at).or_insert(items);
            }
            Yes(table, name, text) => match node.value {
                Value::Bool(true) => {
                    let Some(at) = Key::find(table, name) else { return };
                    self.file.values.insert(at, vec![Item { text: text.to_owned(), line }]);
                }
                Value::Bool(false) => {}
                ref other => {
                    self.refuse(node.line, format!("`{path}` is {}; write true or false", other.kind()))
                }
            },
        }
    }
}
