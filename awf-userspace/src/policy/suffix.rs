//! Public suffixes: below them, other people's names begin (publicsuffix.org).

use psl::Type;

/// Whose names live directly below a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// Of a registry: `com`, `co.uk`. Anybody may register below it.
    Registry,
    /// Of a company that gives names to its customers: `github.io`, `githubusercontent.com`.
    Hosting,
}

/// Whether `name` (lower case, A-labels) is itself a public suffix. A single label the list does not know is
/// not: it is somebody's internal zone (`corp`, `internal`, `test`).
pub(super) fn of(name: &str) -> Option<Suffix> {
    let known = |name: &str| {
        let suffix = psl::suffix(name.as_bytes())?;
        (suffix.as_bytes() == name.as_bytes()).then_some(suffix.typ()).flatten()
    };
    match known(name) {
        Some(Type::Icann) => Some(Suffix::Registry),
        Some(Type::Private) => Some(Suffix::Hosting),
        // The list has `*.ck` but not `ck`: every name below it is a suffix, so it is one all the more.
        None if known(&format!("awf-bpf-probe.{name}")) == Some(Type::Icann) => Some(Suffix::Registry),
        None => None,
    }
}
