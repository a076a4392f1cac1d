//! Two socket pairs and a tunnel between them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

/// Far more than all socket buffers hold, both ways at once, read slowly at first.
#[tokio::test]
async fn bulk_data_both_ways_arrives_whole() {
    const SIZE: usize = 24 << 20;
    let ((client, near), (far, server)) = (pair().await, pair().await);
    let traffic = std::sync::Arc::new(Traffic::default());
    let counted = std::sync::Arc::clone(&traffic);
    let tunnel = tokio::spawn(async move {
        let mut first = Leg::new(near);
        first.received.extend_from_slice(b"first");
        join(first, Leg::new(far), &counted, &Activity::new()).await
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

/// After a half-close nobody reads from that side any more; its reset must end the tunnel all the same.
#[tokio::test]
async fn a_reset_after_half_close_is_seen() {
    let ((mut client, near), (far, mut server)) = (pair().await, pair().await);
    let tunnel = tokio::spawn(async move {
        join(Leg::new(near), Leg::new(far), &Traffic::default(), &Activity::new()).await
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
    let (traffic, activity) = (Traffic::default(), Activity::new());
    let tunnel = join(Leg::new(near), Leg::new(far), &traffic, &activity);
    assert!(size_of_val(&tunnel) < 2048, "{} bytes", size_of_val(&tunnel));
}
