//! How much longer than usual everything may take here: `AWF_TEST_PATIENCE=N` for machines that are N times slower
//! (emulated ones). It stretches limits, which guard against hangs; what a test measures it leaves alone.

use std::{sync::LazyLock, time::Duration};

static FACTOR: LazyLock<u32> = LazyLock::new(|| match std::env::var("AWF_TEST_PATIENCE") {
    Ok(text) => text
        .parse()
        .ok()
        .filter(|n| (1..=100).contains(n))
        .unwrap_or_else(|| panic!("AWF_TEST_PATIENCE={text}: a whole number from 1 to 100")),
    Err(_) => 1,
});

/// `limit`, on this machine.
///
/// # Panics
/// If the variable is not a number from 1 to 100.
#[must_use]
pub fn stretch(limit: Duration) -> Duration {
    limit * *FACTOR
}
