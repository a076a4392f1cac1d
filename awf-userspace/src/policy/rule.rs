//! A rule: what it names, on which service, as whom it was written and where.

use std::{fmt, sync::Arc};

use ipnet::IpNet;

use super::{AddressClass, Problem, Protocol, RuleError, pattern::Pattern};

/// Which list a rule stands in. The grammar is one; what is too broad to allow may be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    Allow,
    Block,
}

/// Where a rule was written, for messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A flag of the command line, with its dashes.
    Flag(&'static str),
    /// A file given by a flag; lines count from 1.
    Line { path: Arc<str>, line: usize },
    /// A ruleset file; rules count from 1.
    Entry { path: Arc<str>, entry: usize },
}

impl Place {
    /// The file, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<str>> {
        match self {
            Self::Line { path, .. } | Self::Entry { path, .. } => Some(path),
            Self::Flag(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Line { path, line } => write!(f, "{path}:{line}"),
            Self::Entry { path, entry } => write!(f, "{path}: rule {entry}"),
        }
    }
}

/// One entry of the allow list or the block list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) text: Arc<str>,
    pub(super) place: Place,
    pub(super) list: List,
    pub(super) subject: Subject,
    pub(super) service: Service,
    pub(super) notes: Vec<Note>,
    /// It only opens the way for a URL rule, which says what may be asked for there.
    pub(super) for_urls: bool,
}

impl Rule {
    /// The rule as it was written, blanks around it trimmed; with a `=` if it was said elsewhere that it is exact.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    #[must_use]
    pub fn list(&self) -> List {
        self.list
    }

    /// What is wrong with `localhost` alone, where no port of the host is open.
    pub(super) fn opens_nothing(&self) -> RuleError {
        let advice = format!(
            "add --allow-host-ports, as in `--allow-host-ports 3000,8080`, or write `{}:3000`",
            self.text
        );
        RuleError {
            text: self.text.to_string(),
            place: self.place.clone(),
            problem: Problem::NoHostPort,
            advice: Some(advice),
        }
    }

    /// What is wrong with an allow rule for addresses of loopback: inside they are the command's own.
    pub(super) fn names_loopback(&self) -> Option<RuleError> {
        let Subject::Net(net) = &self.subject else { return None };
        if self.list != List::Allow || AddressClass::of(net.addr()) != AddressClass::Loopback {
            return None;
        }
        let port = self.service.port.map_or_else(|| "N".to_owned(), |port| port.to_string());
        let advice = format!("`localhost:{port}` is that port of this host's 127.0.0.1 and ::1");
        Some(RuleError {
            text: self.text.to_string(),
            place: self.place.clone(),
            problem: Problem::OwnLoopback,
            advice: Some(advice),
        })
    }

    /// What the reader of the rule should know.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.place)
    }
}

/// Whom a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Name(Pattern),
    Net(IpNet),
    /// The host's loopback: `localhost`, `host.docker.internal`.
    Local,
}

/// What was written before `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Nothing.
    Web,
    Https,
    Http,
    /// Any protocol.
    Tcp,
}

/// Which ports and protocols of its subject a rule is about.
///
/// | written | ports | protocols |
/// |---|---|---|
/// | `x.com` | 80, 443 | TLS and HTTP on both |
/// | `https://x.com[:N]` | 443 or N | TLS |
/// | `http://x.com[:N]` | 80 or N | clear-text HTTP |
/// | `x.com:80`, `x.com:443` | that one | TLS and HTTP |
/// | `x.com:N` | N | any: whoever names port 22 means what is spoken there |
/// | `tcp://x.com:N` | N | any, on 80 and 443 too |
///
/// In the block list a rule without a port is about every port, and the scheme says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) scheme: Scheme,
    pub(super) port: Option<u16>,
}

/// The ports of the web.
pub(super) const WEB_PORTS: [u16; 2] = [443, 80];

impl Service {
    pub(super) fn allows_port(self, port: u16) -> bool {
        self.allowed_ports().contains(&port)
    }

    /// The ports an allow rule is about: one or two.
    pub(super) fn allowed_ports(&self) -> &[u16] {
        match (&self.port, self.scheme) {
            (Some(port), _) => std::slice::from_ref(port),
            (None, Scheme::Web) => &WEB_PORTS,
            (None, Scheme::Https) => &WEB_PORTS[..1],
            (None, Scheme::Http) => &WEB_PORTS[1..],
            // The parser asks for a port.
            (None, Scheme::Tcp) => &[],
        }
    }

    pub(super) fn allows_protocol(self, protocol: Protocol) -> bool {
        match self.scheme {
            Scheme::Tcp => true,
            Scheme::Https => protocol == Protocol::Tls,
            Scheme::Http => protocol == Protocol::Http,
            Scheme::Web => {
                protocol != Protocol::Other || self.port.is_some_and(|port| !WEB_PORTS.contains(&port))
            }
        }
    }

    pub(super) fn allows(self, port: u16, protocol: Protocol) -> bool {
        self.allows_port(port) && self.allows_protocol(protocol)
    }

    /// As a block rule.
    pub(super) fn blocks(self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Https => "TLS",
            Scheme::Http => "clear-text HTTP",
            Scheme::Web if self.allows_protocol(Protocol::Other) => "any protocol",
            Scheme::Web => "TLS and HTTP",
            Scheme::Tcp => "any protocol",
        })?;
        match self.allowed_ports() {
            [port] => write!(f, " on port {port}"),
            _ => f.write_str(" on ports 443 and 80"),
        }
    }
}

/// Something about an accepted rule that is worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The internationalised name was read as this.
    ReadAs(String),
    /// The scheme of a block rule was not used.
    SchemeIgnored,
    /// A name without a dot.
    SingleLabel,
    /// A `*` among other characters, or with labels before it.
    StarInLabel,
    /// A `*` in the path of a URL.
    StarInPath,
    /// A `.*` in the path of a URL.
    DotStar,
    /// A URL that ends in a slash.
    OnePage,
    /// A port of the host's loopback.
    HostLoopback,
    /// The names below it belong to the customers of a hosting company.
    Hosting(String),
}

impl Note {
    /// Whether it is for those who look closely only (`--dry-run`, `--log-level debug`).
    #[must_use]
    pub fn is_detail(&self) -> bool {
        matches!(self, Self::Hosting(_) | Self::StarInLabel | Self::StarInPath)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadAs(ascii) => write!(f, "read as {ascii}"),
            Self::SchemeIgnored => {
                f.write_str("a block rule is about every protocol; its scheme is not used")
            }
            Self::SingleLabel => f.write_str("a name without a dot: an internal host or zone"),
            Self::StarInLabel => f.write_str("* stays within its label; in gh-aw-firewall it crosses dots"),
            Self::StarInPath => f.write_str(
                "* stays within a segment of the path, ** crosses slashes; in gh-aw-firewall * crosses them, too",
            ),
            Self::DotStar => f.write_str("the dot of .* is a dot; in gh-aw-firewall .* stands for any characters"),
            Self::OnePage => f.write_str("this URL alone; ** behind the slash is everything below it"),
            Self::HostLoopback => {
                f.write_str("a service of this host, which the command reaches in place of its own")
            }
            Self::Hosting(zone) => write!(f, "anybody can get a name below {zone} from who runs it"),
        }
    }
}
