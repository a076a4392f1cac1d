//! The closed list of reasons a decision can have.

use std::fmt;

use serde::Serialize;

/// Why something was allowed or refused. The names (`snake_case`) are part of the audit format: add, never
/// rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rule of the policy allows it.
    Allowed,
    /// No rule names this host.
    NotInAllowlist,
    /// A block rule names this host; block beats allow.
    Blocked,
    /// A rule names this host, but on another port.
    PortNotAllowed,
    /// A rule names this host, but for another protocol (`https://` over clear text, `http://` over TLS).
    ProtocolNotAllowed,
    /// The host is an address literal that no address rule covers.
    AddressNotAllowed,
    /// The allowed name resolves to nothing but addresses that must not be dialled (loopback, private,
    /// link-local, metadata, multicast, this host's own).
    ForbiddenAddress,
    /// The connection carries no name (no SNI, no Host) and its protocol is not known.
    NoName,
    /// The TLS hides its server name (ECH, or GREASE that looks like it), where no rule allows any protocol.
    EchRefused,
    /// Of this host only certain URLs are allowed, and this is none of them, or no request that could be judged.
    UrlNotAllowed,
    /// Two names of one connection disagree (CONNECT target, SNI, Host, the SNI of a second ClientHello).
    NameMismatch,
    /// What was received is not valid in the protocol it began.
    Malformed,
    /// A bound of the proxy was reached (head size, header count, connections).
    LimitExceeded,
    /// Some other time ran out.
    Timeout,
    /// What would tell what is spoken, and to whom, did not come in time.
    FirstByteTimeout,
    /// The rest of a request head did not come in time.
    HeadTimeout,
    /// Resolving the name took too long.
    ResolveTimeout,
    /// No address of the name accepted the connection in time.
    ConnectTimeout,
    /// Nothing was sent in either direction for too long.
    IdleTimeout,
    /// The connection was open for as long as one may be.
    LifetimeExceeded,
    /// The name does not resolve.
    ResolveFailed,
    /// No address of the name accepted the connection.
    ConnectFailed,
    /// The server's certificate is not one that this host accepts; nothing was sent to it.
    UpstreamCertificate,
    /// The server asks for a certificate of the client, which intercepted TLS has none of, and refused or failed.
    ClientCertificate,
    /// The client does not take the certificate of this run's CA.
    TlsUntrusted,
    /// The client takes that of other hosts: it probably pins this one's own.
    TlsPinned,
    /// The upstream proxy could not be reached, or gave no answer in time.
    UpstreamProxyFailed,
    /// The upstream proxy answered, but would not pass it on.
    UpstreamProxyRefused,
    /// The connection has no recorded original destination: it is not the command's.
    NoOrigin,
    /// The query type or opcode is not one the resolver answers.
    DnsTypeRefused,
    /// The names asked for below one domain carried more data than names of hosts do.
    DnsTunnelling,
    /// UDP to something other than the resolver.
    UdpRefused,
    /// A UDP socket was connected to something other than the resolver; nothing was sent. getaddrinfo(3) does so
    /// to sort addresses, and QUIC clients before they fall back to TCP.
    UdpConnectRefused,
    /// A socket type or protocol other than TCP and UDP.
    SocketRefused,
    /// A packet that is not between the command and its own loopback.
    PacketRefused,
    /// A loopback port of the host that was not opened to the command.
    HostPortRefused,
    /// A socket bound to a network device other than loopback: by it packets would leave past the proxy.
    DeviceRefused,
    /// A socket that is older than the firewall it is used behind, or that was handed in from outside.
    OldSocket,
    /// A socket in a network namespace other than the shared one, to something other than that one's loopback.
    OtherNetwork,
    /// The kernel side could not remember the original destination.
    KernelMapFull,
    /// The audit record can no longer be written: nothing is allowed that nobody would know of.
    AuditFailed,
    /// The command closed the connection before it said anything: nothing was asked, nothing refused.
    NothingSent,
    /// The rules were changed, by whoever may.
    PolicyChanged,
    /// awf-bpf is shutting down.
    Shutdown,
}

impl Reason {
    /// The name in the audit record and in the `X-Awf-Reason` header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NotInAllowlist => "not_in_allowlist",
            Self::Blocked => "blocked",
            Self::PortNotAllowed => "port_not_allowed",
            Self::ProtocolNotAllowed => "protocol_not_allowed",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::ForbiddenAddress => "forbidden_address",
            Self::NoName => "no_name",
            Self::EchRefused => "ech_refused",
            Self::UrlNotAllowed => "url_not_allowed",
            Self::NameMismatch => "name_mismatch",
            Self::Malformed => "malformed",
            Self::LimitExceeded => "limit_exceeded",
            Self::Timeout => "timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::ResolveTimeout => "resolve_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::LifetimeExceeded => "lifetime_exceeded",
            Self::ResolveFailed => "resolve_failed",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamCertificate => "upstream_certificate",
            Self::ClientCertificate => "client_certificate",
            Self::TlsUntrusted => "tls_untrusted",
            Self::TlsPinned => "tls_pinned",
            Self::UpstreamProxyFailed => "upstream_proxy_failed",
            Self::UpstreamProxyRefused => "upstream_proxy_refused",
            Self::NoOrigin => "no_origin",
            Self::DnsTypeRefused => "dns_type_refused",
            Self::DnsTunnelling => "dns_tunnelling",
            Self::UdpRefused => "udp_refused",
            Self::UdpConnectRefused => "udp_connect_refused",
            Self::SocketRefused => "socket_refused",
            Self::PacketRefused => "packet_refused",
            Self::HostPortRefused => "host_port_refused",
            Self::DeviceRefused => "device_refused",
            Self::OldSocket => "old_socket",
            Self::OtherNetwork => "other_network",
            Self::KernelMapFull => "kernel_map_full",
            Self::AuditFailed => "audit_failed",
            Self::NothingSent => "nothing_sent",
            Self::PolicyChanged => "policy_changed",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
