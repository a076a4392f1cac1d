//! From the text of a rule to a [`Rule`]: the grammar, and everything it refuses.

use std::{net::IpAddr, sync::Arc};

use super::{
    DomainName, List, NameError, Place, Rule, host_ports,
    parse_name::{self, Named},
    parse_net,
    problem::{Problem, RuleError},
    rule::{Note, Scheme, Service, Subject},
};

/// What an error repeats of a text, in characters.
const SHOWN: usize = 120;

/// A problem and what to do instead.
pub(super) type Refusal = (Problem, Option<String>);

/// A problem with advice.
pub(super) fn refuse<T>(problem: Problem, advice: impl Into<String>) -> Result<T, Refusal> {
    Err((problem, Some(advice.into())))
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        (problem, None)
    }
}

impl Rule {
    /// Parses one entry of a domain list: `x.com`, `=x.com`, `*.x.com`, `api-*.x.com`, `https://x.com`,
    /// `tcp://x.com:5432`, `10.1.0.0/16:5432`, `[2001:db8::1]:443`.
    ///
    /// # Errors
    /// What is not in the grammar, can never match, or (in an allow list) names other people's hosts.
    pub fn parse(text: &str, list: List, place: Place) -> Result<Self, RuleError> {
        Self::build(text, list, place, false)
    }

    /// Parses one entry of `--allow-ip`: `ADDRESS[/PREFIX][:PORT]`, no names.
    ///
    /// # Errors
    /// As [`Rule::parse`], and names.
    pub fn parse_address(text: &str, list: List, place: Place) -> Result<Self, RuleError> {
        let rule = Self::build(text, list, place, false)?;
        match rule.subject {
            Subject::Net(_) => Ok(rule),
            Subject::Name(_) | Subject::Local => Err(error(
                text,
                rule.place,
                (Problem::NotAddress, Some("names belong in --allow-domains".to_owned())),
            )),
        }
    }

    /// Parses the `domain` of a ruleset entry with `subdomains: false`: `x.com` means what `=x.com` means.
    ///
    /// # Errors
    /// As [`Rule::parse`].
    pub fn parse_exact(text: &str, list: List, place: Place) -> Result<Self, RuleError> {
        let mut rule = Self::build(text, list, place, true)?;
        // Messages and records show the text only; without its = it would say more than it allows.
        if matches!(rule.subject, Subject::Name(_)) && !rule.text.starts_with('=') {
            rule.text = format!("={}", rule.text).into();
        }
        Ok(rule)
    }

    fn build(text: &str, list: List, place: Place, exact: bool) -> Result<Self, RuleError> {
        let text = text.trim();
        match parse(text, list, exact) {
            Ok((subject, service, notes)) => {
                Ok(Self { text: Arc::from(text), place, list, subject, service, notes, for_urls: false })
            }
            Err(refusal) => Err(error(text, place, refusal)),
        }
    }
}

pub(super) fn error(text: &str, place: Place, (problem, advice): Refusal) -> RuleError {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    RuleError { text: shown, place, problem, advice }
}

type Parsed = (Subject, Service, Vec<Note>);

fn parse(text: &str, list: List, exact: bool) -> Result<Parsed, Refusal> {
    check_characters(text)?;
    // UTS 46 reads these three as dots; labels are split before it is asked.
    let text = &text.replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".");
    let (exact, rest) = match text.strip_prefix('=') {
        Some(rest) => (true, rest),
        None => (exact, text.as_str()),
    };
    let (scheme, rest) = split_scheme(rest)?;
    check_shape(rest)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);

    let mut notes = Vec::new();
    let (subject, port) = if let Some((net, port)) = parse_net::parse(rest, list)? {
        if exact {
            return refuse(Problem::ExactAddress, format!("write `{rest}`"));
        }
        (Subject::Net(net), port)
    } else {
        let (name, port) = split_port(rest)?;
        if host_ports::is_rule_name(name) {
            return local(scheme, port, list);
        }
        let Named { pattern, notes: found } = parse_name::parse(name, exact, list)?;
        notes = found;
        (Subject::Name(pattern), port)
    };
    let port = port.map(parse_port).transpose()?;
    if list == List::Block && scheme != Scheme::Web {
        notes.push(Note::SchemeIgnored);
    }
    if list == List::Allow && scheme == Scheme::Tcp && port.is_none() {
        return refuse(Problem::PortMissing, format!("write `tcp://{rest}:PORT`"));
    }
    Ok((subject, Service { scheme, port }, notes))
}

/// A rule about the host's loopback: its port is opened by the rule itself, or without one by flags.
pub(super) fn local(scheme: Scheme, port: Option<&str>, list: List) -> Result<Parsed, Refusal> {
    let port = port.map(parse_port).transpose()?;
    if list == List::Block {
        return Ok((Subject::Local, Service { scheme, port }, Vec::new()));
    }
    if scheme == Scheme::Tcp && port.is_none() {
        return refuse(Problem::PortMissing, "write `tcp://localhost:PORT`");
    }
    let port = port.or(match scheme {
        Scheme::Https => Some(443),
        Scheme::Http => Some(80),
        Scheme::Web | Scheme::Tcp => None,
    });
    let note = port.map(|port| host_ports::parse_ports(&port.to_string()).map(|_| Note::HostLoopback));
    let notes = note.transpose().map_err(Problem::from)?.into_iter().collect();
    Ok((Subject::Local, Service { scheme, port }, notes))
}

/// Characters that no rule has, whatever it names.
pub(super) fn check_characters(text: &str) -> Result<(), Refusal> {
    for c in text.chars() {
        if c.is_whitespace() {
            return refuse(Problem::Character(c), "separate entries by commas");
        }
        if matches!(c, '"' | '\'' | '`') {
            return refuse(Problem::Character(c), "write it without quotes");
        }
        if c == '#' {
            return refuse(Problem::Character(c), "comments are for files, behind a blank");
        }
        if c.is_control() || matches!(c, ';' | '\\' | ',') {
            return Err(Problem::Character(c).into());
        }
    }
    Ok(())
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), Refusal> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok((Scheme::Web, text)) };
    let scheme = scheme.to_ascii_lowercase();
    let advice = match scheme.as_str() {
        "https" => return Ok((Scheme::Https, rest)),
        "http" => return Ok((Scheme::Http, rest)),
        "tcp" => return Ok((Scheme::Tcp, rest)),
        "wss" => format!("a WebSocket begins as HTTPS: write `https://{rest}`"),
        "ws" => format!("a WebSocket begins as HTTP: write `http://{rest}`"),
        "ssh" => format!("write `{rest}:22`"),
        "git" => format!("write `{rest}:9418`"),
        "ftp" => format!("write `{rest}:21`"),
        _ => format!("write `tcp://{rest}` with its port"),
    };
    refuse(Problem::Scheme(scheme), advice)
}

pub(super) fn check_shape(rest: &str) -> Result<(), Refusal> {
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    if let Some((_, host)) = authority.rsplit_once('@') {
        return refuse(Problem::Credentials, format!("write `{host}`"));
    }
    if matches!(authority, "" | "." | "[]") {
        return Err(Problem::Empty.into());
    }
    Ok(())
}

pub(super) fn split_port(rest: &str) -> Result<(&str, Option<&str>), Refusal> {
    if let Some(at) = rest.find(['/', '?']) {
        return refuse(Problem::Path, format!("write `{}`", &rest[..at]));
    }
    match rest.split_once(':') {
        Some(("", _)) => Err(Problem::Empty.into()),
        Some((name, port)) => Ok((name, Some(port))),
        None => Ok((rest, None)),
    }
}

pub(super) fn parse_port(text: &str) -> Result<u16, Refusal> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits => Ok(port),
        _ => Err(Problem::Port(text.to_owned()).into()),
    }
}

/// The rule to write for one host, as narrow as the grammar allows; `None` where no rule would do.
pub(super) fn rule_for_name(name: &DomainName, suffix: &str, prefix: &str) -> Option<String> {
    let plain = format!("{prefix}{name}{suffix}");
    let exact = format!("={prefix}{name}{suffix}");
    [plain, exact].into_iter().find(|text| parse(text, List::Allow, false).is_ok())
}

/// The rule to write for one address; `None` where no rule would do.
pub(super) fn rule_for_ip(ip: IpAddr, port: Option<u16>) -> Option<String> {
    let text = match (ip, port) {
        (ip, None) => ip.to_string(),
        (IpAddr::V4(ip), Some(port)) => format!("{ip}:{port}"),
        (IpAddr::V6(ip), Some(port)) => format!("[{ip}]:{port}"),
    };
    parse(&text, List::Allow, false).is_ok().then_some(text)
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Problem::Name(error).into()
    }
}
