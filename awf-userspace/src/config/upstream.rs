//! Upstream proxies: from the flags, else from the variables that other programs go by.
//!
//! Lower case beats upper case, and an empty variable is none, as in curl. `HTTP_PROXY` counts unless
//! `REQUEST_METHOD` is set, as in Go and Python: a CGI program has it from a header of its client (CVE-2016-5385).

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use super::{ConfigError, ExecArgs, Inputs, Notice};
use crate::upstream_proxy::{Bypass, Credentials, UpstreamProxies, UpstreamProxy, Use};

const FLAG: &str = "--upstream-proxy";
/// The word for no proxy at all.
const NONE: &str = "none";

/// What `--upstream-proxy` was given. Its debug output shows nothing: there may be a password in it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyText(String);

impl FromStr for ProxyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for ProxyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyText(***)")
    }
}

/// A proxy, and the flag or variable that named it.
type Found = (UpstreamProxy, &'static str);

/// The upstream proxies of a run.
pub(super) fn proxies(
    args: &ExecArgs,
    inputs: &Inputs,
    errors: &mut Vec<ConfigError>,
    notices: &mut Vec<Notice>,
) -> UpstreamProxies {
    let before = errors.len();
    let (mut http, mut tunnel) = match &args.outbound.upstream_proxy {
        Some(text) => {
            let found = flag(&text.0, errors);
            (found.clone(), found)
        }
        None => (variable(Use::Http, inputs, errors), variable(Use::Tunnel, inputs, errors)),
    };
    if errors.len() == before {
        credentials(args, inputs, [&mut http, &mut tunnel], errors);
    }
    let bypass = bypass(args, inputs, http.is_some() || tunnel.is_some(), errors, notices);
    for text in announcements(http.as_ref(), tunnel.as_ref()) {
        notices.push(Notice { level: log::Level::Info, text });
    }
    let proxy = |found: Option<Found>| found.map(|(proxy, _)| Arc::new(proxy));
    UpstreamProxies::new(proxy(http), proxy(tunnel), bypass)
}

fn flag(text: &str, errors: &mut Vec<ConfigError>) -> Option<Found> {
    if text.trim().eq_ignore_ascii_case(NONE) {
        return None;
    }
    // `direct`, `off`: words of other programs, which would be looked up as hosts.
    let word = text.trim();
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        errors.push(ConfigError::UpstreamProxyWord(word.to_owned()));
        return None;
    }
    match UpstreamProxy::parse(text) {
        Ok(proxy) if proxy.credentials.is_some() => errors.push(ConfigError::UpstreamProxySecret),
        Ok(proxy) => return Some((proxy, FLAG)),
        Err(why) => errors.push(ConfigError::UpstreamProxy { place: FLAG, why }),
    }
    None
}

fn variable(usage: Use, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> Option<Found> {
    let names: &[&'static str] = match usage {
        Use::Http if inputs.var("REQUEST_METHOD").is_some() => &["http_proxy", "all_proxy", "ALL_PROXY"],
        Use::Http => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        Use::Tunnel => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let (place, text) = names.iter().find_map(|name| Some((*name, text(inputs, name)?)))?;
    match UpstreamProxy::parse(&text) {
        Ok(proxy) => return Some((proxy, place)),
        // all_proxy stands for both uses; it is wrong once.
        Err(why) => {
            let error = ConfigError::UpstreamProxy { place, why };
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
    None
}

/// The value of a variable, unless it is blank. What is not UTF-8 fails when it is read.
fn text(inputs: &Inputs, name: &str) -> Option<String> {
    let value = inputs.var(name)?.to_string_lossy().into_owned();
    (!value.trim().is_empty()).then_some(value)
}

fn credentials(
    args: &ExecArgs,
    inputs: &Inputs,
    proxies: [&mut Option<Found>; 2],
    errors: &mut Vec<ConfigError>,
) {
    let Some(path) = &args.outbound.upstream_proxy_auth_file else { return };
    let mut found: Vec<_> = proxies.into_iter().flatten().map(|(proxy, _)| proxy).collect();
    if found.is_empty() {
        let why = "there is no upstream proxy to use it for; leave it out, or name one with --upstream-proxy";
        return errors.push(ConfigError::UpstreamProxyAuthUse(why));
    }
    if found.iter().any(|proxy| proxy.credentials.is_some()) {
        let why = "the proxy's URL has credentials already; leave one of the two out";
        return errors.push(ConfigError::UpstreamProxyAuthUse(why));
    }
    match inputs.files.get(path) {
        Some(Ok(bytes)) => match Credentials::from_line(bytes) {
            Ok(read) => found.iter_mut().for_each(|proxy| proxy.credentials = Some(read.clone())),
            Err(why) => errors.push(ConfigError::UpstreamProxyAuth { path: path.clone(), why }),
        },
        other => errors.push(super::rules::unread("--upstream-proxy-auth-file", path, other)),
    }
}

/// A mistake in the flag is an error; one in a variable, which was written for other programs, is only said, since
/// what it was to leave out goes through the proxy then.
fn bypass(
    args: &ExecArgs,
    inputs: &Inputs,
    used: bool,
    errors: &mut Vec<ConfigError>,
    notices: &mut Vec<Notice>,
) -> Bypass {
    if !args.outbound.upstream_no_proxy.is_empty() {
        let (bypass, wrong) = Bypass::parse(&args.outbound.upstream_no_proxy.join(","));
        errors.extend(wrong.into_iter().map(ConfigError::UpstreamNoProxy));
        return bypass;
    }
    let found = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| Some((name, text(inputs, name)?)));
    let Some((name, list)) = found.filter(|_| used) else { return Bypass::default() };
    let (bypass, wrong) = Bypass::parse(&list);
    for error in wrong {
        let text = format!("{name}: left out: {error}");
        notices.push(Notice { level: log::Level::Warn, text });
    }
    bypass
}

fn announcements(http: Option<&Found>, tunnel: Option<&Found>) -> Vec<String> {
    let line = |what: &str, (proxy, from): &Found| format!("upstream proxy{what}: {proxy}, from {from}");
    match (http, tunnel) {
        (Some(http), Some(tunnel)) if http == tunnel => vec![line("", http)],
        _ => {
            let http = http.map(|found| line(" for clear-text HTTP", found));
            let tunnel = tunnel.map(|found| line(" for TLS and the rest", found));
            http.into_iter().chain(tunnel).collect()
        }
    }
}
