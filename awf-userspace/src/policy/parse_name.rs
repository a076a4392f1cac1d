//! The part of a rule that names hosts: plain names, `*.x.com`, `api-*.x.com`.

use super::{
    DomainName, List, NameError,
    name::{MAX_LABEL, MAX_NAME, is_name_char},
    parse::{Refusal, refuse},
    pattern::{Glob, Pattern, Scope},
    problem::Problem,
    rule::Note,
    suffix::{self, Suffix},
};

/// A pattern and what to say about it.
pub(super) struct Named {
    pub(super) pattern: Pattern,
    pub(super) notes: Vec<Note>,
}

/// Zones no resolver answers for; a rule for one can never match.
pub(super) const NEVER_RESOLVE: [&str; 2] = ["invalid", "onion"];

pub(super) fn parse(text: &str, exact: bool, list: List) -> Result<Named, Refusal> {
    if let Some(rest) = text.strip_prefix('.').filter(|rest| !rest.is_empty() && !rest.starts_with('.')) {
        return refuse(
            Problem::Name(NameError::EmptyLabel),
            format!("write `{rest}` (with its subdomains) or `*.{rest}` (subdomains only)"),
        );
    }
    let pattern = if text.contains('*') {
        wildcard(text, exact, list)?
    } else {
        let base = DomainName::parse(text).map_err(|error| name_refusal(error, text))?;
        Pattern { base, scope: if exact { Scope::Exact } else { Scope::Tree } }
    };
    check_hyphens(&pattern)?;
    check_special(&pattern)?;
    if list == List::Allow {
        check_breadth(&pattern, text)?;
    }
    Ok(Named { notes: notes(&pattern, text), pattern })
}

fn name_refusal(error: NameError, text: &str) -> Refusal {
    let advice = match &error {
        NameError::Address => Some("write addresses as 198.51.100.7 or 198.51.100.0/24".to_owned()),
        NameError::BadCharacter('=') => Some(format!("write `={}`", text.replace('=', ""))),
        _ => None,
    };
    (Problem::Name(error), advice)
}

fn wildcard(text: &str, exact: bool, list: List) -> Result<Pattern, Refusal> {
    if text.split('.').all(|label| !label.is_empty() && label.bytes().all(|b| b == b'*')) {
        return everything(list);
    }
    if exact {
        return Err(Problem::ExactWildcard.into());
    }
    if text.contains("**") {
        return refuse(Problem::DoubleStar, "one * stands for any characters of a label");
    }
    let labels: Vec<&str> = text.split('.').collect();
    let last = labels.iter().rposition(|label| label.contains('*')).unwrap_or(0);
    let (head, base) = labels.split_at(last + 1);
    if base.is_empty() {
        return refuse(Problem::WildcardEnd, "name the domain; networks are written as 198.51.100.0/24");
    }
    let base = base.join(".");
    let base = DomainName::parse(&base).map_err(|error| name_refusal(error, &base))?;
    let (deep, head) = match head {
        ["*", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let globs = head.iter().map(|label| glob(label)).collect::<Result<Vec<_>, _>>()?;
    let shortest = base.as_str().len() + 1 + usize::from(deep) + head.join(".").replace('*', "").len();
    if shortest > MAX_NAME {
        return Err(Problem::Name(NameError::TooLong(shortest)).into());
    }
    let scope = if globs.is_empty() { Scope::Below } else { Scope::Labels { globs, deep } };
    Ok(Pattern { base, scope })
}

fn everything<T>(list: List) -> Result<T, Refusal> {
    match list {
        List::Allow => refuse(Problem::Everything, "name the domains the command needs"),
        List::Block => refuse(Problem::Everything, "what is not allowed is refused already"),
    }
}

fn glob(label: &str) -> Result<Glob, Refusal> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel.into());
    }
    if label.len() > MAX_LABEL && label.replace('*', "").len() > MAX_LABEL {
        return Err(NameError::LabelTooLong(label.to_owned()).into());
    }
    if !label.chars().all(|c| c == '*' || is_name_char(c)) {
        return Err(Problem::WildcardLabel.into());
    }
    Ok(Glob::new(label.to_ascii_lowercase()))
}

/// Names that are asked for may have such labels; in a rule they are a slip, like a flag in the wrong place.
fn check_hyphens(pattern: &Pattern) -> Result<(), Refusal> {
    let globs = match &pattern.scope {
        Scope::Labels { globs, .. } => globs.as_slice(),
        _ => &[],
    };
    let mut labels = pattern.base.labels().chain(globs.iter().map(Glob::as_str));
    match labels.find(|label| label.starts_with('-') || label.ends_with('-')) {
        Some(label) => Err(Problem::Hyphen(label.to_owned()).into()),
        None => Ok(()),
    }
}

/// Names with a meaning of their own.
fn check_special(pattern: &Pattern) -> Result<(), Refusal> {
    match pattern.base.labels().next_back() {
        Some("localhost") => refuse(Problem::Localhost, "write `localhost`"),
        Some(zone) => match NEVER_RESOLVE.iter().find(|never| **never == zone) {
            Some(never) => Err(Problem::NeverResolves(never).into()),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// An allow rule must not reach across the names of several owners.
fn check_breadth(pattern: &Pattern, text: &str) -> Result<(), Refusal> {
    let base = pattern.base.as_str();
    if suffix::of(base.as_bytes()) != Some(Suffix::Registry) {
        return Ok(());
    }
    match &pattern.scope {
        // `gov.uk` is a suffix and a host.
        Scope::Exact if base.contains('.') => Ok(()),
        Scope::Labels { .. } => {
            let plain = text.replace('*', "").trim_matches(['.', '-']).to_owned();
            let known =
                DomainName::parse(&plain).is_ok_and(|name| suffix::of(name.as_str().as_bytes()).is_none());
            let advice = known.then(|| format!("`{plain}` matches it and every subdomain of it"));
            Err((Problem::RegistrableWildcard, advice))
        }
        _ => refuse(
            Problem::PublicSuffix(base.to_owned()),
            format!("name what is meant below it, like `example.{base}`"),
        ),
    }
}

fn notes(pattern: &Pattern, text: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    let base = pattern.base.as_str();
    if !text.is_ascii() {
        notes.push(Note::ReadAs(base.to_owned()));
    }
    if !base.contains('.') {
        notes.push(Note::SingleLabel);
    }
    if matches!(pattern.scope, Scope::Labels { .. }) {
        notes.push(Note::StarInLabel);
    }
    if pattern.scope != Scope::Exact && suffix::of(base.as_bytes()) == Some(Suffix::Hosting) {
        notes.push(Note::Hosting(base.to_owned()));
    }
    notes
}
