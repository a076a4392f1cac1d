//! The proof, made by a process that is where CMD will be, that connections arrive at this run's proxy.
//!
//! Loaded programs prove nothing: one attached to the wrong cgroup, or replaced by another program's verdict, lets
//! everything out. The addresses dialled are ones nobody else may answer (the caller takes documentation addresses).

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::JailError;
use super::spec::SelfTest;

/// For connection and answer together, per address.
const DEADLINE: Duration = Duration::from_secs(2);

/// Connects to each address; each must answer with the nonce and keep its name.
///
/// # Errors
/// Names the address, and what came of it.
pub fn run(test: &SelfTest) -> Result<(), JailError> {
    test.addresses.iter().try_for_each(|address| probe(*address, &test.nonce))
}

fn probe(dialled: SocketAddr, nonce: &[u8]) -> Result<(), JailError> {
    let fail = |source| JailError::SelfTest { dialled, source };
    let mut stream = TcpStream::connect_timeout(&dialled, DEADLINE).map_err(fail)?;
    let peer = stream.peer_addr().map_err(fail)?;
    if peer != dialled {
        return Err(JailError::SelfTestPeer { dialled, peer });
    }
    let answer = read_within(&mut stream, nonce.len(), Instant::now() + DEADLINE).map_err(fail)?;
    // An empty nonce would be matched by anybody.
    if nonce.is_empty() || answer != nonce {
        return Err(JailError::SelfTestAnswer { dialled });
    }
    Ok(())
}

fn read_within(stream: &mut TcpStream, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => filled += got,
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answered(listen: &str, answer: &'static [u8], nonce: &[u8]) -> Result<(), JailError> {
        let listener = TcpListener::bind(listen).unwrap();
        let dialled = listener.local_addr().unwrap();
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(answer).unwrap());
        let result = probe(dialled, nonce);
        server.join().unwrap();
        result
    }

    #[test]
    fn the_nonce_is_accepted() {
        answered("127.0.0.1:0", b"right", b"right").unwrap();
        answered("[::1]:0", b"right", b"right").unwrap();
    }

    #[test]
    fn anything_else_is_not() {
        assert!(matches!(answered("127.0.0.1:0", b"wrong", b"right"), Err(JailError::SelfTestAnswer { .. })));
        assert!(matches!(answered("127.0.0.1:0", b"rig", b"right"), Err(JailError::SelfTest { .. })));
        assert!(matches!(answered("127.0.0.1:0", b"", b""), Err(JailError::SelfTestAnswer { .. })));
    }

    #[test]
    fn nobody_there_is_an_error() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(probe(free, b"x"), Err(JailError::SelfTest { .. })));
    }
}
