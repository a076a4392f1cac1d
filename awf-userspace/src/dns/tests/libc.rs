//! The questions of C libraries, as they send them; and floods of them.

use std::time::Duration;

use tokio::net::UdpSocket;

use super::{super::Limits, lab::*, *};

/// musl (src/network/res_msend.c): A and AAAA at once from one socket, no EDNS, and the search list (res_search in
/// src/network/lookup_name.c) name by name until one exists.
#[tokio::test]
async fn musl_asks_both_families_at_once_and_walks_its_search_list() {
    let lab = Lab::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 512];
    for (name, code) in [
        ("ok.corp.test.", ResponseCode::NXDomain),
        ("ok.evil.test.", ResponseCode::NXDomain),
        ("ok.up.test.", ResponseCode::NoError),
    ] {
        for (id, kind) in [(0x1111_u16, RecordType::A), (0x2222, RecordType::AAAA)] {
            let mut query = question(name, kind, None);
            query[..2].copy_from_slice(&id.to_be_bytes());
            socket.send_to(&query, lab.udp[0]).await.unwrap();
        }
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!((from, answer.metadata.response_code), (lab.udp[0], code), "{name}");
            assert_eq!(answer.answers.is_empty(), code == ResponseCode::NXDomain);
            ids.push(answer.metadata.id);
        }
        ids.sort_unstable();
        assert_eq!(ids, [0x1111, 0x2222]);
    }
    let mut asked = lab.server.asked();
    asked.sort();
    assert_eq!(asked, ["ok.up.test. A", "ok.up.test. AAAA"], "what the search list made up did not leave");
}

/// glibc with `options single-request-reopen` or over TCP (`use-vc`): one after the other on one connection, and both
/// written before the first answer is read.
#[tokio::test]
async fn two_questions_in_one_write_are_both_answered() {
    let lab = Lab::start().await;
    let mut stream = lab.connect().await;
    let framed = |kind| {
        let query = question("ok.up.test.", kind, None);
        [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat()
    };
    let both = [framed(RecordType::A), framed(RecordType::AAAA)].concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &both).await.unwrap();
    for expected in [2, 3] {
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), expected);
    }
}

/// 10,000 refused questions and their like: few records, none lost, and nobody else has to wait.
#[tokio::test]
async fn a_flood_of_refused_questions_is_counted() {
    let lab = Lab::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(lab.udp[0]).await.unwrap();
    let mut buffer = [0; 512];
    for n in 0..10_000 {
        let name = if n % 2 == 0 { "evil.test.".to_owned() } else { format!("n{n}.evil.test.") };
        socket.send(&question(&name, RecordType::A, None)).await.unwrap();
        socket.recv(&mut buffer).await.unwrap();
    }
    lab.stub.note_repeats(true);
    assert_eq!(lab.counted(), 10_000);
    let notes = lab.notes.all.lock().unwrap().len();
    assert!(notes < 4_000, "{notes} records");
    assert_eq!(lab.server.asked(), [""; 0]);
}

/// Clients that begin a message and do not end it, or never read their answers, hold a place for a time and no longer.
#[tokio::test]
async fn slow_writers_and_clients_that_never_read_are_let_go() {
    let limits = Limits { connections: 8, idle: Duration::from_millis(300), ..Limits::default() };
    let lab = Lab::with(&["up.test"], true, limits).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = lab.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[0, 40, 1]).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..4 {
        let mut stream = lab.connect().await;
        let query = question("big.up.test.", RecordType::A, None);
        let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat();
        // Until the answers fill both buffers, and then the questions.
        let fill = async { while tokio::io::AsyncWriteExt::write_all(&mut stream, &framed).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(20), fill).await.expect("the connection is cut");
        slow.push(stream);
    }
    for mut stream in slow.drain(..4) {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    assert!(ask_tcp(&mut lab.connect().await, &question("ok.up.test.", RecordType::A, None)).await.is_some());
}
