//! Name patterns: what stands before the port of a rule, compiled.

use super::DomainName;

/// A set of names: the base, which is what the index is keyed by, and how far around it the set reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) base: DomainName,
    pub(super) scope: Scope,
}

/// Which names at or below the base belong to the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// `x.com`: the base and all below it.
    Tree,
    /// `=x.com`: the base only.
    Exact,
    /// `*.x.com`: all below the base.
    Below,
    /// `api-*.x.com`: the base with these labels before it; `deep` (`*.api-*.x.com`) allows and requires more
    /// before them.
    Labels { globs: Vec<Glob>, deep: bool },
}

impl Pattern {
    /// Whether `name`, which is the base or below it, belongs to the set.
    pub(super) fn matches(&self, name: &DomainName) -> bool {
        let head = name.as_str().strip_suffix(self.base.as_str()).map(|head| head.trim_end_matches('.'));
        let Some(head) = head else { return false };
        match &self.scope {
            Scope::Tree => true,
            Scope::Exact => head.is_empty(),
            Scope::Below => !head.is_empty(),
            Scope::Labels { globs, deep } => labels_match(head, globs, *deep),
        }
    }
}

fn labels_match(head: &str, globs: &[Glob], deep: bool) -> bool {
    if head.is_empty() {
        return false;
    }
    let mut labels = head.rsplit('.');
    let each = globs.iter().rev().all(|glob| labels.next().is_some_and(|label| glob.matches(label)));
    each && labels.next().is_some() == deep
}

/// One label in which `*` stands for any characters but a dot, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<str>);

impl Glob {
    /// `text` is lower case and one label.
    pub(super) fn new(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn matches(&self, label: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *label };
        let Some(mut label) = label.strip_prefix(first) else { return false };
        let Some((middle, last)) = rest.rsplit_once('*') else { return label.ends_with(rest) };
        // Each part at its first place: leaves most for the parts after it, so no going back is needed.
        for part in middle.split('*') {
            match label.find(part) {
                Some(at) => label = &label[at + part.len()..],
                None => return false,
            }
        }
        label.ends_with(last)
    }
}
