//! Single values of flags: times.

use std::time::Duration;

use super::ConfigError;

/// Minutes (awf's meaning), or a number with its unit: `90s`, `30m`, `2h`. Zero is not a time.
pub(super) fn timeout(text: &str) -> Result<Duration, ConfigError> {
    let bad = || ConfigError::Timeout(text.to_owned());
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" => 1,
        "" | "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    // Bounded so that a deadline can be computed from it: a century is enough.
    let total = count.checked_mul(seconds).filter(|total| (1..=100 * 366 * 86_400).contains(total));
    total.map(Duration::from_secs).ok_or_else(bad)
}
