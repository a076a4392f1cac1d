//! TLS that ends here: with the command in the name of the server it dialled, with that server in the command's stead.
//! Inside, HTTP is judged request by request.

use std::{fmt, io, net::IpAddr, sync::Arc, time::Duration};

use rustls::{
    Error, ServerConfig,
    crypto::ring,
    server::{Acceptor, NoServerSessionStorage, ResolvesServerCertUsingSni},
    sign::SingleCertAndKey,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::SemaphorePermit, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    Owner,
    connection::{Link, Tunnel, h2c, http},
    context::{Route, denied},
    deny::Refusal,
    distrust::{self, FirstWord, Unheard},
    entry::Entry,
    exchange::Kept,
    judge::Mode,
    measured::{Crowded, Measured},
    multiplex::Upstreams,
    offer::{offered, told, within_bounds},
    relay,
    replay::Replay,
    secure::{Alpn, Secure, Towards},
    sniff::{Sniff, sniff},
    tunnel::Leg,
    wire::Wire,
};
use crate::{
    audit::Decision,
    ca::Leaves,
    policy::{Denied, DomainName, Host, Protocol, Reason, host_ports::is_local},
};

/// Which TLS ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is refused, so that the command reads why.
    Refused,
    /// What is allowed, too.
    All,
}

/// What the command dialled inside of which its TLS is: who we are there, and the address if it dialled one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) at: Option<IpAddr>,
}

impl Place {
    /// Of TLS that names `sni`, inside a CONNECT to `host` on `port`.
    pub(super) fn inside(sni: Option<&str>, host: &Host, port: u16) -> Self {
        let called = sni.and_then(|name| DomainName::parse(name).ok());
        let at = if let Host::Ip(ip) = host { Some(*ip) } else { None };
        Self { host: called.map_or_else(|| host.clone(), Host::Name), port, at }
    }
}

type Spared = dyn Fn(&Host, u16) -> bool + Send + Sync;
type Met = dyn Fn(&Owner) + Send + Sync;

/// What it takes to intercept.
pub struct Interception {
    scope: Scope,
    leaves: Arc<Leaves>,
    secure: Arc<Secure>,
    /// Of every connection, but for its certificate and protocols.
    config: ServerConfig,
    spared: Box<Spared>,
    met: Option<Box<Met>>,
}

impl fmt::Debug for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interception").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Interception {
    /// In the names that `leaves` has certificates for, to servers as `secure` says; allowed hosts that are `spared`
    /// are passed through, unless only certain URLs of them are allowed.
    ///
    /// # Errors
    /// When the TLS library has no protocol or no random numbers.
    pub fn new(
        scope: Scope,
        leaves: Arc<Leaves>,
        secure: Arc<Secure>,
        spared: impl Fn(&Host, u16) -> bool + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        // A session is the client's to keep: no number of them costs us memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new()?;
        Ok(Self { scope, leaves, secure, config, spared: Box::new(spared), met: None })
    }

    /// Whoever is about to be shown a certificate is `met`, while it waits for that.
    #[must_use]
    pub fn meeting(self, met: impl Fn(&Owner) + Send + Sync + 'static) -> Self {
        Self { met: Some(Box::new(met)), ..self }
    }

    /// Whether what was refused at `place` is looked into, or allowed and `dialled`. Any name can be said to an address
    /// that is allowed as such: to be spared by it takes an address that was `given` for it. `must`: whatever is spared.
    pub(super) fn covers(
        &self,
        place: &Place,
        dialled: Result<&Host, &Refusal>,
        must: bool,
        given: impl Fn(IpAddr) -> Vec<DomainName>,
    ) -> bool {
        let leads = |at: &Host, ip: IpAddr, name: &DomainName| {
            is_local(at) && is_local(&place.host) || (self.spared)(at, place.port) || given(ip).contains(name)
        };
        match (dialled, &place.host) {
            (Err(refusal), _) if refusal.decision == Decision::Deny => true,
            (Ok(at @ Host::Ip(ip)), Host::Name(name)) if !leads(at, *ip, name) => self.is_of_all(),
            _ => self.takes(place, must),
        }
    }

    /// Whether what is allowed at `place` is looked into. `must`: whatever is spared.
    pub(super) fn takes(&self, place: &Place, must: bool) -> bool {
        self.is_of_all() && (must || !(self.spared)(&place.host, place.port))
    }

    pub(super) fn is_of_all(&self) -> bool {
        self.scope == Scope::All
    }

    /// As `host`, speaking `alpn`.
    fn config(&self, host: &Host, alpn: &[&[u8]]) -> Result<ServerConfig, String> {
        let leaf = self.leaves.get(host).map_err(|e| e.to_string())?;
        let mut config = self.config.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(leaf));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

/// Serves `client`, whose ClientHello is held and was judged: in `place`, towards what was `opened`.
pub(super) async fn serve(
    link: &Link,
    client: Leg,
    place: Place,
    opened: Result<(Route, TcpStream), Refusal>,
    entry: Entry,
) -> Option<Tunnel> {
    // What it takes to get there is freed before the conversation, in which a connection spends its life.
    let shaken = Box::pin(shake_hands(link, client, place, opened, entry)).await?;
    let Shaken { link, client, mode, server, spoken, room, entry } = shaken;
    match (server, spoken) {
        (Some(server), None) => Box::pin(unnamed(&link, client, mode, server, entry)).await,
        (server, spoken) => {
            let spoken = spoken.unwrap_or(Alpn::Http1);
            inside(&link, client, mode, server, (spoken, room), entry).await
        }
    }
}

/// What both handshakes came to.
struct Shaken<'a> {
    link: Link,
    client: Leg<Wire>,
    mode: Mode,
    server: Option<(Route, Wire)>,
    /// `None`: any protocol may be, and none was named.
    spoken: Option<Alpn>,
    /// For HTTP/2.
    room: Option<SemaphorePermit<'a>>,
    entry: Entry,
}

/// Both handshakes; `None` when there is nothing to serve.
async fn shake_hands(
    link: &Link,
    client: Leg,
    place: Place,
    opened: Result<(Route, TcpStream), Refusal>,
    mut entry: Entry,
) -> Option<Shaken<'_>> {
    let interception = link.context.interception.clone()?;
    if let (Some(met), Some(owner)) = (&interception.met, &link.peer.owner) {
        met(owner);
    }
    let time = link.context.limits.head_time;
    let client = Replay::new(client, Arc::clone(&link.activity));
    let client = Measured::new(client, &link.context.shares);
    let hello = match timeout(time, LazyConfigAcceptor::new(Acceptor::default(), client)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return broken(&error, opened.as_ref().err(), entry),
        Err(_) => return late(time, opened.as_ref().err(), entry),
    };
    let at = place.at;
    let other = entry.rules.decide(Some(&place.host), at, place.port, Protocol::Other).err();
    let any = other.is_none();
    let (offered, foreign) = match offered(hello.client_hello().alpn()) {
        Some(offered) => (offered, None),
        // Another protocol's: where that may be spoken it is without its name, elsewhere the handshake fails.
        None if any => (Alpn::None, None),
        None => (Alpn::Http1, other),
    };
    let (offered, room) = within_bounds(link, offered);
    let (server, spoken, shaken) = meet(link, &interception, &place, (hello, offered), opened).await;
    let (server, refusal) = match server {
        Ok((route, wire, _)) => (Some((route, wire)), None),
        Err(refusal) => (None, Some(refusal.under(entry.record.rule.as_deref()))),
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err(Unshaken::Broken(error)) => match foreign {
            Some(foreign) => {
                entry.deny(&foreign);
                return None;
            }
            None => return distrusted(&error, refusal.as_ref(), entry),
        },
        Err(Unshaken::Late) => return late(time, refusal.as_ref(), entry),
        Err(Unshaken::Leaf(why)) => {
            Refusal::unreachable(Reason::ConnectFailed, why).note(&mut entry);
            return None;
        }
    };
    let towards = Towards { secure: Arc::clone(&interception.secure), host: place.host.clone() };
    let link = Link { secure: Some(Arc::new(towards)), ..link.clone() };
    let word = Arc::<FirstWord>::default();
    entry.unheard = Some(Box::new(Unheard { word: Arc::clone(&word), refusal: refusal.clone() }));
    let mode = Mode::Secure { place, refusal };
    let client = Leg::new(Wire::served(stream, word));
    let unnamed = any && offered == Alpn::None && server.as_ref().is_some_and(|(route, _)| !route.urls);
    Some(Shaken { link, client, mode, server, spoken: (!unnamed).then_some(spoken), room, entry })
}

/// The command's socket, beneath its TLS.
type Client = Measured<Replay<TcpStream>>;

/// Why the handshake with the command came to nothing.
enum Unshaken {
    /// There is no certificate to show.
    Leaf(String),
    Broken(io::Error),
    Late,
}

/// Both handshakes: with the server, and with the command, who is told what that speaks.
async fn meet(
    link: &Link,
    interception: &Interception,
    place: &Place,
    (hello, offered): (StartHandshake<Client>, Alpn),
    opened: Result<(Route, TcpStream), Refusal>,
) -> (Result<(Route, Wire, Alpn), Refusal>, Alpn, Result<TlsStream<Client>, Unshaken>) {
    let time = link.context.limits.head_time;
    let (host, port) = (&place.host, place.port);
    let secure = &*interception.secure;
    let foreseen = opened.is_ok().then(|| secure.foresight().of(host, port, offered)).flatten();
    let reach = async {
        let (route, stream) = opened?;
        let reached = match foreseen {
            Some(spoken) => secure.as_foreseen(&link.context, stream, (host, port), offered, spoken).await,
            None => secure.on(&link.context, stream, (host, port), offered).await,
        };
        reached.map(|(wire, spoken)| (route, wire, spoken))
    };
    let shake = async |spoken| {
        let config = interception.config(host, told(offered, spoken)).map_err(Unshaken::Leaf)?;
        let stream = timeout(time, hello.into_stream(Arc::new(config))).await.map_err(|_| Unshaken::Late)?;
        stream.map_err(Unshaken::Broken)
    };
    match foreseen {
        Some(spoken) => {
            let (server, shaken) = tokio::join!(reach, shake(spoken));
            (server, spoken, shaken)
        }
        None => {
            let server = reach.await;
            // What the server speaks is what the command gets: nothing is translated.
            let spoken = match &server {
                Ok((_, _, spoken)) => *spoken,
                Err(_) if offered == Alpn::Http2 => Alpn::Http2,
                Err(_) => Alpn::Http1,
            };
            (server, spoken, shake(spoken).await)
        }
    }
}

/// Any protocol, inside TLS that does not say which: HTTP is judged like all of it, the rest passed on.
async fn unnamed(
    link: &Link,
    mut client: Leg<Wire>,
    mode: Mode,
    (route, server): (Route, Wire),
    mut entry: Entry,
) -> Option<Tunnel> {
    let mut server = Leg::new(server);
    let mut ended = false;
    while server.received.is_empty() && !ended && sniff(&client.received) == Sniff::Incomplete {
        let read = tokio::select! {
            read = client.stream.read_buf(&mut client.received) => read,
            read = server.stream.read_buf(&mut server.received) => read,
            reason = link.activity.expired(Duration::ZERO) => {
                entry.fail(reason);
                return None;
            }
        };
        ended = read.ok()? == 0;
    }
    let spoken = match sniff(&client.received) {
        Sniff::Http1 => Alpn::Http1,
        Sniff::Http2 => Alpn::Http2,
        _ => {
            relay::join(link, client, server, entry).await;
            return None;
        }
    };
    inside(link, client, mode, Some((route, server.stream)), (spoken, None), entry).await
}

/// HTTP inside the TLS.
async fn inside(
    link: &Link,
    client: Leg<Wire>,
    mode: Mode,
    server: Option<(Route, Wire)>,
    (spoken, room): (Alpn, Option<SemaphorePermit<'_>>),
    mut entry: Entry,
) -> Option<Tunnel> {
    if spoken == Alpn::Http2 {
        let on = |(route, wire): (Route, Wire)| Upstreams::on(wire, route.dial, route.port, &entry);
        let upstreams = server.map(on).unwrap_or_default();
        return h2c(link, client, mode, entry, (upstreams, room)).await;
    }
    drop(room);
    let kept = match server {
        Some((route, wire)) => match Kept::on(link, wire, route.dial, route.port).await {
            Ok(kept) => Some(kept),
            Err(refusal) => {
                refusal.note(&mut entry);
                return None;
            }
        },
        None => None,
    };
    http(link, client, mode, entry, kept).await
}

/// The command did not shake hands.
fn broken(error: &io::Error, refusal: Option<&Refusal>, entry: Entry) -> Option<Shaken<'static>> {
    let reason = if Crowded::is(error) { Reason::LimitExceeded } else { Reason::Malformed };
    unshaken(denied(reason, format!("the TLS handshake: {error}")), refusal, entry)
}

fn late(time: Duration, refusal: Option<&Refusal>, entry: Entry) -> Option<Shaken<'static>> {
    let message = format!("the TLS handshake was not done within {time:?}");
    unshaken(denied(Reason::HeadTimeout, message), refusal, entry)
}

/// What the policy said of its host counts for more.
fn unshaken(denied: Denied, refusal: Option<&Refusal>, mut entry: Entry) -> Option<Shaken<'static>> {
    match refusal.filter(|refusal| refusal.decision == Decision::Deny) {
        Some(refusal) => refusal.note(&mut entry),
        None => entry.deny(&denied),
    }
    None
}

/// The command did not take our certificate, or broke off.
fn distrusted(error: &io::Error, refusal: Option<&Refusal>, mut entry: Entry) -> Option<Shaken<'static>> {
    match distrust::parting(error) {
        Some(how) => distrust::note(how, false, refusal, &mut entry),
        None => return broken(error, refusal, entry),
    }
    None
}
