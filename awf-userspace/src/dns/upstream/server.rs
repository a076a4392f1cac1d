//! [`Server`]: one configured name server, connected to when it is first asked.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{DnsRequestOptions, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use hickory_resolver::{
    NameServerPool, PoolContext, TlsConfig,
    config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts, ServerOrderingStrategy},
    net::{
        DnsError as AnswerError, NetError,
        runtime::TokioRuntimeProvider,
        xfer::{DnsHandle as _, FirstAnswer as _},
    },
};
use tokio::{sync::OnceCell, time::timeout};

use super::{
    super::answer,
    AskError, Found, Upstream,
    dial::{Dialer, Roots},
};
use crate::{
    policy::{Chosen, DomainName},
    resolve::{At, NameServer},
};

/// Queries at once on one TCP connection to a server.
const ACTIVE: usize = 256;
/// Most addresses of one server that are tried.
const ADDRESSES_MAX: usize = 4;

pub(super) struct Server {
    at: NameServer,
    /// The time it has for an answer, its connection included.
    share: Duration,
    roots: Roots,
    /// Where its own name is looked up, if it has one.
    finder: Option<Arc<Upstream>>,
    pool: OnceCell<NameServerPool<Dialer>>,
}

impl Server {
    pub(super) fn new(at: NameServer, share: Duration, roots: Roots, finder: Option<Arc<Upstream>>) -> Self {
        Self { at, share, roots, finder, pool: OnceCell::new() }
    }

    /// Asks one question, which is sent as it is: neither search domains nor aliases in the answer lead to another.
    pub(super) async fn ask(&self, name: &DomainName, kind: RecordType) -> Result<Found, AskError> {
        let asked = wire_name(name)?;
        let answer = timeout(self.share, async {
            let pool = self.pool.get_or_try_init(|| self.connect()).await?;
            let query = Query::query(asked.clone(), kind);
            Ok(pool.lookup(query, DnsRequestOptions::default()).first_answer().await)
        });
        match answer.await.unwrap_or_else(|_| Err(AskError::silent(self.says("does not answer"))))? {
            Ok(message) => read(&asked, kind, &message).map_err(|code| self.answered(code)),
            Err(NetError::Dns(AnswerError::NoRecordsFound(none))) => {
                let soa = none.soa.map(|soa| soa.into_record_of_rdata());
                negative(none.response_code, soa).map_err(|code| self.answered(code))
            }
            Err(e @ NetError::Dns(_)) => Err(AskError::failed(self.says(e))),
            Err(e) => Err(AskError::silent(self.says(e))),
        }
    }

    fn says(&self, what: impl fmt::Display) -> String {
        format!("the name server {}: {what}", self.at)
    }

    fn answered(&self, code: ResponseCode) -> AskError {
        AskError::failed(self.says(format_args!("answered {code}")))
    }

    async fn connect(&self) -> Result<NameServerPool<Dialer>, AskError> {
        let mut tls = TlsConfig::new().map_err(|e| AskError::failed(self.says(e)))?;
        if self.at.is_encrypted() {
            tls.config = self.roots.client().map_err(|why| AskError::failed(self.says(why)))?;
        }
        let context = Arc::new(PoolContext::new(options(self.share), tls));
        let servers: Vec<_> = self.configs().await?;
        Ok(NameServerPool::from_config(servers, context, Dialer(TokioRuntimeProvider::default())))
    }

    async fn configs(&self) -> Result<Vec<NameServerConfig>, AskError> {
        let plain = |at: &SocketAddr, ways: &[ConnectionConfig]| vec![config(at.ip(), at.port(), ways)];
        Ok(match &self.at {
            NameServer::Plain(at) => plain(at, &[ConnectionConfig::udp(), ConnectionConfig::tcp()]),
            NameServer::Udp(at) => plain(at, &[ConnectionConfig::udp()]),
            NameServer::Tcp(at) => plain(at, &[ConnectionConfig::tcp()]),
            NameServer::Tls { at, port, certificate } => {
                let way = ProtocolConfig::Tls { server_name: certificate.to_string().into() };
                self.encrypted(at, *port, way).await?
            }
            NameServer::Https { at, port, certificate, path } => {
                let server_name = certificate.to_string().into();
                self.encrypted(at, *port, ProtocolConfig::Https { server_name, path: path.as_str().into() })
                    .await?
            }
        })
    }

    async fn encrypted(
        &self,
        at: &At,
        port: u16,
        way: ProtocolConfig,
    ) -> Result<Vec<NameServerConfig>, AskError> {
        let addresses = match (at, &self.finder) {
            (At::Address(ip), _) => vec![*ip],
            (At::Name(name), Some(finder)) => {
                // Nobody of the command's chose this name.
                let chosen = Chosen { part: "", owner: name.as_str(), zone: None };
                let found = Box::pin(finder.resolve(name, chosen)).await;
                found.map_err(|e| AskError::silent(self.says(e)))?
            }
            (At::Name(_), None) => {
                return Err(AskError::failed(self.says("there is none to look up its own name")));
            }
        };
        let way = ConnectionConfig::new(way);
        Ok(addresses
            .into_iter()
            .take(ADDRESSES_MAX)
            .map(|ip| config(ip, port, std::slice::from_ref(&way)))
            .collect())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What an answer says of a question; the code of a failure.
pub(in crate::dns) fn read(asked: &Name, kind: RecordType, message: &Message) -> Result<Found, ResponseCode> {
    let records = answer::chain(asked, kind, &message.answers);
    if !records.is_empty() {
        return Ok(Found::Records(records));
    }
    let soa = message.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
    negative(message.response_code, soa.cloned())
}

fn negative(code: ResponseCode, soa: Option<hickory_proto::rr::Record>) -> Result<Found, ResponseCode> {
    match code {
        ResponseCode::NXDomain => Ok(Found::NoSuchName { soa }),
        ResponseCode::NoError => Ok(Found::NoData { soa }),
        code => Err(code),
    }
}

/// The name with its root label, so that nothing is appended to it.
pub(super) fn wire_name(name: &DomainName) -> Result<Name, AskError> {
    Name::from_labels(name.labels().map(str::as_bytes)).map_err(AskError::failed)
}

fn config(ip: IpAddr, port: u16, ways: &[ConnectionConfig]) -> NameServerConfig {
    let with_port = |way: &ConnectionConfig| {
        let mut way = way.clone();
        way.port = port;
        way
    };
    NameServerConfig::new(ip, true, ways.iter().map(with_port).collect())
}

fn options(share: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // Datagrams are sent again within this time.
    options.timeout = share;
    options.max_active_requests = ACTIVE;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options
}
