//! `--deadline NAME=TIME`: how long the proxy waits for what.

use std::{fmt, time::Duration};

use super::ConfigError;

/// The names, as they are written.
const NAMES: [&str; 7] = ["first-byte", "head", "keep-alive", "resolve", "connect", "idle", "lifetime"];
/// So that a deadline can be computed from it: a century is enough.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What was set; `None` leaves the proxy's own time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// From accept until it is known what the command speaks and to whom.
    pub first_byte: Option<Duration>,
    /// From the first byte of a request head to its end.
    pub head: Option<Duration>,
    /// Between two requests of one connection, and before the first.
    pub keep_alive: Option<Duration>,
    /// Asking for the addresses of a name.
    pub resolve: Option<Duration>,
    /// Until one of the addresses has accepted.
    pub connect: Option<Duration>,
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// Of a connection as a whole.
    pub lifetime: Option<Duration>,
}

impl Deadlines {
    /// Reads all values of the flag; of a name that is given twice the last counts.
    pub(super) fn read(values: &[String], errors: &mut Vec<ConfigError>) -> Self {
        let mut found = Self::default();
        let items = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        for item in items.filter(|item| !item.is_empty()) {
            if let Err(error) = found.set(item) {
                errors.push(error);
            }
        }
        found
    }

    fn set(&mut self, item: &str) -> Result<(), ConfigError> {
        let (name, text) = item.split_once('=').unwrap_or((item, ""));
        let slots = self.slots_mut();
        let Some((_, slot)) = slots.into_iter().find(|(known, _)| *known == name.trim()) else {
            return Err(ConfigError::DeadlineName { item: item.to_owned(), known: NAMES.join(", ") });
        };
        let time = time(text.trim()).ok_or_else(|| ConfigError::DeadlineTime(item.to_owned()))?;
        *slot = Some(time);
        Ok(())
    }

    fn slots_mut(&mut self) -> [(&'static str, &mut Option<Duration>); 7] {
        let Self { first_byte, head, keep_alive, resolve, connect, idle, lifetime } = self;
        let slots = [first_byte, head, keep_alive, resolve, connect, idle, lifetime];
        let mut names = NAMES.into_iter();
        slots.map(|slot| (names.next().unwrap_or_default(), slot))
    }
}

/// `first-byte=10s idle=30m`: what was set.
impl fmt::Display for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let set = copy.slots_mut().into_iter().filter_map(|(name, slot)| slot.map(|time| (name, time)));
        for (number, (name, time)) in set.enumerate() {
            write!(f, "{}{name}={time:?}", if number == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// A whole number with its unit: `500ms`, `10s`, `30m`, `8h`. Zero is not a time.
fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    let time = Duration::from_millis(count.checked_mul(milliseconds)?);
    (!time.is_zero() && time <= LONGEST).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> (Deadlines, Vec<String>) {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut errors = Vec::new();
        let found = Deadlines::read(&values, &mut errors);
        (found, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_name_and_unit() {
        let text = "first-byte=500ms,head=10s, keep-alive = 2m ,resolve=3s,connect=4s,idle=30m,lifetime=8h";
        let (found, errors) = read(&["idle=1s,", text]);
        assert_eq!(errors, [""; 0]);
        assert_eq!(found.idle, Some(Duration::from_secs(1800)), "the last one counts");
        assert_eq!(
            found.to_string(),
            "first-byte=500ms head=10s keep-alive=120s resolve=3s connect=4s idle=1800s lifetime=28800s"
        );
        assert_eq!(read(&[]).0, Deadlines::default());
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong =
            "idle=0s,idle=10,idle=,idle,idle=1.5s,idle=-1s,idle=1d,idle=99999999999999999999h,idle=9999999h";
        let (found, errors) = read(&["sleep=1s", wrong]);
        assert_eq!(found, Deadlines::default());
        assert_eq!(errors.len(), 10);
        assert_eq!(
            errors[0],
            "--deadline: \"sleep=1s\" names no deadline; write one of first-byte, head, keep-alive, resolve, \
             connect, idle, lifetime, as in idle=10m"
        );
        assert_eq!(
            errors[1],
            "--deadline: \"idle=0s\" has a bad time; write a whole number and ms, s, m or h, as in idle=10m, more \
             than nothing"
        );
        assert!(errors[3].starts_with("--deadline: \"idle=\" has no time; "), "{}", errors[3]);
    }
}
