//! Two socket pairs and a tunnel between them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::{super::pipe, *};

/// With a day for everything.
fn activity() -> Activity {
    let day = Duration::from_secs(24 * 60 * 60);
    Activity::new(day, day)
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

const SIZE: usize = 24 << 20;

/// Far more than all socket buffers hold, both ways at once.
async fn bulk_both_ways() {
    let ((client, near), (far, server)) = (pair().await, pair().await);
    let traffic = std::sync::Arc::new(Traffic::default());
    let counted = std::sync::Arc::clone(&traffic);
    let tunnel = tokio::spawn(async move {
        let mut first = Leg::new(near);
        first.received.extend_from_slice(b"first");
        join(first, Leg::new(far), Watch::none(), &counted, &activity()).await
    });
    let transfer = |stream: TcpStream, seed: u8| async move {
        let (mut read, mut write) = stream.into_split();
        let sending = tokio::spawn(async move {
            let block: Vec<u8> = (0..SIZE).map(|at| (at / 251) as u8 ^ seed).collect();
            write.write_all(&block).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        sending.await.unwrap();
        received
    };
    let both = async { tokio::join!(transfer(client, 1), transfer(server, 2)) };
    let (down, up) = timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!((&up[..5], up.len(), down.len()), (&b"first"[..], SIZE + 5, SIZE));
    assert!(up[5..].iter().enumerate().all(|(at, byte)| *byte == (at / 251) as u8 ^ 1));
    assert!(down.iter().enumerate().all(|(at, byte)| *byte == (at / 251) as u8 ^ 2));
    tunnel.await.unwrap().unwrap();
    assert_eq!(traffic.up.load(Relaxed), SIZE as u64 + 5);
    assert_eq!(traffic.down.load(Relaxed), SIZE as u64);
}

#[tokio::test]
async fn bulk_data_both_ways_arrives_whole_and_most_of_it_is_spliced() {
    let before = pipe::tests::SPLICED.load(Relaxed);
    bulk_both_ways().await;
    let spliced = pipe::tests::SPLICED.load(Relaxed) - before;
    assert!(spliced > SIZE as u64, "{spliced} of {} bytes", 2 * SIZE);
}

/// A filter around awf-bpf itself, as container runtimes have them.
#[test]
fn where_splice_is_refused_bulk_data_is_copied() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    for errno in [libc::EPERM, libc::ENOSYS, libc::EINVAL] {
        let rules = [(libc::SYS_splice, Vec::new())].into();
        let refuse = SeccompAction::Errno(errno as u32);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
        let program = BpfProgram::try_from(filter).unwrap();
        let copying = std::thread::spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            let mut pipe = Pipe::take().unwrap();
            assert_eq!(pipe.fill(io::stdin()).unwrap_err().raw_os_error(), Some(errno));
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(bulk_both_ways());
        });
        copying.join().unwrap();
    }
}

/// After bulk data, too: it waits with nothing in its hands.
#[tokio::test]
async fn a_tunnel_that_waits_holds_no_pipe() {
    let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
    let _tunnel = tokio::spawn(async move {
        join(Leg::new(near), Leg::new(far), Watch::none(), &Traffic::default(), &activity()).await
    });
    let sending = tokio::spawn(async move {
        client.write_all(&vec![7; SIZE]).await.unwrap();
        client
    });
    server.read_exact(&mut vec![0; SIZE]).await.unwrap();
    let _client = sending.await.unwrap();
    let all_back = async {
        while pipe::tests::lent() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), all_back).await.expect("the pipe back, though the tunnel goes on");
}

/// A reader that has had enough: what waits in the pipe goes with the tunnel.
#[tokio::test]
async fn a_reset_in_the_middle_of_bulk_data_ends_the_tunnel() {
    let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
    let tunnel = tokio::spawn(async move {
        join(Leg::new(near), Leg::new(far), Watch::none(), &Traffic::default(), &activity()).await
    });
    let sending = tokio::spawn(async move { client.write_all(&vec![7; 8 * SIZE]).await });
    server.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    let ended = timeout(Duration::from_secs(20), tunnel).await.expect("an end in time").unwrap();
    assert!(ended.is_err());
    assert!(sending.await.unwrap().is_err());
}

/// After a half-close nobody reads from that side any more; its reset must end the tunnel all the same.
#[tokio::test]
async fn a_reset_after_half_close_is_seen() {
    let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
    let tunnel = tokio::spawn(async move {
        join(Leg::new(near), Leg::new(far), Watch::none(), &Traffic::default(), &activity()).await
    });
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    client.set_zero_linger().unwrap();
    drop(client);
    let ended = timeout(Duration::from_secs(20), tunnel).await.expect("an end in time").unwrap();
    assert!(ended.is_err());
    // The server has read the end already; what it learns of the reset it learns by writing.
    assert_eq!(server.write_all(b"too late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// 2 KiB a tunnel is the goal; the task's own state is the part of it that is ours.
#[tokio::test]
async fn an_idle_tunnel_is_small() {
    let ((_client, near), (far, _server)) = (pair().await, pair().await);
    let (traffic, activity) = (Traffic::default(), activity());
    let tunnel = join(Leg::new(near), Leg::new(far), Watch::none(), &traffic, &activity);
    assert!(size_of_val(&tunnel) < 2048, "{} bytes", size_of_val(&tunnel));
}
