//! The flags that say how what is allowed is reached: the same for `exec` and `attach`.

use std::path::PathBuf;

use clap::Args;

use super::upstream::ProxyText;

/// Resolvers, deadlines and the upstream proxy, as typed.
#[derive(Args, Clone, Debug, Default)]
pub struct OutboundArgs {
    /// Resolvers to ask for allowed names: 198.51.100.53, [2001:db8::53]:53, tcp://ADDRESS, tls://ADDRESS#NAME,
    /// https://NAME/dns-query. Default: the host's.
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub dns_servers: Vec<String>,

    /// How long the proxy waits: first-byte=10s, head=30s, keep-alive=2m, resolve=10s, connect=30s, idle=30m,
    /// lifetime=8h are what it does without this flag. Units: ms, s, m, h (repeatable).
    #[arg(long, value_name = "NAME=TIME[,...]", help_heading = "Policy")]
    pub deadline: Vec<String>,

    /// The proxy to go through: http://proxy.example.com:3128, or none. Default: https_proxy, http_proxy, all_proxy and
    /// no_proxy as awf-bpf finds them (sudo removes them).
    #[arg(long, value_name = "URL", help_heading = "Policy")]
    pub upstream_proxy: Option<ProxyText>,

    /// What is dialled without it: names and all below them, addresses, networks, each with :PORT or without
    /// (repeatable). Default: no_proxy.
    #[arg(long, value_name = "LIST", help_heading = "Policy")]
    pub upstream_no_proxy: Vec<String>,

    /// The file with its credentials, one line `user:password`.
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub upstream_proxy_auth_file: Option<PathBuf>,

    /// Ask for names over HTTPS: the same as --dns-servers with this URL.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "https://dns.google/dns-query",
        help_heading = "Policy")]
    pub dns_over_https: Option<String>,
}
