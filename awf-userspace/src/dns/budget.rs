//! How much data the command may carry out inside of names. A name below an allowed domain is asked for at that
//! domain's servers, so whoever runs one of them reads what the name says: `c2VjcmV0.example.com`.
//!
//! Each new name is charged the bits it can carry, by the length of a code that any tunnel could at best reach: 21/4
//! bits a character (38 of them), less where the name resembles one asked for before (`node-17` after `node-16`), and
//! for a known name only which of the known ones it is. What is charged is thus a bound on what is told, whatever
//! encoding the tunnel uses: base32, hex, words or counters. A name that turns out not to exist is charged twice. Answers
//! from the cache tell nobody anything and cost nothing; so does a name that the rules write out.
//!
//! One owner's domain (`example.com`, `someone.github.io`) has [`BURST`] and [`PER_MINUTE`], a zone of many owners
//! that a rule names (`github.io`) [`ZONE`] times that. Names of hosts stay far below it: 20 storage accounts of a CI
//! service cost 1,000 bits, 100 services of a cluster 7,000; iodine and dnscat2 spend 16,384 in 13 to 16 queries.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::policy::Chosen;

/// Bits at once: 2 KiB.
const BURST: u64 = 16_384;
/// Bits a minute after that: 256 bytes.
const PER_MINUTE: u64 = 2_048;
/// How many times that a zone of many owners has.
const ZONE: u64 = 8;
/// Most domains whose names are told apart; all others share one account.
const ACCOUNTS: usize = 1024;
/// Most names remembered of a domain.
const KNOWN: usize = 256;

/// The accounts of all domains.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<HashMap<Box<str>, Account>>);

#[derive(Debug)]
struct Account {
    /// In bits, up to `burst`; and when it was counted.
    left: u64,
    at: Instant,
    burst: u64,
    known: VecDeque<Box<str>>,
}

/// Too much was told already.
#[derive(Debug)]
pub(super) struct Exhausted {
    pub(super) domain: String,
}

/// What a question was charged, by account.
#[derive(Debug)]
pub(super) struct Bill(Vec<(Box<str>, u64)>);

impl Budget {
    /// Charges a question for `chosen`.
    pub(super) fn charge(&self, chosen: &Chosen<'_>, now: Instant) -> Result<Bill, Exhausted> {
        if chosen.part.is_empty() {
            return Ok(Bill(Vec::new()));
        }
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bill = Vec::with_capacity(2);
        for (domain, burst) in domains(chosen) {
            let (key, account) = open(&mut accounts, domain, burst, now);
            let price = account.price(chosen.part);
            if account.refilled(now) < price {
                return Err(Exhausted { domain: domain.to_owned() });
            }
            bill.push((key.into(), price));
        }
        for (key, price) in &bill {
            if let Some(account) = accounts.get_mut(key) {
                account.left = account.left.saturating_sub(*price);
                account.remember(chosen.part);
            }
        }
        Ok(Bill(bill))
    }

    /// Charges the same once more, because the name does not exist: it was made up. The name is told already, so this
    /// refuses nothing.
    pub(super) fn charge_again(&self, bill: Bill) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, price) in bill.0 {
            if let Some(account) = accounts.get_mut(&key) {
                account.left = account.left.saturating_sub(price);
            }
        }
    }

    /// Whether less than half is left, so that what is known should rather be told again than asked again.
    pub(super) fn is_short(&self, chosen: &Chosen<'_>, now: Instant) -> bool {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !chosen.part.is_empty()
            && domains(chosen).any(|(domain, _)| {
                accounts.get_mut(domain).is_some_and(|account| account.refilled(now) < account.burst / 2)
            })
    }
}

/// The domains that a question is charged to, and what each has at once.
fn domains<'a>(chosen: &Chosen<'a>) -> impl Iterator<Item = (&'a str, u64)> {
    std::iter::once((chosen.owner, BURST)).chain(chosen.zone.map(|zone| (zone, BURST * ZONE)))
}

/// The account of `domain`, which is made if there is room for it, and its key.
fn open<'a, 'd>(
    accounts: &'a mut HashMap<Box<str>, Account>,
    domain: &'d str,
    burst: u64,
    now: Instant,
) -> (&'d str, &'a mut Account) {
    if accounts.len() >= ACCOUNTS && !accounts.contains_key(domain) {
        // One that is full again is as good as none.
        accounts.retain(|_, account| account.refilled(now) < account.burst);
    }
    let room = accounts.len() < ACCOUNTS || accounts.contains_key(domain);
    let key = if room { domain } else { "" };
    let fresh = || Account { left: burst, at: now, burst, known: VecDeque::new() };
    (key, accounts.entry(key.into()).or_insert_with(fresh))
}

impl Account {
    fn refilled(&mut self, now: Instant) -> u64 {
        let rate = PER_MINUTE * (self.burst / BURST);
        let passed = now.saturating_duration_since(self.at).as_millis();
        let gained = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(rate) / 60_000;
        // Parts of a bit are not lost: the clock goes on only with a gain.
        if gained > 0 {
            self.at = now;
            self.left = self.left.saturating_add(gained).min(self.burst);
        }
        self.left
    }

    fn price(&self, part: &str) -> u64 {
        let which = bits(self.known.len());
        if self.known.iter().any(|known| **known == *part) {
            return 2 + which;
        }
        let like = |known: &str| {
            let head = common(part.bytes(), known.bytes());
            let tail = common(part.bytes().skip(head).rev(), known.bytes().skip(head).rev());
            2 + which + 2 * bits(known.len()) + characters(part.len() - head - tail) + 4
        };
        self.known.iter().map(|known| like(known)).min().unwrap_or(u64::MAX).min(literal(part))
    }

    fn remember(&mut self, part: &str) {
        self.known.retain(|known| **known != *part);
        if self.known.len() >= KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(part.into());
    }
}

/// A name without any resemblance: its length and its characters, and the type asked for.
fn literal(part: &str) -> u64 {
    2 + 8 + characters(part.len())
}

/// Bits of so many characters out of a-z, 0-9, `-` and `_`; dots are part of them.
fn characters(count: usize) -> u64 {
    (count as u64 * 21).div_ceil(4)
}

/// Bits that tell one of `count` apart.
fn bits(count: usize) -> u64 {
    u64::from(usize::BITS - count.leading_zeros())
}

fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
