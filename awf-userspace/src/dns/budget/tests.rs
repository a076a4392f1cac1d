//! Names of real life, which must never be refused, and tunnels, which must be after a few dozen questions.

use std::time::Duration;

use super::*;
use crate::policy::{DomainName, List, Place, Policy, Rule};

fn policy(rules: &[&str]) -> Policy {
    Policy::new(
        rules.iter().map(|text| Rule::parse(text, List::Allow, Place::Flag("--allow-domains")).unwrap()),
    )
}

/// A budget, its policy and its clock.
struct Case {
    budget: Budget,
    policy: Policy,
    now: Instant,
}

impl Case {
    fn new(rules: &[&str]) -> Self {
        Self { budget: Budget::default(), policy: policy(rules), now: Instant::now() }
    }

    fn ask(&self, name: &str) -> Result<Bill, Exhausted> {
        let name = DomainName::parse(name).unwrap();
        assert!(self.policy.judge_name(&name).is_allow(), "{name}");
        self.budget.charge(&self.policy.chosen(&name), self.now)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// How many of `names` are asked before one is refused, within a second.
    fn until_refused(&self, names: impl Iterator<Item = String>) -> usize {
        names.take(100_000).take_while(|name| self.ask(name).is_ok()).count()
    }
}

/// The same bytes each time.
struct Noise(u64);

impl Noise {
    fn label(&mut self, length: usize, alphabet: &[u8]) -> String {
        let mut one = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            char::from(alphabet[usize::try_from(self.0 >> 33).unwrap() % alphabet.len()])
        };
        (0..length).map(|_| one()).collect()
    }
}

const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const HEX: &[u8] = b"0123456789abcdef";

#[test]
fn tunnels_are_refused_after_a_few_dozen_questions() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    // iodine: labels of 57 to 63 characters up to the longest name.
    let mut iodine = || {
        let labels: Vec<_> = [57, 57, 57, 50].iter().map(|length| noise.label(*length, BASE32)).collect();
        format!("{}.t.example.com", labels.join("."))
    };
    let count = Case::new(&["example.com"]).until_refused(std::iter::repeat_with(&mut iodine));
    assert!((8..=16).contains(&count), "iodine: {count}");
    // dnscat2: hex in labels of 60.
    let mut dnscat =
        || format!("{}.{}.{}.example.com", noise.label(60, HEX), noise.label(60, HEX), noise.label(60, HEX));
    let count = Case::new(&["*.example.com"]).until_refused(std::iter::repeat_with(&mut dnscat));
    assert!((8..=24).contains(&count), "dnscat2: {count}");
    // One label of 63, of 32, of 12 characters a question.
    for (length, most) in [(63, 50), (32, 100), (12, 300)] {
        let mut one = || format!("{}.example.com", noise.label(length, BASE32));
        let count = Case::new(&["example.com"]).until_refused(std::iter::repeat_with(&mut one));
        assert!(count <= most, "{length}: {count}");
    }
}

/// Whatever the tunnel does: in four hours it gets out no more than the rate allows, charged at its own price.
#[test]
fn the_rate_bounds_what_leaves_in_hours() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut case = Case::new(&["example.com"]);
    let mut carried = 0;
    for _ in 0..4 * 3600 {
        let name = format!("{}.example.com", noise.label(40, BASE32));
        if case.ask(&name).is_ok() {
            // What base32 carries: five bits a character.
            carried += 40 * 5;
        }
        case.wait(1);
    }
    assert!(carried <= BURST + 4 * 60 * PER_MINUTE, "{carried} bits");
    assert!(carried > 4 * 60 * PER_MINUTE / 2, "the price is not far from what is carried: {carried}");
}

/// A codebook: names known before say something by which of them is asked.
#[test]
fn known_names_are_not_free() {
    let case = Case::new(&["example.com"]);
    let mut noise = Noise(77);
    let mut indices =
        std::iter::repeat_with(|| format!("n{:02x}.example.com", noise.label(1, BASE32).as_bytes()[0]));
    let count = case.until_refused(&mut indices);
    assert!((1000..3000).contains(&count), "five bits each: {count}");
}

#[test]
fn counters_and_words_are_charged_for_what_they_say() {
    let count = Case::new(&["example.com"]).until_refused((0..).map(|n| format!("seq-{n}.example.com")));
    assert!((300..900).contains(&count), "a counter says little: {count}");
}

#[test]
fn names_of_real_life_pass() {
    let mut noise = Noise(0xdead_beef_cafe_f00d);
    let uuid = |noise: &mut Noise| [8, 4, 4, 4, 12].map(|length| noise.label(length, HEX)).join("-");
    let mut worlds: Vec<(&[&str], Vec<String>)> = vec![
        (
            &["*.blob.core.windows.net"],
            (0..20).map(|n| format!("productionresultssa{n}.blob.core.windows.net")).collect(),
        ),
        (
            &["actions.githubusercontent.com"],
            (0..20)
                .flat_map(|n| {
                    [
                        format!("pipelinesghubeus{n}.actions.githubusercontent.com"),
                        format!("vstoken-{n}.actions.githubusercontent.com"),
                    ]
                })
                .collect(),
        ),
        (
            &["amazonaws.com"],
            (0..150).map(|n| format!("my-team-bucket-{n}.s3.eu-central-1.amazonaws.com")).collect(),
        ),
        (
            &["cloudfront.net"],
            (0..150).map(|_| format!("d{}.cloudfront.net", noise.label(13, BASE32))).collect(),
        ),
        (
            &["svc.cluster.local"],
            (0..100)
                .map(|n| {
                    format!(
                        "{}-{n}.{}.svc.cluster.local",
                        ["api", "worker", "postgres", "billing-service", "user-profile"][n % 5],
                        ["default", "payments", "monitoring"][n % 3]
                    )
                })
                .collect(),
        ),
        (&["github.io"], (0..500).map(|_| format!("{}.github.io", noise.label(12, BASE32))).collect()),
        (
            &["npm.example", "yarn.example", "pip.example", "wheels.example"],
            [
                "registry.npm.example",
                "replicate.npm.example",
                "registry.yarn.example",
                "classic.yarn.example",
                "pip.example",
                "test.pip.example",
                "files.wheels.example",
            ]
            .map(String::from)
            .into(),
        ),
    ];
    // Addresses by content and by uuid.
    worlds.push((
        &["dweb.link"],
        (0..40).map(|_| format!("bafybei{}.ipfs.dweb.link", noise.label(52, BASE32))).collect(),
    ));
    worlds.push((
        &["example.com"],
        (0..60).map(|_| format!("{}.preview.example.com", uuid(&mut noise))).collect(),
    ));
    worlds.push((
        &["example.com"],
        (0..30).map(|_| format!("sha256-{}.cache.example.com", noise.label(56, HEX))).collect(),
    ));
    // What the search list of a company's network makes of other people's names, all of it non-existent.
    let hosts = [
        "github.com",
        "api.github.com",
        "registry.npm.example",
        "pip.example",
        "crates.example",
        "static.crates.example",
        "proxy.modules.example",
        "deb.packages.example",
    ];
    worlds.push((
        &["corp.example.com"],
        hosts
            .iter()
            .flat_map(|host| [format!("{host}.corp.example.com"), format!("{host}.eu.corp.example.com")])
            .collect(),
    ));
    for (rules, names) in worlds {
        let case = Case::new(rules);
        for name in &names {
            // IPv6 and IPv4, and of a name that does not exist both again.
            for _ in 0..2 {
                let bill =
                    case.ask(name).unwrap_or_else(|e| panic!("{name} of {} is refused: {e:?}", names.len()));
                if rules[0].starts_with("corp") {
                    case.budget.charge_again(bill);
                }
            }
        }
    }
}

/// Names that are asked for again every minute, for hours.
#[test]
fn a_hundred_names_can_be_kept_fresh_for_ever() {
    let mut case = Case::new(&["svc.cluster.local"]);
    for minute in 0..60 {
        for n in 0..100 {
            case.ask(&format!("service-{n}.default.svc.cluster.local"))
                .unwrap_or_else(|e| panic!("{minute}: {e:?}"));
        }
        case.wait(60);
    }
}

#[test]
fn what_a_rule_writes_out_is_free_even_when_all_is_spent() {
    let case = Case::new(&["example.com", "=api.example.com", "deep.down.example.com"]);
    let mut noise = Noise(1);
    case.until_refused(std::iter::repeat_with(|| format!("{}.example.com", noise.label(60, HEX))));
    let refused = case.ask("0123456789abcdef0123456789abcdef.example.com").unwrap_err();
    assert_eq!(refused.domain, "example.com");
    for free in ["example.com", "api.example.com", "deep.down.example.com"] {
        assert!(case.ask(free).is_ok(), "{free}");
    }
}

#[test]
fn one_owner_does_not_spend_anothers_share_but_a_zone_has_its_own_bound() {
    let case = Case::new(&["github.io", "example.com"]);
    let mut noise = Noise(5);
    case.until_refused(std::iter::repeat_with(|| format!("{}.someone.github.io", noise.label(60, HEX))));
    assert!(case.ask("other.github.io").is_ok() && case.ask("www.example.com").is_ok());
    // As many owners as one likes: the zone's own account ends it.
    let case = Case::new(&["github.io"]);
    let count = case.until_refused(std::iter::repeat_with(|| format!("{}.github.io", noise.label(60, HEX))));
    assert!((300..500).contains(&count), "{count}");
    assert_eq!(case.ask("0123456789abcdef0123456789abcdef.github.io").unwrap_err().domain, "github.io");
}

#[test]
fn memory_is_bounded() {
    let mut case = Case::new(&["github.io", "example.com"]);
    let mut noise = Noise(9);
    for _ in 0..4_000 {
        let _ = case.ask(&format!("{}.github.io", noise.label(8, BASE32)));
        let _ = case.ask(&format!("{}.example.com", noise.label(1, BASE32)));
        case.now += Duration::from_millis(100);
    }
    let accounts = case.budget.0.lock().unwrap();
    assert!(accounts.len() <= ACCOUNTS + 1, "{}", accounts.len());
    assert!(accounts.values().all(|account| account.known.len() <= KNOWN));
}
