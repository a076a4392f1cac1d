//! Which names the command was given an address for: all that tells of a connection whose protocol names no host.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::policy::DomainName;

/// How long an answer is remembered. Longer than any time to live, because programs keep addresses for longer
/// (connection pools, the JVM's cache). It opens nothing: the name is judged and resolved anew.
const KEPT: Duration = Duration::from_secs(3600);
/// Most addresses remembered.
const ADDRESSES: usize = 4096;
/// Most names remembered of one address; a content network has thousands.
const NAMES: usize = 8;

/// Answers given, by address.
#[derive(Debug, Default)]
pub(super) struct Given {
    by_address: Mutex<HashMap<IpAddr, Vec<Name>>>,
}

#[derive(Debug)]
struct Name {
    name: DomainName,
    at: Instant,
}

impl Given {
    /// Remembers that `name` was answered with `addresses`.
    pub(super) fn add(&self, name: &DomainName, addresses: impl Iterator<Item = IpAddr>, now: Instant) {
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses.map(|ip| ip.to_canonical()) {
            if by_address.len() >= ADDRESSES && !by_address.contains_key(&address) {
                make_room(&mut by_address, now);
            }
            // The latest last.
            let names = by_address.entry(address).or_default();
            names.retain(|known| known.name != *name);
            if names.len() >= NAMES {
                names.remove(0);
            }
            names.push(Name { name: name.clone(), at: now });
        }
    }

    /// The names that were answered with `address`, the latest first.
    pub(super) fn names_of(&self, address: IpAddr, now: Instant) -> Vec<DomainName> {
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let names = by_address.get(&address.to_canonical()).map_or(&[][..], Vec::as_slice);
        names.iter().rev().filter(|known| is_fresh(known, now)).map(|known| known.name.clone()).collect()
    }
}

fn is_fresh(known: &Name, now: Instant) -> bool {
    now.saturating_duration_since(known.at) < KEPT
}

/// Forgets what is too old and, where that is not enough, the older half: a full table is gone through once for
/// thousands of answers, not for each.
fn make_room(by_address: &mut HashMap<IpAddr, Vec<Name>>, now: Instant) {
    by_address.retain(|_, names| names.last().is_some_and(|latest| is_fresh(latest, now)));
    if by_address.len() < ADDRESSES {
        return;
    }
    let mut times: Vec<_> = by_address.values().filter_map(|names| names.last().map(|l| l.at)).collect();
    times.sort_unstable();
    let middle = times[times.len() / 2];
    let mut left = ADDRESSES / 2;
    by_address.retain(|_, names| {
        let keep = left > 0 && names.last().is_some_and(|latest| latest.at >= middle);
        left -= usize::from(keep);
        keep
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from(0xc633_6400 + u32::try_from(number).unwrap()).into()
    }

    fn names(given: &Given, number: usize, now: Instant) -> Vec<String> {
        given.names_of(address(number), now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_latest_name_comes_first_and_the_oldest_goes() {
        let (given, now) = (Given::default(), Instant::now());
        for text in ["a.test", "b.test", "a.test"] {
            given.add(&name(text), [address(1), address(2)].into_iter(), now);
        }
        assert_eq!(names(&given, 1, now), ["a.test", "b.test"]);
        assert_eq!(names(&given, 3, now), [""; 0]);
        let mapped = Ipv4Addr::new(198, 51, 100, 2).to_ipv6_mapped();
        assert_eq!(given.names_of(mapped.into(), now).len(), 2, "one address, however it is written");
        for n in 0..NAMES {
            given.add(&name(&format!("n{n}.test")), std::iter::once(address(1)), now);
        }
        let kept = names(&given, 1, now);
        assert_eq!((kept.len(), kept[0].as_str(), kept[NAMES - 1].as_str()), (NAMES, "n7.test", "n0.test"));
    }

    #[test]
    fn an_answer_is_forgotten_after_its_time() {
        let (given, then) = (Given::default(), Instant::now());
        given.add(&name("a.test"), std::iter::once(address(1)), then);
        given.add(&name("b.test"), std::iter::once(address(1)), then + KEPT / 2);
        assert_eq!(names(&given, 1, then + KEPT - Duration::from_secs(1)), ["b.test", "a.test"]);
        assert_eq!(names(&given, 1, then + KEPT), ["b.test"]);
        assert_eq!(names(&given, 1, then + KEPT * 2), [""; 0]);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        for step in [Duration::ZERO, Duration::from_micros(1)] {
            let (given, mut now) = (Given::default(), Instant::now());
            for number in 0..3 * ADDRESSES {
                now += step;
                given.add(&name("a.test"), std::iter::once(address(number)), now);
            }
            assert!(given.by_address.lock().unwrap().len() <= ADDRESSES);
            assert_eq!(names(&given, 3 * ADDRESSES - 1, now), ["a.test"]);
            if !step.is_zero() {
                assert_eq!(names(&given, 2 * ADDRESSES + ADDRESSES / 2, now), ["a.test"]);
                assert_eq!(names(&given, 0, now), [""; 0]);
            }
        }
    }
}
