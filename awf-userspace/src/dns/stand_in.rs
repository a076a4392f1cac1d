//! Addresses that stand for names. Behind an upstream proxy a name need not resolve here, and its addresses would not
//! be dialled; but a program that takes no notice of proxy variables looks it up before anything else. It is given an
//! address that is nobody's; connecting to it leads to our proxy like every connection, and from there by name.
//!
//! So it is with names that are refused, where what is refused is said inside of TLS: a name that is not found would
//! say nothing but that.
//!
//! One name, one address (of each family), for the whole run: none is ever given to another name.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use hickory_proto::rr::{
    RData, Record, RecordType,
    rdata::{A, AAAA},
};

use super::{refusal::Refusal, wire::Question};
use crate::policy::{DomainName, Reason};

/// 198.18.0.0/15, for benchmarks of network devices (RFC 2544): on no network that has hosts.
const V4: u32 = 0xc612_0000;
/// A unique local prefix (RFC 4193) of our own: `fd61:7766:6270:6600::/64`, in letters `awfbpf`.
const V6: u128 = 0xfd61_7766_6270_6600 << 64;
/// Names at most; half of the IPv4 range. When it is full, further names are refused: an address that changed hands
/// would lead a late connection to another name.
const NAMES: usize = 1 << 16;
/// Of those, refused ones; the next is not found.
const REFUSED: usize = 1 << 12;
/// How long an answer may be kept, in seconds. It never changes.
const TTL: u32 = 300;

type Wanted = Box<dyn Fn(&DomainName) -> bool + Send + Sync>;

/// The names that have such addresses, by whom they are wanted for.
#[derive(Default)]
pub struct StandIns {
    /// `None`: no name.
    wanted: Option<Wanted>,
    /// Of names that are refused.
    instead: Option<Wanted>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    numbers: HashMap<DomainName, u32>,
    names: Vec<DomainName>,
    refused: usize,
}

impl StandIns {
    /// For the names that satisfy `wanted`.
    #[must_use]
    pub fn new(wanted: impl Fn(&DomainName) -> bool + Send + Sync + 'static) -> Self {
        Self { wanted: Some(Box::new(wanted)), ..Self::default() }
    }

    /// And for names that are refused, if they satisfy `instead`.
    #[must_use]
    pub fn for_refused(mut self, instead: impl Fn(&DomainName) -> bool + Send + Sync + 'static) -> Self {
        self.instead = Some(Box::new(instead));
        self
    }

    /// The answer to a question for `name`, which the policy allows; `None` if it is to be asked upstream.
    pub(super) fn answer(
        &self,
        name: &DomainName,
        question: &Question,
    ) -> Option<Result<Vec<Record>, Refusal>> {
        if !is_about_addresses(question) || !self.wanted.as_ref().is_some_and(|wanted| wanted(name)) {
            return None;
        }
        let Some(number) = self.number(name, false) else {
            let message = "too many names: the stand-in addresses of this run are used up";
            return Some(Err(Refusal::failure(Reason::LimitExceeded, message)));
        };
        Some(Ok(records(question, number)))
    }

    /// The answer to a question for `name`, which the policy refuses; `None` if that is to be said here.
    pub(super) fn instead(&self, name: &DomainName, question: &Question) -> Option<Vec<Record>> {
        let ours = is_about_addresses(question) && self.instead.as_ref().is_some_and(|instead| instead(name));
        Some(records(question, ours.then(|| self.number(name, true)).flatten()?))
    }

    /// The name that `ip` stands for.
    pub(super) fn name_of(&self, ip: IpAddr) -> Option<DomainName> {
        let number = match ip.to_canonical() {
            IpAddr::V4(ip) => u32::from(ip).checked_sub(V4)?,
            IpAddr::V6(ip) => u32::try_from(u128::from(ip).checked_sub(V6)?).ok()?,
        };
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.names.get(index).cloned()
    }

    /// From 1: the address of a network itself is no host's.
    fn number(&self, name: &DomainName, refused: bool) -> Option<u32> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = table.numbers.get(name) {
            return Some(*number);
        }
        if table.names.len() >= NAMES || refused && table.refused >= REFUSED {
            return None;
        }
        table.refused += usize::from(refused);
        table.names.push(name.clone());
        let number = u32::try_from(table.names.len()).ok()?;
        table.numbers.insert(name.clone(), number);
        Some(number)
    }
}

fn is_about_addresses(question: &Question) -> bool {
    let kind = question.query.query_type();
    matches!(kind, RecordType::A | RecordType::AAAA | RecordType::HTTPS | RecordType::SVCB)
}

fn records(question: &Question, number: u32) -> Vec<Record> {
    let data = match question.query.query_type() {
        RecordType::A => Some(RData::A(A(v4(number)))),
        RecordType::AAAA => Some(RData::AAAA(AAAA(v6(number)))),
        _ => None,
    };
    let record = |data| Record::from_rdata(question.query.name().clone(), TTL, data);
    data.map(record).into_iter().collect()
}

fn v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(V4 + number)
}

fn v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(V6 + u128::from(number))
}

impl fmt::Debug for StandIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("StandIns").field("names", &table.names.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AddressClass;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn a_name_keeps_its_addresses_and_they_lead_back_to_it_alone() {
        let stand_ins = StandIns::new(|_| true);
        let numbers =
            ["a.test", "b.test", "a.test"].map(|text| stand_ins.number(&name(text), false).unwrap());
        assert_eq!(numbers, [1, 2, 1]);
        assert_eq!(
            (v4(1).to_string(), v6(2).to_string().as_str()),
            ("198.18.0.1".into(), "fd61:7766:6270:6600::2")
        );
        for (ip, expected) in [
            (IpAddr::from(v4(1)), Some("a.test")),
            (v4(1).to_ipv6_mapped().into(), Some("a.test")),
            (v6(2).into(), Some("b.test")),
            (v4(0).into(), None),
            (v4(3).into(), None),
            (v6(0).into(), None),
            (Ipv6Addr::from(V6 + (1 << 32) + 1).into(), None),
            (Ipv4Addr::new(198, 17, 255, 255).into(), None),
            (Ipv4Addr::BROADCAST.into(), None),
            (Ipv6Addr::LOCALHOST.into(), None),
        ] {
            assert_eq!(stand_ins.name_of(ip).as_ref().map(DomainName::as_str), expected, "{ip}");
        }
    }

    #[test]
    fn a_full_pool_gives_no_address_to_anybody_new() {
        let stand_ins = StandIns::new(|_| true);
        for n in 0..NAMES {
            assert!(stand_ins.number(&name(&format!("n{n}.test")), false).is_some());
        }
        assert_eq!(stand_ins.number(&name("new.test"), false), None);
        assert_eq!(stand_ins.number(&name("n0.test"), false), Some(1));
        let last = u32::try_from(NAMES).unwrap();
        assert!(v4(last) < Ipv4Addr::new(198, 20, 0, 0));
        assert_eq!(stand_ins.name_of(v6(last).into()), Some(name(&format!("n{}.test", NAMES - 1))));
    }

    /// The attack: whoever asks for many names that are refused takes nothing from those that are allowed.
    #[test]
    fn refused_names_have_a_share_of_the_pool() {
        let stand_ins = StandIns::new(|_| true).for_refused(|_| true);
        for n in 0..REFUSED {
            assert!(stand_ins.number(&name(&format!("n{n}.test")), true).is_some());
        }
        assert_eq!(stand_ins.number(&name("new.test"), true), None);
        assert!(stand_ins.number(&name("allowed.test"), false).is_some());
    }

    /// Nothing could be reached at them, if one ever were dialled.
    #[test]
    fn the_addresses_may_not_be_dialled() {
        for ip in [IpAddr::from(v4(1)), v6(1).into()] {
            assert!(!AddressClass::of(ip).is_global(), "{ip}");
        }
    }
}
