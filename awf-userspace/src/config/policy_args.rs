//! The flags that say what may be reached: the same for every subcommand that has a policy.

use std::path::PathBuf;

use clap::Args;

/// A policy as typed.
#[derive(Args, Clone, Debug, Default)]
pub struct PolicyArgs {
    /// A configuration file; `awf-bpf policy init` prints one to begin with. Flags are added to its lists.
    ///
    /// TOML: `[policy]`, `allow_domains = ["x.com"]`, ...; or awf's own, where its name ends in .json, .yml or .yaml.
    #[arg(short, long, value_name = "FILE", help_heading = "Policy")]
    pub config: Option<PathBuf>,

    /// Domains the command may reach, separated by commas (repeatable).
    ///
    /// x.com (and all below it), =x.com (it alone), *.x.com (all below it), api-*.x.com (* within a label),
    /// https://x.com (TLS on 443 only), http://x.com, x.com:22 (that port, any protocol unless it is 80 or 443),
    /// tcp://x.com:443 (any protocol), 198.51.100.0/24:5432, [2001:db8::1]:443. Without any, there is no network.
    #[arg(short = 'd', long, value_name = "LIST", help_heading = "Policy")]
    pub allow_domains: Vec<String>,

    /// URLs the command may ask for, separated by commas (repeatable): of their hosts nothing else, whatever allows the
    /// host. https:// needs --tls on.
    ///
    /// https://x.com/a/** (every path below /a/), https://x.com/a/* (within a segment), https://*.x.com:8443/b?c=* (that
    /// query), GET+HEAD:https://x.com/d (these methods), http://x.com/** (clear text). Paths are compared in normal form,
    /// and sent so.
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub allow_urls: Vec<String>,

    /// Files of such domains: commas or lines, comments behind # (repeatable).
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub allow_domains_file: Vec<PathBuf>,

    /// Domains and addresses that are refused whatever else allows them (repeatable).
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub block_domains: Vec<String>,

    /// Files of such domains (repeatable).
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub block_domains_file: Vec<PathBuf>,

    /// YAML files of domains to allow: `version: 1`, `rules: [{domain: x.com, subdomains: false}]` (repeatable).
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub ruleset_file: Vec<PathBuf>,

    /// Addresses the command may reach, and names may lead to though they are not public: 10.1.0.0/16:5432
    /// (repeatable).
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub allow_ip: Vec<String>,

    /// DNS records beside addresses that may be asked for: TXT:example.com, TXT+MX:example.com,
    /// SRV:_imap._tcp.example.com (repeatable).
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub allow_dns: Vec<String>,

    /// Ports of this host's loopback the command may reach, as localhost or host.docker.internal: 3000,8000-8010
    /// (repeatable).
    ///
    /// There the host's services stand in place of the command's own. Any protocol over TCP.
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub allow_host_ports: Vec<String>,

    /// The same for ports of login, mail, database and container services, each named alone: 22,5432,6379
    /// (repeatable).
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub allow_host_service_ports: Vec<String>,

    /// The same as --allow-host-ports 80,443.
    #[arg(long, help_heading = "Policy")]
    pub enable_host_access: bool,
}
