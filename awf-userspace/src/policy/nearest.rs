//! The name that was probably meant, for messages: a slip of one character away from a rule.
//!
//! Every such slip is made and looked up, so that the cost depends on the name and not on the policy, which may
//! have a million rules.

use super::{DomainName, Policy, index::Index};

const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
/// Longer names are not tried: 40 look-ups a byte.
const LONGEST: usize = 64;
/// Nor shorter ones: everything is near to them.
const SHORTEST: usize = 5;

impl Policy {
    /// `name` as it would be allowed, if it is one slip (a character missing, added, wrong, or swapped with the
    /// next) away from a rule, in itself or in a parent. At most some ten thousand look-ups.
    #[must_use]
    pub fn did_you_mean(&self, name: &DomainName) -> Option<DomainName> {
        let near = name.suffixes().filter(|suffix| (SHORTEST..=LONGEST).contains(&suffix.len()));
        near.filter(|suffix| suffix.contains('.')).find_map(|suffix| {
            let head = name.as_str().strip_suffix(suffix)?;
            let known = |slip: &str| {
                let meant = DomainName::parse(&format!("{head}{slip}")).ok()?;
                self.judge_name(&meant).is_allow().then_some(meant)
            };
            one_slip(suffix.as_bytes(), &self.allow).find_map(|slip| known(&slip))
        })
    }
}

/// The bases of `index` that are one slip away from `text`.
fn one_slip(text: &[u8], index: &Index) -> impl Iterator<Item = String> {
    let edit = |at: usize, drop: usize, put: &[u8]| [&text[..at], put, &text[at + drop..]].concat();
    let swapped = (1..text.len()).map(move |at| edit(at - 1, 2, &[text[at], text[at - 1]]));
    let dropped = (0..text.len()).map(move |at| edit(at, 1, b""));
    let letters = |at| ALPHABET.iter().map(move |letter| (at, std::slice::from_ref(letter)));
    let wrong = (0..text.len()).flat_map(letters).map(move |(at, put)| edit(at, 1, put));
    let missing = (0..=text.len()).flat_map(letters).map(move |(at, put)| edit(at, 0, put));
    let slips =
        swapped.chain(dropped).chain(wrong).chain(missing).filter_map(|slip| String::from_utf8(slip).ok());
    slips.filter(|slip| index.of(slip).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::policy, *};

    #[test]
    fn slips_are_recognised_and_other_names_are_not() {
        let policy =
            policy(&["github.com", "=api.example.test", "*.y-cdn.test", "10.0.0.0/8"], &["bad.github.com"]);
        for (asked, meant) in [
            ("gihtub.com", Some("github.com")),
            ("githb.com", Some("github.com")),
            ("githubb.com", Some("github.com")),
            ("github.con", Some("github.com")),
            ("api.guthub.com", Some("api.github.com")),
            ("githubcom", None),
            ("apiexample.test", Some("api.example.test")),
            ("apj.example.test", Some("api.example.test")),
            ("a.y-cdm.test", Some("a.y-cdn.test")),
            // Not allowed however it is spelled.
            ("y-cdm.test", None),
            ("bad.gihtub.com", None),
            ("gitlab.com", None),
            ("com", None),
            ("test", None),
        ] {
            let found = policy.did_you_mean(&DomainName::parse(asked).unwrap());
            assert_eq!(found.as_ref().map(DomainName::as_str), meant, "{asked}");
        }
    }
}
