//! Every key of the configuration file: by this table it is read, and its schema is made.

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    /// A string or a list of strings, each one entry or several with commas between.
    Entries,
    /// The same, where a comma is part of the value.
    Texts,
    /// A path or a list of paths, relative to the file's directory.
    Paths,
    /// As [`Kind::Entries`]; a port may be a number.
    Ports,
    /// As [`Kind::Entries`]; an entry may be a table of `url` and `methods`.
    Urls,
    /// One string.
    Text,
    /// One path.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number, or a string with a unit.
    Amount,
    /// A whole number from 0 to this.
    Count(u32),
    Bool,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Key {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The flag that says the same.
    pub(super) flag: Option<&'static str>,
    /// For the schema and the starter file.
    pub(super) about: &'static str,
}

/// The tables, and what they are for.
pub(super) const TABLES: [(&str, &str); 9] = [
    ("policy", "What may be reached."),
    ("tls", "Which TLS ends in the proxy. Of exec."),
    ("filesystem", "What the command sees of the machine's files. Of exec."),
    ("environment", "The command's variables. Of exec."),
    ("sandbox", "Where and as whom the command runs. Of exec."),
    ("limits", "What the command may use. Of exec."),
    ("output", "What is said and kept. Of exec; audit_dir also of attach and hook."),
    ("attach", "Of attach, and of hook."),
    ("hook", "Of hook: the runner's jobs."),
];

const fn key(
    table: &'static str,
    name: &'static str,
    kind: Kind,
    flag: &'static str,
    about: &'static str,
) -> Key {
    Key { table, name, kind, flag: if flag.is_empty() { None } else { Some(flag) }, about }
}

#[rustfmt::skip]
pub(super) const KEYS: [Key; 48] = [
    key("policy", "allow_dns", Kind::Entries, "--allow-dns", "DNS records beside addresses: TXT:example.com"),
    key("policy", "allow_domains", Kind::Entries, "--allow-domains", "domains, and addresses with ports"),
    key("policy", "allow_domains_file", Kind::Paths, "--allow-domains-file", "files of such domains"),
    key("policy", "allow_host_ports", Kind::Ports, "--allow-host-ports", "ports of this host's loopback"),
    key("policy", "allow_host_service_ports", Kind::Ports, "--allow-host-service-ports", "those of login, data base and container services"),
    key("policy", "allow_ip", Kind::Entries, "--allow-ip", "addresses and networks, also private ones"),
    key("policy", "allow_urls", Kind::Urls, "--allow-urls", "URLs; of their hosts nothing else"),
    key("policy", "block_domains", Kind::Entries, "--block-domains", "refused, whatever allows them"),
    key("policy", "block_domains_file", Kind::Paths, "--block-domains-file", "files of such domains"),
    key("policy", "deadline", Kind::Entries, "--deadline", "how long the proxy waits: idle=10m"),
    key("policy", "dns_over_https", Kind::Text, "--dns-over-https", "a URL: names are asked for over HTTPS"),
    key("policy", "dns_servers", Kind::Entries, "--dns-servers", "resolvers in place of the host's"),
    key("policy", "enable_host_access", Kind::Bool, "--enable-host-access", "ports 80 and 443 of this host's loopback"),
    key("policy", "ruleset_file", Kind::Paths, "--ruleset-file", "YAML files of domains"),
    key("policy", "upstream_no_proxy", Kind::Entries, "--upstream-no-proxy", "what is dialled without the proxy"),
    key("policy", "upstream_proxy", Kind::Text, "--upstream-proxy", "the proxy to go through, or none"),
    key("policy", "upstream_proxy_auth_file", Kind::Path, "--upstream-proxy-auth-file", "its credentials"),
    key("tls", "mode", Kind::Word(&["off", "deny-only", "on"]), "--tls", "which TLS ends in the proxy"),
    key("tls", "exclude", Kind::Entries, "--tls-exclude", "hosts whose TLS is passed through"),
    key("tls", "ca_cert", Kind::Path, "--ca-cert", "an organisation's CA"),
    key("tls", "ca_key", Kind::Path, "--ca-key", "its key"),
    key("filesystem", "allow_write", Kind::Texts, "", "all that may be written to on the machine"),
    key("filesystem", "mount", Kind::Texts, "--mount", "SOURCE:TARGET[:ro|rw]"),
    key("filesystem", "share_tmp", Kind::Bool, "--share-tmp", "the machine's /tmp"),
    key("filesystem", "allow_unix", Kind::Texts, "--allow-unix", "unix sockets of services outside"),
    key("filesystem", "chroot", Kind::Word(&["auto", "off"]), "--chroot", "a root of its own, or the machine's files"),
    key("environment", "set", Kind::Texts, "--env", "NAME=VALUE, or the NAME of a variable to pass on"),
    key("environment", "all", Kind::Bool, "--env-all", "pass on all variables but credentials"),
    key("environment", "file", Kind::Paths, "--env-file", "files of NAME=value lines"),
    key("environment", "exclude", Kind::Texts, "--exclude-env", "never pass these"),
    key("sandbox", "network", Kind::Word(&["isolated", "host"]), "--network", "the network the command sees"),
    key("sandbox", "proxy_env", Kind::Word(&["auto", "none"]), "--proxy-env", "whether HTTP_PROXY and its kin are set"),
    key("sandbox", "user", Kind::Text, "--user", "USER[:GROUP]"),
    key("sandbox", "workdir", Kind::Text, "--container-workdir", "where the command starts"),
    key("sandbox", "tty", Kind::Bool, "--tty", "a terminal for all three streams"),
    key("limits", "memory", Kind::Text, "--memory-limit", "512m, 6g"),
    key("limits", "pids", Kind::Amount, "--pids-limit", "processes and threads"),
    key("limits", "timeout", Kind::Amount, "--agent-timeout", "minutes, or 90s, 30m, 2h"),
    key("output", "log_level", Kind::Word(&["debug", "info", "warn", "error"]), "--log-level", "how much is said on stderr"),
    key("output", "audit_dir", Kind::Path, "--audit-dir", "where audit.jsonl is written"),
    key("output", "summary", Kind::Word(&["auto", "always", "never"]), "--summary", "when what was blocked is printed"),
    key("output", "fail_on_block", Kind::Bool, "--fail-on-block", "exit with 3 if something was blocked"),
    key("output", "quiet", Kind::Bool, "--quiet", "nothing but errors on stderr"),
    key("attach", "keep_sockets", Kind::Bool, "", "sockets that are older than the firewall go on past it"),
    key("hook", "allow_repository_policy", Kind::Bool, "", "a repository's .github/awf-bpf.toml may narrow the policy"),
    key("hook", "worker_hosts_extra", Kind::Entries, "", "hosts that the runner itself needs, not its steps"),
    key("hook", "summary", Kind::Bool, "", "write the job's summary; true without the key"),
    key("hook", "annotations", Kind::Count(10), "", "how many warnings a job gets at most; 10 without the key"),
];

impl Key {
    /// By what it is asked for: the keys of `[policy]`, and `allow_write`, are by their names alone.
    pub(super) fn is(&self, id: &str) -> bool {
        match id.split_once('.') {
            Some((table, name)) => self.table == table && self.name == name,
            None => self.name == id && (self.table == "policy" || id == ALLOW_WRITE),
        }
    }

    pub(super) fn find(table: &str, name: &str) -> Option<usize> {
        KEYS.iter().position(|key| key.table == table && key.name == name)
    }

    /// The names of a table's keys.
    pub(super) fn names(table: &str) -> Vec<&'static str> {
        KEYS.iter().filter(|key| key.table == table).map(|key| key.name).collect()
    }
}

/// The key of `[filesystem]`: a list of paths.
pub(in crate::config) const ALLOW_WRITE: &str = "allow_write";
