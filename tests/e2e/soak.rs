//! The soak in short: `cargo xtask soak` is the long one.

use std::time::Duration;

use harness::soak::{self, Plan};

#[test]
fn a_thousand_connections_are_held_and_churned_and_nothing_is_left() {
    let plan = Plan { connections: 1000, time: Duration::from_secs(20), every: Duration::from_millis(500) };
    let report = soak::run(plan, env!("CARGO_BIN_EXE_churn").as_ref());
    let failures = report.failures();
    assert!(failures.is_empty(), "{failures:#?}\n{report}");
}
