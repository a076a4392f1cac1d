//! The verdict itself: a canary that cannot fail a test proves nothing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use harness::{
    Canary, Lab,
    canary::Filter,
    hosts::{CANARY_V4, CANARY_V6},
};

/// What the verdict says after the lab's user has run the probe unhindered.
fn verdict(vector: &str, expected: &[Filter]) -> Result<(), String> {
    let lab = Lab::new();
    let canary = Canary::new(&lab);
    let probe = lab.dir().install(Path::new(env!("CARGO_BIN_EXE_probe")));
    let probe = probe.to_str().expect("the lab's directory is ASCII");
    lab.bare().run(&[probe, vector, &CANARY_V4.to_string(), &CANARY_V6.to_string(), "443"]).ok();
    let silent = || canary.assert_silent_except(&lab, expected);
    catch_unwind(AssertUnwindSafe(silent))
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn a_leak_fails_the_test_and_is_shown() {
    for (vector, shown) in [("tcp4", "[203.0.113.66]:443"), ("udp6_sendto", "[2001:db8:2::66]:443")] {
        let heard = verdict(vector, &[]).expect_err("the canary heard nothing");
        assert!(heard.contains(shown) && heard.contains("MARKED"), "{heard}");
    }
}

#[test]
fn what_is_expected_is_no_leak() {
    verdict("udp4_sendto", &[Filter::any().proto(17).to(CANARY_V4).port(443)]).expect("expected");
    verdict("udp4_sendto", &[Filter::any().proto(17).to(CANARY_V4).port(53)]).expect_err("another port");
    verdict("udp4_sendto", &[Filter::any().to(CANARY_V4).marked(false)]).expect_err("marked");
}

#[test]
fn silence_is_heard_as_silence() {
    verdict("tcp4", &[Filter::any()]).expect("everything expected");
    verdict("sys_keyctl", &[]).expect("nothing was sent");
}
