//! The rules of a policy for people to read: each of a few, the number of many.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{List, Policy, Rule, index::Index};

/// A part of a policy.
#[derive(Clone, Debug)]
pub enum Outline {
    Rule(Rule),
    /// The rules of a file that are too many to be listed.
    File {
        list: List,
        path: Arc<str>,
        /// How many, without those that an earlier one of a list file covers.
        rules: usize,
    },
}

impl Policy {
    /// The rules in the order given; of a file that has more than `most`, only how many.
    #[must_use]
    pub fn outline(&self, most: usize) -> Vec<Outline> {
        let mut parts = Vec::new();
        for (list, index) in [(List::Allow, &*self.allow), (List::Block, &*self.block)] {
            outline_list(list, index, most, &mut parts);
        }
        parts.sort_by_key(|(order, _)| *order);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// The whole policy in lines: the rules as in [`Policy::outline`], what is open of the host's loopback, the
    /// records beside addresses, and whether that is nothing at all.
    #[must_use]
    pub fn shown(&self, most: usize) -> Vec<String> {
        let rules = self.outline(most).into_iter().map(|part| part.to_string());
        let host = self.host_grants().iter().map(|grant| format!("host       {}", grant.rule()));
        let records = self.record_rules().iter().map(|rule| format!("allow-dns  {rule}"));
        let urls = self.url_rules().iter().map(|rule| {
            let notes = rule.notes().iter().map(|note| format!("; {note}")).collect::<String>();
            format!("allow-url  {rule}{notes}")
        });
        let nothing =
            self.allows_nothing_alone().then(|| "allow      nothing: the command has no network".to_owned());
        let own = rules.chain(urls).chain(host).chain(records).chain(nothing);
        let also = self.also.iter().flat_map(|also| also.shown(most));
        own.chain(also.map(|line| format!("narrowed by: {line}"))).collect()
    }

    /// The rules that a reader should hear something about, with [`Rule::notes`], in the order given.
    #[must_use]
    pub fn noted(&self) -> Vec<&Rule> {
        let whole = self.allow.whole().chain(self.block.whole());
        let mut noted: Vec<_> = whole.filter(|(_, rule)| !rule.notes().is_empty()).collect();
        noted.sort_by_key(|(order, _)| *order);
        noted.into_iter().map(|(_, rule)| rule).collect()
    }

    /// How many rules of `list` there are, without those that an earlier one of the same file covers.
    #[must_use]
    pub fn count(&self, list: List) -> usize {
        let index = match list {
            List::Allow => &self.allow,
            List::Block => &self.block,
        };
        index.whole().filter(|(_, rule)| !rule.for_urls).count()
            + index.lines.sheets().iter().map(|sheet| sheet.count()).sum::<usize>()
    }
}

fn outline_list(list: List, index: &Index, most: usize, parts: &mut Vec<(u64, Outline)>) {
    let sheets = || index.lines.sheets().iter();
    let given = || index.whole().filter(|(_, rule)| !rule.for_urls);
    let in_files = given().filter_map(|(order, rule)| Some((rule.place().file()?, order, 1)));
    // By file: where its first rule stands among all, and how many there are.
    let mut files: HashMap<&Arc<str>, (u64, usize)> = HashMap::new();
    for (path, order, count) in sheets().map(|s| (s.path(), s.order(), s.count())).chain(in_files) {
        let file = files.entry(path).or_insert((order, 0));
        *file = (file.0.min(order), file.1 + count);
    }
    files.retain(|_, (_, count)| *count > most);
    parts.extend(
        files
            .iter()
            .map(|(path, &(order, rules))| (order, Outline::File { list, path: Arc::clone(path), rules })),
    );
    let listed = |place: Option<&Arc<str>>| place.is_none_or(|path| !files.contains_key(path));
    let whole = given().filter(|(_, rule)| listed(rule.place().file()));
    parts.extend(whole.map(|(order, rule)| (order, Outline::Rule(rule.clone()))));
    if sheets().any(|sheet| listed(Some(sheet.path()))) {
        let lines = index.lines.all().filter(|(_, line)| listed(Some(line.path())));
        parts.extend(lines.filter_map(|(order, line)| Some((order, Outline::Rule(line.to_rule()?)))));
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |list| match list {
            List::Allow => "allow",
            List::Block => "block",
        };
        match self {
            Self::Rule(rule) => {
                write!(f, "{:<10} {rule}", word(rule.list()))?;
                rule.notes().iter().try_for_each(|note| write!(f, "; {note}"))
            }
            Self::File { list, path, rules } => write!(f, "{:<10} {rules} rules of {path}", word(*list)),
        }
    }
}
