//! Rule by rule and request by request: what gh-aw-firewall does, what awf-bpf does, and that docs/from-awf.md gives
//! the reason for each difference.

use std::{fs, path::Path};

use awf_userspace::policy::{Host, List, Place, Policy, Protocol, Rule};

const TABLE: &str = include_str!("data/differential.tsv");

struct Row<'a> {
    rules: &'a str,
    request: &'a str,
    awf: &'a str,
    ours: &'a str,
    why: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with("# "));
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        Row { rules: next(), request: next(), awf: next(), ours: next(), why: next() }
    };
    lines.map(row).collect()
}

impl Row<'_> {
    /// Whether both say the same, in the words of either.
    fn agrees(&self) -> bool {
        match self.awf {
            "rejected" => self.ours == "refused",
            verdict => self.ours.split(' ').next() == Some(verdict),
        }
    }

    fn policy(&self) -> Result<Policy, String> {
        let rules = self.rules.split(" & ").filter(|rule| !rule.is_empty()).map(|text| {
            let (list, text) = text.strip_prefix('!').map_or((List::Allow, text), |text| (List::Block, text));
            Rule::parse(text, list, Place::Flag("--allow-domains")).map_err(|error| error.to_string())
        });
        Ok(Policy::new(rules.collect::<Result<Vec<_>, _>>()?))
    }

    /// What awf-bpf says, in the words of the table.
    fn verdict(&self) -> String {
        let Ok(policy) = self.policy() else { return "refused".to_owned() };
        let (scheme, rest) =
            self.request.trim_start_matches("CONNECT ").split_once("://").expect(self.request);
        let (protocol, usual) = match scheme {
            "https" => (Protocol::Tls, 443),
            "http" => (Protocol::Http, 80),
            "tcp" => (Protocol::Other, 0),
            other => panic!("{other}"),
        };
        let port = rest.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        let (host, port) =
            port.map_or((rest, usual), |(host, port)| (host, port.parse().expect(self.request)));
        let host = Host::parse(host).expect(self.request);
        let decided = policy.decide(Some(&host), None, port, protocol);
        let dialled = decided.and_then(|_| match host {
            Host::Ip(ip) => policy.may_dial(ip, port),
            Host::Name(_) => Ok(()),
        });
        dialled.map_or_else(|denied| format!("deny {}", denied.reason), |()| "allow".to_owned())
    }

    /// The line of docs/from-awf.md.
    fn line(&self) -> String {
        let cell = |text: &str| format!("`{}`", text.replace('|', "\\|"));
        format!(
            "| {} | {} | {} | {} | {} |",
            cell(self.rules),
            cell(self.request),
            self.awf,
            self.ours,
            self.why
        )
    }
}

#[test]
fn each_verdict_is_the_one_of_the_table() {
    let rows = rows();
    assert!(rows.len() >= 60, "{}", rows.len());
    let of = |verdict: &str| rows.iter().filter(|row| row.ours.starts_with(verdict)).count();
    assert!(of("allow") > 20 && of("deny") > 20 && of("refused") > 10);
    for row in &rows {
        assert!(["allow", "deny", "rejected"].contains(&row.awf), "{}", row.line());
        assert_eq!(row.verdict(), row.ours, "{}", row.line());
        assert_eq!(row.why.is_empty(), row.agrees(), "a difference has a reason: {}", row.line());
    }
}

#[test]
fn every_difference_is_on_the_page_for_those_who_come_from_awf() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/from-awf.md");
    let page = fs::read_to_string(page).unwrap();
    let section = page.split("\n## Verdicts\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let shown: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let real: Vec<_> = rows().iter().filter(|row| !row.agrees()).map(Row::line).collect();
    assert_eq!(shown, real, "the lines should be:\n{}\n", real.join("\n"));
}
