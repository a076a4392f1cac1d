//! From the text of a URL rule to a [`UrlRule`]: `[METHOD[+METHOD...]:]https://HOST[:PORT]/PATH[?QUERY]`.

use std::sync::Arc;

use super::{
    RequestTarget, TargetError, UrlRule,
    glob::Glob,
    rule::Pages,
    target::{Empty, Part, escapes, push_escape, resolve},
};
use crate::policy::{
    List, Note, Place, Problem, RuleError, host_ports,
    parse::{Refusal, check_characters, check_shape, error, local, parse_port, refuse, split_port},
    parse_name::{self, Named},
    parse_net,
    rule::{Scheme, Service, Subject},
};

/// The longest method in bytes; there is none of half that length (IANA, HTTP Method Registry).
const MAX_METHOD: usize = 32;

impl UrlRule {
    /// Parses one entry of `--allow-urls`: `https://x.com/a/**`, `GET+HEAD:https://*.x.com/b`,
    /// `http://x.com:8080/c?d=*`. The host is written as in a domain list.
    ///
    /// # Errors
    /// What has no path, what no request can match, and whatever a domain list refuses of a host.
    pub fn parse(text: &str, place: Place) -> Result<Self, RuleError> {
        let text = text.trim();
        match parse(text) {
            Ok(rule) => Ok(Self { text: Arc::from(text), place, ..rule }),
            Err(refusal) => Err(error(text, place, refusal)),
        }
    }
}

fn parse(text: &str) -> Result<UrlRule, Refusal> {
    if let Some((before, _)) = text.split_once('#') {
        return refuse(Problem::Character('#'), format!("no client sends a fragment: write `{before}`"));
    }
    check_characters(text)?;
    let Some((before, rest)) = text.split_once("://") else { return no_scheme(text) };
    let (methods, scheme) = before.rsplit_once(':').map_or((None, before), |(m, scheme)| (Some(m), scheme));
    let methods = methods.map(read_methods).transpose()?.unwrap_or_default();
    let (exact, scheme) = scheme.strip_prefix('=').map_or((false, scheme), |scheme| (true, scheme));
    let scheme = read_scheme(scheme, rest)?;
    let (exact, rest) = rest.strip_prefix('=').map_or((exact, rest), |rest| (true, rest));
    check_shape(rest)?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    if !target.starts_with('/') {
        let advice = format!(
            "write `{before}://{authority}/**` for every path; the whole host, in any protocol of the web, is \
             `--allow-domains {authority}`"
        );
        return refuse(Problem::UrlPath, advice);
    }
    let (subject, service, mut notes) = read_authority(authority, exact, scheme)?;
    let (written, read) = read_target(target, &mut notes)?;
    let place = Place::Flag("--allow-urls");
    Ok(UrlRule { text: "".into(), place, methods, subject, service, written, read, notes })
}

fn no_scheme<T>(text: &str) -> Result<T, Refusal> {
    let advice = match text.contains(['/', '.']) {
        true => format!("write `https://{text}`; a comma within a URL is written %2C"),
        false => "write `https://example.com/path`".to_owned(),
    };
    refuse(Problem::UrlScheme(String::new()), advice)
}

fn read_scheme(scheme: &str, rest: &str) -> Result<Scheme, Refusal> {
    let scheme = scheme.to_ascii_lowercase();
    let advice = match scheme.as_str() {
        "https" => return Ok(Scheme::Https),
        "http" => return Ok(Scheme::Http),
        "wss" => format!("a WebSocket begins as HTTPS: write `GET:https://{rest}`"),
        "ws" => format!("a WebSocket begins as HTTP: write `GET:http://{rest}`"),
        _ => format!("write `https://{rest}`"),
    };
    refuse(Problem::UrlScheme(scheme), advice)
}

fn read_methods(text: &str) -> Result<Vec<Box<str>>, Refusal> {
    let mut methods: Vec<Box<str>> = Vec::new();
    for method in text.split('+') {
        let upper = method.to_ascii_uppercase();
        let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let advice = match &*upper {
            "" | "*" | "ANY" | "ALL" => {
                "without a method and its colon a rule is about every method".to_owned()
            }
            "CONNECT" => "a CONNECT asks for no URL; what is sent through it is judged".to_owned(),
            _ if !method.bytes().all(letters) || method.len() > MAX_METHOD => {
                "write `GET+HEAD:https://...`".to_owned()
            }
            upper if upper != method => format!("write `{upper}`: methods are in capitals"),
            _ => {
                if !methods.iter().any(|known| **known == *method) {
                    methods.push(method.into());
                }
                continue;
            }
        };
        return refuse(Problem::Method(method.chars().take(MAX_METHOD).collect()), advice);
    }
    Ok(methods)
}

fn read_authority(
    authority: &str,
    exact: bool,
    scheme: Scheme,
) -> Result<(Subject, Service, Vec<Note>), Refusal> {
    // UTS 46 reads these three as dots; labels are split before it is asked.
    let authority = &authority.replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".");
    let usual = if scheme == Scheme::Https { 443 } else { 80 };
    let (subject, port, notes) = match parse_net::parse(authority, List::Allow)? {
        Some(_) if exact => return refuse(Problem::ExactAddress, format!("write `{authority}`")),
        Some((net, port)) => (Subject::Net(net), port, Vec::new()),
        None => {
            let (name, port) = split_port(authority)?;
            if host_ports::is_rule_name(name) {
                let (subject, service, notes) = local(scheme, port, List::Allow)?;
                return Ok((subject, service, notes));
            }
            let Named { pattern, notes } = parse_name::parse(name, exact, List::Allow)?;
            (Subject::Name(pattern), port, notes)
        }
    };
    let port = port.map(parse_port).transpose()?.unwrap_or(usual);
    Ok((subject, Service { scheme, port: Some(port) }, notes))
}

/// The pages as written, and as they may be read.
fn read_target(text: &str, notes: &mut Vec<Note>) -> Result<(Pages, Vec<Pages>), Refusal> {
    let target = RequestTarget::parse(text).map_err(|error| malformed(error, text))?;
    let path = text.split('?').next().unwrap_or_default();
    let unresolved = escapes(path, Part::Path).map_err(|error| malformed(error, text))?;
    if unresolved.split('/').any(|segment| matches!(segment, "." | "..")) {
        let meant = resolve(&unresolved, Empty::Dropped);
        return refuse(Problem::DotSegments, format!("no request keeps them: write `{meant}`"));
    }
    let pages = |path: &str, query: Option<&str>| Pages {
        path: Glob::new(path, Part::Path),
        query: query.map(|query| Glob::new(query, Part::Query)),
    };
    let readings = target.readings().map_err(|error| malformed(error, text))?;
    let mut read = readings.iter().map(|reading| pages(&reading.path, reading.query.as_deref()));
    let Some(written) = read.next() else { return Err(Problem::Empty.into()) };
    let read = [written.clone()].into_iter().chain(read).collect();
    if target.path().contains('*') {
        notes.push(Note::StarInPath);
    }
    if target.path().contains(".*") {
        notes.push(Note::DotStar);
    }
    if !written.path.has_wildcard() && target.path().ends_with('/') {
        notes.push(Note::OnePage);
    }
    Ok((written, read))
}

fn malformed(error: TargetError, text: &str) -> Refusal {
    let advice = match &error {
        TargetError::Character(c) if !c.is_ascii() => {
            let mut escaped = String::new();
            for byte in text.bytes() {
                if byte.is_ascii() { escaped.push(char::from(byte)) } else { push_escape(&mut escaped, byte) }
            }
            Some(format!("write `{escaped}`, as clients send it"))
        }
        TargetError::Escape(_) => Some("a percent sign itself is written %25".to_owned()),
        _ => None,
    };
    (Problem::Url(error), advice)
}
