//! Proves, before CMD runs, that a connection of its network reaches this proxy with its origin: `__init` dials two
//! addresses that are nobody's, and is answered here with a nonce.

use std::{net::SocketAddr, os::fd::AsFd as _, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::timeout};

use super::error::SessionError;
use crate::{jail::SelfTest, proxy::OriginalDst};

/// 192.0.2.0/24 (RFC 5737) and 100::/64 (RFC 6666) lead nowhere: were the programs not there, nobody would be
/// reached.
const ADDRESSES: [&str; 2] = ["192.0.2.1:9", "[100::1]:9"];
/// Longer than `__init`'s own deadline, so that the better message wins.
const PATIENCE: Duration = Duration::from_secs(5);

/// A self-test with a fresh nonce, of as many families as the proxy listens on.
///
/// # Errors
///
/// When the kernel has no random bytes.
pub(super) fn new(families: usize) -> Result<SelfTest, SessionError> {
    let mut nonce = vec![0; 16];
    rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| SessionError::SelfTest(format!("random bytes: {e}")))?;
    let addresses = ADDRESSES
        .iter()
        .take(families)
        .map(|text| text.parse::<SocketAddr>().map_err(|e| SessionError::SelfTest(format!("{text}: {e}"))));
    Ok(SelfTest { addresses: addresses.collect::<Result<_, _>>()?, nonce })
}

/// Answers the test's connections, one on each listener; they are the first there can be.
///
/// # Errors
///
/// When one does not come in time, or has another origin than was dialled.
pub(super) async fn answer(
    listeners: &[TcpListener],
    origins: &impl OriginalDst,
    test: &SelfTest,
) -> Result<(), SessionError> {
    for (listener, dialled) in listeners.iter().zip(test.addresses.iter().copied()) {
        let failed = |why: String| SessionError::SelfTest(format!("{dialled}: {why}"));
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let (mut stream, _) = accepted
            .map_err(|_| failed(format!("no connection within {PATIENCE:?}")))?
            .map_err(|e| failed(format!("accept: {e}")))?;
        match origins.origin(stream.as_fd()) {
            Some(origin) if origin.dst == dialled => {}
            Some(origin) => return Err(failed(format!("the kernel says it was going to {}", origin.dst))),
            None => return Err(failed("the kernel does not know where it was going".into())),
        }
        stream.write_all(&test.nonce).await.map_err(|e| failed(format!("answering: {e}")))?;
    }
    Ok(())
}
