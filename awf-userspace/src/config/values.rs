//! Single values of flags: times, sizes, counts.

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

/// Less, and nothing starts.
const LEAST_MEMORY: u64 = 16 << 20;
/// `PID_MAX_LIMIT` of include/linux/threads.h.
const MOST_PIDS: u64 = 4 << 20;

/// Bytes, as Docker writes them: a number with `b`, `k`, `m` or `g`, in powers of 1024.
pub(super) fn memory(text: &str) -> Result<u64, ConfigError> {
    let bad = || ConfigError::MemoryLimit(text.to_owned());
    let trimmed = text.trim().to_ascii_lowercase();
    let (digits, unit) =
        trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
    let shift = match unit {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(bad()),
    };
    let count: u64 = digits.parse().map_err(|_| bad())?;
    let bytes =
        count.checked_mul(1 << shift).filter(|bytes| (LEAST_MEMORY..=i64::MAX as u64).contains(bytes));
    bytes.ok_or_else(bad)
}

/// How many processes.
pub(super) fn pids(text: &str) -> Result<u64, ConfigError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|count| digits && (1..=MOST_PIDS).contains(count));
    count.ok_or_else(|| ConfigError::PidsLimit(text.to_owned()))
}
