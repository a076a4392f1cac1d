//! Serves HTTP/1 on a connection until it ends, or until a request turns it into a tunnel.

use std::{convert::Infallible, pin::pin, sync::Arc};

use hyper::{
    server::conn::http1::Builder,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    connection::{Link, Tunnel},
    distrust::stopped_and_heard,
    entry::Entry,
    exchange::Kept,
    flow::LARGE,
    forward::{After, Forward},
    gate::Gate,
    head::MAX_HEADERS,
    judge::Mode,
    paced::Paced,
    tunnel::{Leg, Watch},
    wire::Wire,
};
use crate::policy::Host;

/// What an HTTP connection turned into.
#[derive(Debug)]
pub(super) enum Next {
    Tunnel(Tunnel),
    /// As a tunnel, where one of the two is TLS that ends here.
    Relay {
        client: Leg<Wire>,
        upstream: Leg<Wire>,
        entry: Entry,
    },
    /// `upstream`: what leads to the host, unless that is not dialled yet.
    Connect {
        client: Leg,
        upstream: Option<TcpStream>,
        host: Host,
        port: u16,
        entry: Entry,
    },
}

/// Serves `client`. `entry`: the connection's own, recorded when it ends. `kept`: a server connection made before.
pub(super) async fn serve(
    link: &Link,
    client: Leg<Wire>,
    mode: Mode,
    entry: Entry,
    kept: Option<Kept>,
) -> Option<Next> {
    let limits = Arc::clone(&link.context.limits);
    let word = entry.first_word();
    let forward = Arc::new(Forward::new(link.clone(), mode, entry, kept));
    let finding = Arc::clone(forward.finding());
    let head = limits.head;
    let activity = Arc::clone(&link.activity);
    let gate = Gate::new(client.stream, client.received, limits, finding, activity, Arc::clone(&link.flow));
    let service = service_fn({
        let forward = Arc::clone(&forward);
        move |request| {
            let forward = Arc::clone(&forward);
            async move { Ok::<_, Infallible>(forward.handle(request).await) }
        }
    });
    let mut builder = Builder::new();
    // A command may close its side after the request, as `nc` does.
    builder
        .half_close(true)
        .preserve_header_case(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(LARGE.max(4 * head));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(gate), service).with_upgrades());
    let mut stop = link.stop.clone();
    let served = tokio::select! {
        served = &mut connection => served,
        () = stopped_and_heard(&mut stop, word.as_deref()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        log::debug!("HTTP connection: {error}");
    }
    forward.end().await;
    match forward.take_after()? {
        After::WebSocket { client, upstream, entry } => {
            let (client, upstream) = (client_leg(client).await?, server_leg(upstream).await?);
            Some(match (Leg::try_from(client), Leg::try_from(upstream)) {
                (Ok(client), Ok(upstream)) => {
                    Next::Tunnel(Tunnel { client, upstream, entry, watch: Watch::none() })
                }
                (client, upstream) => {
                    let again = |leg: Result<Leg, Leg<Wire>>| leg.map_or_else(|leg| leg, Leg::from);
                    Next::Relay { client: again(client), upstream: again(upstream), entry }
                }
            })
        }
        After::Connect { client, upstream, host, port, entry } => {
            // Only in clear is there a proxy to speak to.
            let client = Leg::try_from(client_leg(client).await?).ok()?;
            Some(Next::Connect { client, upstream, host, port, entry })
        }
    }
}

async fn client_leg(upgrade: OnUpgrade) -> Option<Leg<Wire>> {
    let parts = upgraded(upgrade).await?.downcast::<TokioIo<Gate<Wire>>>().ok()?;
    let (stream, rest) = parts.io.into_inner().into_parts();
    Some(joined(stream, &parts.read_buf, &rest))
}

pub(super) async fn server_leg(upgrade: OnUpgrade) -> Option<Leg<Wire>> {
    let parts = upgraded(upgrade).await?.downcast::<TokioIo<Paced>>().ok()?;
    Some(joined(parts.io.into_inner().into_inner(), &parts.read_buf, &[]))
}

async fn upgraded(upgrade: OnUpgrade) -> Option<Upgraded> {
    upgrade.await.inspect_err(|error| log::debug!("a tunnel that was not taken up: {error}")).ok()
}

fn joined(stream: Wire, first: &[u8], second: &[u8]) -> Leg<Wire> {
    let mut leg = Leg::new(stream);
    leg.received.extend_from_slice(first);
    leg.received.extend_from_slice(second);
    leg
}
