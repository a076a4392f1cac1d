//! Ends a refused connection that speaks neither TLS nor HTTP: in its own words where they are known, else by a
//! reset at once.

use std::io;

use bytes::Buf;
use tokio::{io::AsyncWriteExt, time::timeout};

use super::{
    Limits,
    deny::{self, Refusal},
    farewell::{ENCRYPTION_REQUEST, Farewell, Startup, startup},
    listen,
    tunnel::Leg,
};

/// Requests for encryption a PostgreSQL client makes before it starts: one for TLS, one for GSSAPI.
const MAX_REQUESTS: usize = 2;

/// Tells the client on `port` why, within [`Limits::linger`], and closes.
pub(super) async fn part(mut client: Leg, port: u16, refusal: &Refusal, limits: &Limits) {
    let Some(farewell) = Farewell::of(&client.received, port) else { return deny::reset(client.stream) };
    if farewell == Farewell::Postgres {
        match timeout(limits.linger, until_startup(&mut client)).await {
            Ok(Ok(true)) => {}
            _ => return deny::reset(client.stream),
        }
    }
    deny::finish(client.stream, &farewell.bytes(&refusal.text()), limits).await;
}

/// Declines encryption until the session starts; whether it does.
async fn until_startup(client: &mut Leg) -> io::Result<bool> {
    let mut requests = 0;
    loop {
        match startup(&client.received) {
            Startup::Session => return Ok(true),
            Startup::Encryption if requests < MAX_REQUESTS => {
                requests += 1;
                client.received.advance(ENCRYPTION_REQUEST);
                client.stream.write_all(b"N").await?;
            }
            Startup::Incomplete => {
                if !more(client).await? {
                    return Ok(false);
                }
            }
            Startup::Encryption | Startup::Cancel | Startup::Unknown => return Ok(false),
        }
    }
}

async fn more(client: &mut Leg) -> io::Result<bool> {
    loop {
        client.stream.readable().await?;
        if let Some(read) = listen::read(client)? {
            return Ok(read > 0);
        }
    }
}
