//! Proves, before CMD runs, that a connection of its network reaches this proxy with its origin: `__init` dials two
//! addresses that are nobody's, and is answered here with a nonce.

use std::{net::SocketAddr, os::fd::AsFd as _, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, timeout_at},
};

use super::error::SessionError;
use crate::{jail::SelfTest, launch::SETUP_LIMIT, proxy::OriginalDst};

/// 192.0.2.0/24 (RFC 5737) and 100::/64 (RFC 6666) lead nowhere: were the programs not there, nobody would be
/// reached.
const ADDRESSES: [&str; 2] = ["192.0.2.1:9", "[100::1]:9"];
/// Longer than all of `__init`'s work may take, so that the better message wins.
const PATIENCE: Duration = SETUP_LIMIT.saturating_add(Duration::from_secs(5));

/// How many connections wait for the end of the test.
const EARLY: usize = 1024;

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

/// What becomes of connections of the command that are not the test's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// It has not run yet: there is something wrong.
    Fail,
    /// It runs: they wait.
    Wait,
}

/// Answers the test's connections, one on each listener, and gives those that came in between. Where the network is shared somebody else may connect first:
/// what the programs know nothing of is closed, and does not keep the test from passing.
///
/// # Errors
///
/// When one does not come in time, or has another origin than was dialled.
pub(super) async fn answer(
    listeners: &[TcpListener],
    origins: &impl OriginalDst,
    test: &SelfTest,
    others: Others,
) -> Result<Vec<TcpStream>, SessionError> {
    let mut early = Vec::new();
    for (listener, dialled) in listeners.iter().zip(test.addresses.iter().copied()) {
        let failed = |why: String| SessionError::SelfTest(format!("{dialled}: {why}"));
        let mut strangers = 0_usize;
        let deadline = Instant::now() + PATIENCE;
        let (mut stream, origin) = loop {
            let accepted = timeout_at(deadline, listener.accept()).await;
            let late = |_| failed(format!("not within {PATIENCE:?} ({strangers} without an origin)"));
            let (stream, _) = accepted.map_err(late)?.map_err(|e| failed(format!("accept: {e}")))?;
            match origins.origin(stream.as_fd()) {
                Some(origin) if others == Others::Wait && origin.dst != dialled => {
                    // More than are ever on their way: who makes so many may make them again.
                    if early.len() < EARLY {
                        early.push(stream);
                    }
                }
                Some(origin) => break (stream, origin),
                None => strangers += 1,
            }
        };
        if origin.dst != dialled {
            return Err(failed(format!("the kernel says it was going to {}", origin.dst)));
        }
        stream.write_all(&test.nonce).await.map_err(|e| failed(format!("answering: {e}")))?;
    }
    Ok(early)
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::BorrowedFd,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::{
        audit::ProcessInfo,
        proxy::{Origin, Owner},
    };

    /// Knows nothing of the first connections it is asked about.
    struct After(AtomicUsize, SocketAddr);

    impl OriginalDst for After {
        fn origin(&self, _: BorrowedFd<'_>) -> Option<Origin> {
            let owner = Owner { cookie: 1, tgid: 1, uid: 1, comm: [0; 16] };
            let known =
                self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_err();
            known.then_some(Origin { dst: self.1, owner })
        }

        fn process(&self, _: &Owner) -> ProcessInfo {
            ProcessInfo::default()
        }
    }

    async fn with(strangers: usize, dst: &str) -> Result<(), SessionError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let test = new(1).unwrap();
        let nonce = test.nonce.clone();
        let dials = tokio::spawn(async move {
            for _ in 0..strangers {
                let mut stranger = TcpStream::connect(at).await.unwrap();
                assert_eq!(stranger.read(&mut [0]).await.unwrap_or(0), 0, "a stranger is told nothing");
            }
            let mut answer = vec![0; nonce.len()];
            let mut last = TcpStream::connect(at).await.unwrap();
            last.read_exact(&mut answer).await.is_ok() && answer == nonce
        });
        let origins = After(strangers.into(), dst.parse().unwrap());
        answer(&[listener], &origins, &test, Others::Fail).await?;
        assert!(dials.await.unwrap());
        Ok(())
    }

    #[tokio::test]
    async fn strangers_do_not_keep_the_test_from_passing() {
        with(0, ADDRESSES[0]).await.unwrap();
        with(3, ADDRESSES[0]).await.unwrap();
    }

    #[tokio::test]
    async fn another_origin_is_a_failure() {
        assert!(matches!(with(0, "192.0.2.9:9").await, Err(SessionError::SelfTest(_))));
    }
}
