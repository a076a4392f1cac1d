//! What the HTTP library gets to see, at every segmentation.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::flow::Shares;
use super::*;

fn gate(io: DuplexStream, limits: Limits) -> (Gate<DuplexStream>, Arc<OnceLock<Finding>>) {
    let finding = Arc::default();
    let activity = Arc::new(Activity::new(limits.idle, limits.lifetime));
    let flow = Arc::new(Flow::new(&Shares::new(&limits)));
    (Gate::new(io, BytesMut::new(), Arc::new(limits), Arc::clone(&finding), activity, flow), finding)
}

/// What comes through when `input` arrives in pieces of `size` bytes and then ends.
async fn through(input: &[u8], size: usize) -> (io::Result<Vec<u8>>, Option<Finding>, BytesMut) {
    let (mut client, server) = duplex(64);
    let input = input.to_vec();
    let writer = tokio::spawn(async move {
        for part in input.chunks(size) {
            if client.write_all(part).await.is_err() {
                return;
            }
        }
    });
    let (mut gate, finding) = gate(server, Limits::default());
    let mut passed = Vec::new();
    let result = gate.read_to_end(&mut passed).await.map(|_| passed);
    let (io, rest) = gate.into_parts();
    drop(io);
    writer.await.unwrap();
    (result, finding.get().copied(), rest)
}

const REQUESTS: &[u8] = b"POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello\
    POST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
    GET /3 HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[tokio::test]
async fn valid_requests_pass_unchanged_at_any_segmentation() {
    for size in 1..REQUESTS.len() {
        let (passed, finding, rest) = through(REQUESTS, size).await;
        assert_eq!(passed.unwrap(), REQUESTS, "pieces of {size}");
        assert_eq!((finding, rest.len()), (None, 0));
    }
}

/// The attack: a body that looks like a request must not be read as one, and a bad request behind a good one
/// must not pass because the first was good.
#[tokio::test]
async fn the_bad_head_never_passes_wherever_it_stands() {
    let smuggled = b"GET /evil HTTP/1.1\r\nHost: a.test\r\nHost: denied.test\r\n\r\n";
    for size in [1, 7, 4096] {
        let (passed, finding, _) = through(&[REQUESTS, smuggled].concat(), size).await;
        assert_eq!(passed.unwrap(), [REQUESTS, BAD_HEAD].concat());
        assert_eq!(finding, Some(Finding::Head(HeadError::Hosts)));
    }
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let head = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for size in [1, 4096] {
        let (passed, finding, _) = through(&[head.as_slice(), b"3\nabc\n0\n\n"].concat(), size).await;
        assert_eq!(passed.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(finding, Some(Finding::Body(ChunkError)));
    }
}

#[tokio::test]
async fn bytes_behind_a_tunnel_request_wait_for_its_answer() {
    let head = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    let (mut client, server) = duplex(4096);
    client.write_all(&[head.as_slice(), b"GET /evil HTTP/1.1\r\n\r\n"].concat()).await.unwrap();
    let (mut gate, _) = gate(server, Limits::default());
    let mut passed = vec![0; head.len()];
    gate.read_exact(&mut passed).await.unwrap();
    assert_eq!(passed, head);
    let more = tokio::select! {
        biased;
        read = gate.read_u8() => Some(read),
        () = std::future::ready(()) => None,
    };
    assert!(more.is_none(), "{more:?}");
    assert_eq!(&gate.into_parts().1[..], b"GET /evil HTTP/1.1\r\n\r\n");
}

#[tokio::test]
async fn a_slow_head_is_late_and_an_idle_connection_just_ends() {
    let limits = Limits {
        head_time: Duration::from_millis(20),
        keep_alive: Duration::from_millis(20),
        ..Limits::default()
    };
    let (mut client, server) = duplex(64);
    let (mut slow, finding) = gate(server, limits.clone());
    client.write_all(b"GET / HTTP/1.1\r\nX").await.unwrap();
    let mut passed = Vec::new();
    slow.read_to_end(&mut passed).await.unwrap();
    assert_eq!(passed, BAD_HEAD);
    assert_eq!(finding.get(), Some(&Finding::Late(Duration::from_millis(20))));

    let (_client, server) = duplex(64);
    let (mut idle, finding) = gate(server, limits);
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(finding.get(), None);
}
