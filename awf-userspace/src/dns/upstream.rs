//! [`Upstream`]: asks the host's name servers, from the host's network, for names the policy allows.

mod cache;
mod dial;
mod found;
mod https;
mod server;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::rr::RecordType;
use tokio::time::timeout;

#[cfg(any(test, awf_fuzz))]
pub(super) use self::server::read as read_answer;
use self::{
    cache::{Cache, Known},
    server::Server,
};
pub(super) use self::{
    dial::Roots,
    found::{AskError, Found},
};
use super::{
    answer,
    budget::{Budget, Exhausted},
    local,
};
use crate::{
    policy::{Chosen, DomainName, Reason},
    resolve::{NameServer, ResolveError},
};

/// From a question to its answer or failure, whatever the servers do.
const TOTAL: Duration = Duration::from_secs(5);
/// How long addresses of one family wait for the other's. RFC 8305, 3 has 50 ms, but there a late answer
/// still joins the race; here it is lost.
const GRACE: Duration = Duration::from_millis(300);
/// How long a silent first server is left in peace.
const STANDBY: Duration = Duration::from_secs(30);

/// How long a name that was told to somebody outside counts as known there.
const TOLD: Duration = Duration::from_secs(60);

/// The resolver for allowed names, with a cache. It reads no file, never uses the system's getaddrinfo(3),
/// and sends a name as it is, without search domains. What is asked is what was allowed: the target of an alias is a
/// name somebody else chose, and following it is the work of the server that was asked (RFC 1034, 5.3.1); one that
/// leaves it to us answers a chain without an end, and so no address.
///
/// Servers are asked one after the other: a second one may know another world (the public DNS after a
/// company's own), so its "no such name" must not win a race.
///
/// Its sockets are made when they are needed, in the network namespace of the thread that runs it; so are TLS and the
/// list of trusted certificates, which a run with plain servers does not wait for.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<Server>,
    cache: Cache,
    budget: Budget,
    /// A server that answered when the first was silent, and until when it is asked first.
    standby: Mutex<Option<(usize, Instant)>>,
    /// What to add where no server has an answer.
    remark: Option<String>,
}

/// One question for an allowed name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) name: &'a DomainName,
    pub(super) kind: RecordType,
    pub(super) chosen: Chosen<'a>,
}

impl Upstream {
    /// Asks `servers`, the first first, the next only when it does not answer. The names of servers are looked up at
    /// `finders`, in clear text. Without a server, or a finder where one is needed, asking fails.
    #[must_use]
    pub fn new(servers: &[NameServer], finders: &[SocketAddr]) -> Self {
        Self::with_roots(servers, finders, &Roots::Host)
    }

    /// Has `remark` added where no server has an answer: why they are those.
    #[must_use]
    pub fn with_remark(self, remark: Option<String>) -> Self {
        Self { remark, ..self }
    }

    pub(super) fn with_roots(servers: &[NameServer], finders: &[SocketAddr], roots: &Roots) -> Self {
        let share = TOTAL / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
        let needed = !finders.is_empty() && servers.iter().any(NameServer::needs_lookup);
        let finder = needed.then(|| {
            let finders: Vec<_> = finders.iter().copied().map(NameServer::Plain).collect();
            Arc::new(Self::with_roots(&finders, &[], roots))
        });
        let server = |at: &NameServer| Server::new(at.clone(), share, roots.clone(), finder.clone());
        Self {
            servers: servers.iter().map(server).collect(),
            cache: Cache::default(),
            budget: Budget::default(),
            standby: Mutex::default(),
            remark: None,
        }
    }

    /// The answer, if it is known without asking anybody.
    pub(super) fn known(&self, asked: &Asked<'_>) -> Option<Found> {
        let now = Instant::now();
        if local::is_never_asked(asked.name) {
            return Some(Found::NoSuchName { soa: None });
        }
        match self.cache.get(asked.name, asked.kind, now) {
            Known::Fresh(found) => Some(found),
            Known::Stale(found) if self.budget.is_short(&asked.chosen, now) => Some(found),
            Known::Stale(_) | Known::Nothing => None,
        }
    }

    /// Asks for the records of one type.
    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Result<Found, AskError> {
        if let Some(found) = self.known(asked) {
            return Ok(found);
        }
        let bill = self.budget.charge(&asked.chosen, Instant::now());
        let bill = bill.map_err(|e| AskError::Tunnelling(too_much(asked.name, &e)))?;
        let found = self.ask_servers(asked).await?;
        if matches!(found, Found::NoSuchName { .. }) {
            self.budget.charge_again(bill);
        }
        self.cache.put(asked.name, asked.kind, &found, Instant::now());
        Ok(found)
    }

    /// Charges a name that somebody else will look up; once in [`TOLD`], however often it is used.
    pub(super) fn tell(&self, name: &DomainName, chosen: &Chosen<'_>) -> Result<(), ResolveError> {
        let now = Instant::now();
        // No question has this type: it stands for the telling.
        if matches!(self.cache.get(name, RecordType::ANY, now), Known::Fresh(_)) {
            return Ok(());
        }
        self.budget.charge(chosen, now).map_err(|e| {
            let why = too_much(name, &e);
            ResolveError::Refused { reason: Reason::DnsTunnelling, why }
        })?;
        self.cache.put_for(name, RecordType::ANY, &Found::NoData { soa: None }, now, TOLD);
        Ok(())
    }

    async fn ask_servers(&self, asked: &Asked<'_>) -> Result<Found, AskError> {
        let first = self.first();
        let mut silence = false;
        let mut failure = AskError::failed("there is no name server to ask");
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            match self.servers[index].ask(asked.name, asked.kind).await {
                Ok(found) => {
                    if silence {
                        self.prefer(index);
                    }
                    return Ok(found);
                }
                Err(e) => {
                    silence |= e.is_silent();
                    failure = e;
                }
            }
        }
        Err(match &self.remark {
            Some(remark) => failure.with_remark(remark),
            None => failure,
        })
    }

    /// The server to begin with: the first, unless it was silent a moment ago.
    fn first(&self) -> usize {
        let standby = *self.standby.lock().unwrap_or_else(PoisonError::into_inner);
        standby.filter(|(_, until)| Instant::now() < *until).map_or(0, |(index, _)| index)
    }

    fn prefer(&self, index: usize) {
        let standby = (index > 0).then(|| (index, Instant::now() + STANDBY));
        *self.standby.lock().unwrap_or_else(PoisonError::into_inner) = standby;
    }

    /// The addresses of one family; an empty list is "no such records", an error "no such name" or failure.
    async fn addresses(&self, asked: Asked<'_>) -> Result<Vec<IpAddr>, ResolveError> {
        match self.ask(&asked).await {
            Ok(Found::Records(records)) => Ok(answer::addresses(&records).collect()),
            Ok(Found::NoData { .. }) => Ok(Vec::new()),
            Ok(Found::NoSuchName { .. }) => Err(ResolveError::NoSuchName(asked.name.clone())),
            Err(AskError::Failed { why, .. }) => Err(ResolveError::Failed { name: asked.name.clone(), why }),
            Err(AskError::Tunnelling(why)) => {
                Err(ResolveError::Refused { reason: Reason::DnsTunnelling, why })
            }
        }
    }

    /// The addresses of both families, in the order to try them.
    pub(super) async fn resolve(
        &self,
        name: &DomainName,
        chosen: Chosen<'_>,
    ) -> Result<Vec<IpAddr>, ResolveError> {
        let of = |kind| self.addresses(Asked { name, kind, chosen });
        let found = |found: &Result<Vec<_>, _>| matches!(found, Ok(addresses) if !addresses.is_empty());
        let (six, four) = both(of(RecordType::AAAA), of(RecordType::A), found).await;
        let late = || Ok(Vec::new());
        match (six.unwrap_or_else(late), four.unwrap_or_else(late)) {
            (Ok(six), Ok(four)) if six.is_empty() && four.is_empty() => {
                Err(ResolveError::NoAddress(name.clone()))
            }
            (Ok(six), Ok(four)) => Ok(interleave(six, four)),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            // Without an address the failure is what counts: the missing half might have had one.
            (Err(e @ (ResolveError::Failed { .. } | ResolveError::Refused { .. })), _)
            | (_, Err(e))
            | (Err(e), _) => Err(e),
        }
    }
}

fn too_much(name: &DomainName, Exhausted { domain }: &Exhausted) -> String {
    format!(
        "{name} is not looked up: the names asked for below {domain} carried more data than names of hosts do; it is \
         let through again bit by bit, and at once if a rule writes the whole name out"
    )
}

/// Runs both; once one has `enough`, the other gets [`GRACE`] and is then given up (`None`).
async fn both<T>(
    a: impl Future<Output = T>,
    b: impl Future<Output = T>,
    enough: impl Fn(&T) -> bool,
) -> (Option<T>, Option<T>) {
    tokio::pin!(a, b);
    tokio::select! {
        first = &mut a => {
            let limit = if enough(&first) { GRACE } else { TOTAL };
            (Some(first), timeout(limit, b).await.ok())
        }
        first = &mut b => {
            let limit = if enough(&first) { GRACE } else { TOTAL };
            (timeout(limit, a).await.ok(), Some(first))
        }
    }
}

/// One of each family in turn, IPv6 first (RFC 8305, 4).
fn interleave(six: Vec<IpAddr>, four: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut mixed = Vec::with_capacity(six.len() + four.len());
    loop {
        let before = mixed.len();
        mixed.extend(six.next());
        mixed.extend(four.next());
        if mixed.len() == before {
            return mixed;
        }
    }
}
