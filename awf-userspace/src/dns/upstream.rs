//! [`Upstream`]: asks the host's name servers, from the host's network, for names the policy allows.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError as AnswerError, NetError, runtime::TokioRuntimeProvider},
};
use tokio::time::timeout;

use super::{DnsError, answer};
use crate::{
    policy::DomainName,
    resolve::{Resolve, ResolveError},
};

/// From a question to its answer or failure, whatever the servers do.
const TOTAL: Duration = Duration::from_secs(5);
/// How long addresses of one family wait for the other's. RFC 8305, 3 has 50 ms, but there a late answer
/// still joins the race; here it is lost.
const GRACE: Duration = Duration::from_millis(300);
/// How long a silent first server is left in peace.
const STANDBY: Duration = Duration::from_secs(30);
/// Answers kept of one server.
const CACHE: u64 = 4096;
/// Queries at once on one TCP connection to a server.
const ACTIVE: usize = 256;

/// What the servers say of a name.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// CNAME chain and records of the type asked for, as they came.
    Records(Vec<Record>),
    /// The name is there, records of this type are not.
    NoData {
        soa: Option<Record>,
    },
    NoSuchName {
        soa: Option<Record>,
    },
}

/// The servers said nothing usable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct AskError {
    pub(super) why: String,
    /// No answer came, which says something of the server, not of the name.
    silent: bool,
}

impl AskError {
    fn new(why: impl ToString) -> Self {
        Self { why: why.to_string(), silent: false }
    }
}

/// The resolver for allowed names, with a cache. It reads no file, never uses the system's getaddrinfo(3),
/// and sends a name as it is, without search domains.
///
/// Servers are asked one after the other: a second one may know another world (the public DNS after a
/// company's own), so its "no such name" must not win a race. hickory's own pool gives a silent first server
/// the time of all of them, hence one resolver a server.
///
/// Its sockets are made when they are needed, in the network namespace of the thread that runs it.
#[derive(Debug)]
pub struct Upstream {
    servers: Vec<TokioResolver>,
    /// A server that answered when the first was silent, and until when it is asked first.
    standby: Mutex<Option<(usize, Instant)>>,
}

impl Upstream {
    /// Asks `servers`, the first first, the next only when it does not answer.
    ///
    /// # Errors
    /// When `servers` is empty or a resolver cannot be made.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, DnsError> {
        let error = |why: String| DnsError::Resolver { servers: servers.to_vec(), why };
        let share = u32::try_from(servers.len()).ok().and_then(|count| TOTAL.checked_div(count));
        let share = share.ok_or_else(|| error("there is no server".to_owned()))?;
        let resolver = |server: &SocketAddr| {
            let config = ResolverConfig::from_name_servers(vec![name_server(*server)]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options(share))
                .build()
                .map_err(|e| error(e.to_string()))
        };
        Ok(Self {
            servers: servers.iter().map(resolver).collect::<Result<_, _>>()?,
            standby: Mutex::default(),
        })
    }

    /// Asks for the records of one type.
    pub(super) async fn ask(&self, name: &DomainName, kind: RecordType) -> Result<Found, AskError> {
        let first = self.first();
        let mut silence = false;
        let mut failure = AskError::new("there is no server");
        for turn in 0..self.servers.len() {
            let index = (first + turn) % self.servers.len();
            match self.ask_server(index, name, kind).await {
                Ok(found) => {
                    if silence {
                        self.prefer(index);
                    }
                    return Ok(found);
                }
                Err(e) => {
                    silence |= e.silent;
                    failure = e;
                }
            }
        }
        Err(failure)
    }

    async fn ask_server(&self, index: usize, name: &DomainName, kind: RecordType) -> Result<Found, AskError> {
        let resolver = &self.servers[index];
        match timeout(resolver.options().timeout, resolver.lookup(wire_name(name)?, kind)).await {
            Ok(Ok(lookup)) => Ok(Found::Records(lookup.answers().to_vec())),
            Ok(Err(NetError::Dns(AnswerError::NoRecordsFound(none)))) => {
                let soa = none.soa.map(|soa| soa.into_record_of_rdata());
                match none.response_code {
                    ResponseCode::NXDomain => Ok(Found::NoSuchName { soa }),
                    ResponseCode::NoError => Ok(Found::NoData { soa }),
                    code => Err(AskError::new(format!("the name server answered {code}"))),
                }
            }
            Ok(Err(e @ NetError::Dns(_))) => Err(AskError::new(e)),
            Ok(Err(e)) => Err(AskError { why: e.to_string(), silent: true }),
            Err(_) => Err(AskError { why: "the name server does not answer".to_owned(), silent: true }),
        }
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
    async fn addresses(&self, name: &DomainName, kind: RecordType) -> Result<Vec<IpAddr>, ResolveError> {
        let failed = |why: String| ResolveError::Failed { name: name.clone(), why };
        match self.ask(name, kind).await.map_err(|e| failed(e.why))? {
            Found::Records(records) => {
                let wire = wire_name(name).map_err(|e| failed(e.why))?;
                Ok(answer::addresses(&answer::chain(&wire, kind, &records)).collect())
            }
            Found::NoData { .. } => Ok(Vec::new()),
            Found::NoSuchName { .. } => Err(ResolveError::NoSuchName(name.clone())),
        }
    }
}

impl Resolve for Upstream {
    async fn resolve(&self, name: &DomainName) -> Result<Vec<IpAddr>, ResolveError> {
        let (six, four) = both(
            self.addresses(name, RecordType::AAAA),
            self.addresses(name, RecordType::A),
            |found| matches!(found, Ok(addresses) if !addresses.is_empty()),
        )
        .await;
        let late = || Ok(Vec::new());
        match (six.unwrap_or_else(late), four.unwrap_or_else(late)) {
            (Ok(six), Ok(four)) if six.is_empty() && four.is_empty() => {
                Err(ResolveError::NoAddress(name.clone()))
            }
            (Ok(six), Ok(four)) => Ok(interleave(six, four)),
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            // Without an address the failure is what counts: the missing half might have had one.
            (Err(e @ ResolveError::Failed { .. }), _) | (_, Err(e)) | (Err(e), _) => Err(e),
        }
    }
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

/// The name with its root label, so that nothing is appended to it.
fn wire_name(name: &DomainName) -> Result<Name, AskError> {
    Name::from_labels(name.labels().map(str::as_bytes)).map_err(AskError::new)
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}

fn options(share: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // Datagrams are sent again within this time; no further attempts, so that it is the whole.
    options.timeout = share;
    options.attempts = 0;
    options.cache_size = CACHE;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = ACTIVE;
    options.positive_min_ttl = Some(Duration::from_secs(answer::TTL_MIN.into()));
    options.positive_max_ttl = Some(Duration::from_secs(answer::TTL_MAX.into()));
    options.negative_max_ttl = Some(Duration::from_secs(answer::NEGATIVE_TTL_MAX.into()));
    options
}
