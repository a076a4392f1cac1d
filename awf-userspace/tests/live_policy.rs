//! A live policy that is asked by many while it changes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use awf_userspace::policy::{DomainName, List, LivePolicy, Place, Policy, Rule, live::Process};

fn allowing(names: &[&str]) -> Policy {
    let rule = |name: &&str| Rule::parse(name, List::Allow, Place::Flag("--allow-domains")).unwrap();
    Policy::new(names.iter().map(rule).collect::<Vec<_>>())
}

fn allows(policy: &Policy, name: &str) -> bool {
    policy.judge_name(&DomainName::parse(name).unwrap()).is_allow()
}

/// Each policy that is ever set allows the two names of one number and none of another: who takes it once never
/// sees a part of two.
#[test]
fn a_judgement_has_all_of_one_policy_while_it_changes() {
    const POLICIES: usize = 4;
    let name = |part: &str, number: usize| format!("{part}{number}.test");
    let policy = |number| allowing(&[&name("first", number), &name("second", number)]);
    let live = LivePolicy::new(policy(0));
    let process = Process { tgid: 7, started: 100 };
    live.set_for_process(process, policy(0));
    let (over, judged) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (live, over, judged) = (&live, &over, &judged);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let policy = live.of(Some(process).filter(|_| reader % 2 == 0));
                    let seen = |part| {
                        let is_allowed = |number: &usize| allows(&policy, &name(part, *number));
                        (0..POLICIES).filter(is_allowed).collect::<Vec<_>>()
                    };
                    let (first, second) = (seen("first"), seen("second"));
                    assert_eq!((first.len(), &first), (1, &second), "a mix of policies");
                    judged.store(true, Relaxed);
                }
            });
        }
        for round in 0.. {
            live.set(policy(round % POLICIES));
            live.set_for_process(process, policy((round + 1) % POLICIES));
            if round > 2000 && judged.load(Relaxed) {
                break;
            }
        }
        over.store(true, Relaxed);
    });
}
