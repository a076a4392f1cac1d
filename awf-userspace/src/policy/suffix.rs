//! Public suffixes: below them, other people's names begin (publicsuffix.org).

use psl::{Info, Psl as _, Type};

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
pub(super) fn of(name: &[u8]) -> Option<Suffix> {
    // One look-up for almost all: with a label more, the list answers for the name and for what is below it.
    let below = lookup(name, Some(b"awf-bpf-probe"));
    if below.len < name.len() {
        return None;
    }
    let own = if below.len == name.len() { below } else { lookup(name, None) };
    match own.typ.filter(|_| own.len == name.len()) {
        Some(Type::Icann) => Some(Suffix::Registry),
        Some(Type::Private) => Some(Suffix::Hosting),
        // The list has `*.ck` but not `ck`: every name below it is a suffix, so it is one all the more.
        None if below.len > name.len() && below.typ == Some(Type::Icann) => Some(Suffix::Registry),
        None => None,
    }
}

/// The domain that one owner registered, or got from a hosting company: `example.co.uk`, `someone.github.io`.
pub(super) fn registrable(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

/// What the list says of `name`, or of a name `below` it.
fn lookup(name: &[u8], below: Option<&'static [u8]>) -> Info {
    psl::List.find(name.rsplit(|&b| b == b'.').chain(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By two look-ups, as the definition has it.
    fn by_definition(name: &str) -> Option<Suffix> {
        let known = |name: &str| {
            let suffix = psl::suffix(name.as_bytes())?;
            (suffix.as_bytes() == name.as_bytes()).then_some(suffix.typ()).flatten()
        };
        match known(name) {
            Some(Type::Icann) => Some(Suffix::Registry),
            Some(Type::Private) => Some(Suffix::Hosting),
            None if known(&format!("awf-bpf-probe.{name}")) == Some(Type::Icann) => Some(Suffix::Registry),
            None => None,
        }
    }

    #[test]
    fn one_look_up_says_what_two_do() {
        let mut seen = std::collections::BTreeMap::new();
        let tops =
            ["com", "uk", "ck", "jp", "io", "test", "np", "bd", "xn--p1ai", "br", "app", "cloud", "no"];
        let seconds = ["", "co", "gov", "github", "kawasaki", "www", "city", "nom", "compute", "run", "s3"];
        for name in tops.iter().flat_map(|top| seconds.map(|second| format!("{second}.{top}"))) {
            for below in ["", "www.", "a.", "us-1.", "city.", "x.y."] {
                let name = format!("{below}{}", name.trim_start_matches('.'));
                let found = of(name.as_bytes());
                assert_eq!(found, by_definition(&name), "{name}");
                *seen.entry(format!("{found:?}")).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 3, "every answer occurs: {seen:?}");
    }
}
