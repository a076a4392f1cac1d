//! List files: rules kept as lines of a file's text.

use std::ops::Range;

use bytes::Bytes;

use crate::policy::{Builder, DomainName, Host, List, Place, Policy, Protocol, Rule, Target};

/// Names that one file is asked about.
const ASKED: usize = 64;

/// The entries of a list file, however they are kept, decide what the same rules decide one by one, and the same ones
/// are refused. `bytes`: a line or what stands between two commas is an entry.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for list in [List::Allow, List::Block] {
        let (mut whole, mut builder, mut names) = (Vec::new(), Builder::default(), Vec::new());
        let mut sheet = builder.sheet("list", list, Bytes::copy_from_slice(bytes));
        for (range, number) in entries(text) {
            let entry = &text[range.clone()];
            let rule = Rule::parse(entry, list, Place::Line { path: "list".into(), line: number });
            assert_eq!(
                sheet.entry(range, number),
                rule.as_ref().map(drop).map_err(Clone::clone),
                "{entry:?}"
            );
            names.extend(around(entry));
            whole.extend(rule);
        }
        let (kept, whole) = (builder.build(), Policy::new(whole));
        for name in names.into_iter().take(ASKED) {
            let host = Host::Name(name);
            for (port, protocol) in [(443, Protocol::Tls), (80, Protocol::Http), (22, Protocol::Other)] {
                let target = Target { host: &host, port, protocol };
                assert_eq!(kept.judge(&target), whole.judge(&target), "{host}:{port}");
            }
        }
    }
}

/// Where each entry stands, and on which line, from 1.
fn entries(text: &str) -> Vec<(Range<usize>, usize)> {
    let (mut start, mut number, mut all) = (0, 1, Vec::new());
    for part in text.split_inclusive(['\n', ',']) {
        let entry = part.trim_end_matches(['\n', ',']).trim();
        let from = start + part.find(entry).unwrap_or_default();
        if !entry.is_empty() {
            all.push((from..from + entry.len(), number));
        }
        start += part.len();
        number += usize::from(part.ends_with('\n'));
    }
    all
}

/// The name an entry is about, and names around it.
fn around(entry: &str) -> Vec<DomainName> {
    let name = entry.trim_start_matches('=');
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    let name = name.split([':', '/']).next().unwrap_or_default();
    let base = name.strip_prefix("*.").unwrap_or(name);
    let names = [
        base.to_owned(),
        format!("a.{base}"),
        format!("b.a.{base}"),
        format!("a{base}"),
        base.replace('*', "x"),
    ];
    names.iter().filter_map(|name| DomainName::parse(name).ok()).collect()
}
