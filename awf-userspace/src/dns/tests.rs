//! The stub over real sockets, in front of a real name server.

mod answers;
mod encrypted;
mod lab;
mod libc;
mod records;
mod refuse;

use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use tokio::io::AsyncReadExt;

use self::lab::*;
use super::*;
use crate::{
    audit::Decision,
    policy::DomainName,
    resolve::{Resolve as _, ResolveError},
};

#[tokio::test]
async fn allowed_names_are_answered_over_udp_and_tcp_and_both_families() {
    let lab = Lab::start().await;
    let query = question("oK.uP.tEst.", RecordType::AAAA, Some(1232));
    let expected = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];
    let mut stream = lab.connect().await;
    for answer in [
        lab.send(lab.udp[0], &query).await,
        lab.send(lab.udp[1], &query).await,
        ask_tcp(&mut stream, &query).await.unwrap(),
        ask_tcp(&mut stream, &query).await.unwrap(),
    ] {
        assert_eq!(answer[..2], query[..2], "the id");
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(
            (answer.metadata.response_code, data(&answer)),
            (ResponseCode::NoError, expected.map(String::from).into())
        );
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert_eq!(answer.queries[0].name().to_string(), "oK.uP.tEst.", "the case of the question is kept");
        assert!(answer.edns.is_some());
    }
    let answer = lab.ask("ok.up.test.", RecordType::A).await;
    assert_eq!(data(&answer), ["198.51.100.1", "198.51.100.2"]);
    assert_eq!(answer.answers[0].ttl, 300, "a long time to live is cut");
    assert_eq!(
        lab.server.asked().len(),
        2,
        "one question for each type, then the cache: {:?}",
        lab.server.asked()
    );

    lab.stub.note_repeats(true);
    assert_eq!(lab.counted(), 5);
    let notes = lab.notes.all.lock().unwrap();
    let families: Vec<_> = notes.iter().map(|note| note.family.unwrap()).collect();
    assert_eq!(families, [4, 6, 4, 4, 4], "UDP, UDP over IPv6, TCP, the other type, TCP again");
    let note = &notes[3];
    assert_eq!((note.decision, note.host.as_deref()), (Decision::Allow, Some("ok.up.test")));
    assert_eq!(
        (note.method.as_deref(), note.rule.as_deref(), note.status),
        (Some("A"), Some("up.test"), Some(0))
    );
    assert_eq!(note.ip, Some(ips(&["198.51.100.1"])[0]));
}

#[tokio::test]
async fn every_record_names_who_asked() {
    let lab = Lab::start().await;
    for name in ["ok.up.test.", "evil.test."] {
        let query = question(name, RecordType::A, None);
        lab.send(lab.udp[0], &query).await;
        lab.send(lab.udp[1], &query).await;
        ask_tcp(&mut lab.connect().await, &query).await.unwrap();
    }
    lab.send(lab.udp[0], &question("ok.up.test.", RecordType::HTTPS, None)).await;
    let not_one = [&question("evil.test.", RecordType::A, None)[..5], &[0; 7]].concat();
    lab.send(lab.udp[0], &not_one).await;
    let notes = lab.notes.all.lock().unwrap();
    let named: Vec<_> = notes.iter().map(|note| note.process.as_ref().unwrap().comm.as_str()).collect();
    assert_eq!(named, ["udp4", "udp6", "tcp", "udp4", "udp6", "tcp", "udp4", "udp4"]);
}

#[tokio::test]
async fn a_connection_that_is_not_the_commands_is_closed() {
    let stranger = Asker { pid: 7, knows_connections: false };
    let lab = Lab::asked_by(stranger, &["up.test"], true, Limits::default()).await;
    let query = question("ok.up.test.", RecordType::A, None);
    assert!(ask_tcp(&mut lab.connect().await, &query).await.is_none());
    assert_eq!((lab.server.asked().len(), lab.reasons()), (0, vec!["no_origin"]));
}

#[tokio::test]
async fn the_names_an_address_was_given_for_are_known() {
    let lab = Lab::with(&["up.test", "10.0.0.1:5432"], true, Limits::default()).await;
    let names =
        |ip: &str| lab.stub.names_of(ips(&[ip])[0]).iter().map(ToString::to_string).collect::<Vec<_>>();
    for (name, kind) in [
        ("four.up.test.", RecordType::A),
        ("alias.up.test.", RecordType::A),
        ("OK.up.test.", RecordType::AAAA),
        ("mixed.up.test.", RecordType::A),
        ("evil.test.", RecordType::A),
    ] {
        lab.ask(name, kind).await;
    }
    assert_eq!(names("198.51.100.4"), ["four.up.test"]);
    assert_eq!(
        names("198.51.100.5"),
        ["alias.up.test"],
        "the name that was asked for, not the alias's target"
    );
    assert_eq!(names("2001:db8::3"), ["ok.up.test"]);
    for never_given in ["10.0.0.2", "198.51.100.1", "203.0.113.1"] {
        assert!(names(never_given).is_empty(), "{never_given}");
    }
    lab.ask("deaf6.up.test.", RecordType::A).await;
    assert_eq!(names("198.51.100.4"), ["deaf6.up.test", "four.up.test"], "the latest first");
}

#[tokio::test]
async fn aliases_are_followed_to_their_addresses() {
    let lab = Lab::start().await;
    let answer = lab.ask("alias.up.test.", RecordType::A).await;
    assert_eq!(data(&answer), ["edge.cdn.test.", "198.51.100.5"]);
    // A server that leaves the rest to its asker gives no address: the target was not allowed to be asked for.
    let lazy = lab.ask("lazy.up.test.", RecordType::A).await;
    assert_eq!((lazy.metadata.response_code, data(&lazy)), (ResponseCode::NoError, vec![]));
    assert_eq!(lab.server.asked(), ["alias.up.test. A", "lazy.up.test. A"]);
    // The target is the server's word, not the command's: it does not become a name the command may ask for.
    assert_eq!(lab.ask("edge.cdn.test.", RecordType::A).await.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn negative_answers_and_failures_are_told_apart() {
    let lab = Lab::start().await;
    for (name, code, soa) in [
        ("missing.up.test.", ResponseCode::NXDomain, true),
        ("four.up.test.", ResponseCode::NoError, true),
        ("broken.up.test.", ResponseCode::ServFail, false),
    ] {
        let answer = lab.ask(name, RecordType::AAAA).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0), "{name}");
        assert_eq!(answer.authorities.len(), usize::from(soa), "{name}");
        assert!(answer.authorities.iter().all(|soa| soa.ttl <= 60), "{name}");
    }
    assert_eq!(lab.reasons(), ["allowed", "allowed", "resolve_failed"]);
}

#[tokio::test]
async fn answers_that_do_not_fit_are_cut_and_whole_over_tcp() {
    let lab = Lab::start().await;
    for (payload, limit, whole) in [(None, 512, false), (Some(600), 600, false), (Some(4096), 4096, true)] {
        let bytes = lab.send(lab.udp[0], &question("big.up.test.", RecordType::A, payload)).await;
        let answer = Message::from_vec(&bytes).unwrap();
        assert!(bytes.len() <= limit, "{payload:?}: {}", bytes.len());
        assert_eq!((answer.metadata.truncation, answer.answers.len()), (!whole, if whole { 64 } else { 0 }));
        assert_eq!(answer.edns.is_some(), payload.is_some());
    }
    let bytes =
        ask_tcp(&mut lab.connect().await, &question("big.up.test.", RecordType::A, None)).await.unwrap();
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 64));
}

#[tokio::test]
async fn a_silent_server_costs_five_seconds_at_most_and_holds_nobody_up() {
    let limits = Limits { questions: 1, patience: Duration::from_millis(100), ..Limits::default() };
    let lab = Lab::with(&["up.test"], true, limits).await;
    let begun = std::time::Instant::now();
    let silent = lab.ask("silent.up.test.", RecordType::A);
    let others = async {
        lab.server.hears("silent.up.test. A").await;
        let denied = lab.ask("evil.test.", RecordType::A).await;
        let over = lab.ask("ok.up.test.", RecordType::A).await;
        (denied.metadata.response_code, over.metadata.response_code, begun.elapsed())
    };
    let (silent, (denied, over, meanwhile)) = tokio::join!(silent, others);
    assert_eq!(silent.metadata.response_code, ResponseCode::ServFail);
    assert_eq!((denied, over), (ResponseCode::NXDomain, ResponseCode::ServFail));
    assert!(meanwhile.as_secs() < 2, "{meanwhile:?}");
    assert!(begun.elapsed().as_millis() < 5500, "{:?}", begun.elapsed());
    assert_eq!(lab.reasons(), ["not_in_allowlist", "limit_exceeded", "resolve_failed"]);
    // Its place is free again.
    assert_eq!(lab.ask("ok.up.test.", RecordType::A).await.metadata.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn a_burst_of_questions_is_answered_in_turn() {
    let lab = Lab::with(&["up.test"], true, Limits { questions: 1, ..Limits::default() }).await;
    let answers = join_all((0..64).map(|_| lab.ask("ok.up.test.", RecordType::A))).await;
    assert!(answers.iter().all(|answer| answer.metadata.response_code == ResponseCode::NoError));
    assert!(lab.reasons().iter().all(|reason| *reason == "allowed"), "{:?}", lab.reasons());
}

#[tokio::test]
async fn tcp_connections_are_bounded_in_number_and_time() {
    let limits = Limits { connections: 1, idle: Duration::from_millis(300), ..Limits::default() };
    let lab = Lab::with(&["up.test"], true, limits).await;
    let query = question("ok.up.test.", RecordType::A, None);
    let mut first = lab.connect().await;
    assert!(ask_tcp(&mut first, &query).await.is_some());
    assert!(ask_tcp(&mut lab.connect().await, &query).await.is_none(), "the second is closed");
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0, "an idle connection is closed");
    let again = async {
        while ask_tcp(&mut lab.connect().await, &query).await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("the place is free again");
}

#[tokio::test]
async fn serving_ends_when_told_to() {
    let lab = Lab::start().await;
    lab.stop.send(()).unwrap();
    lab.ended.await.unwrap().unwrap();
    std::net::UdpSocket::bind(lab.udp[0]).expect("the socket is closed");
}

#[tokio::test]
async fn resolving_gives_both_families_and_tells_failures_apart() {
    let server = Server::start().await;
    let upstream = asking(&[server.addr]);
    let name = |text: &str| DomainName::parse(text).unwrap();
    for (host, expected) in [
        ("ok.up.test", &["2001:db8::1", "198.51.100.1", "2001:db8::2", "198.51.100.2", "2001:db8::3"][..]),
        ("four.up.test", &["198.51.100.4"]),
        ("alias.up.test", &["198.51.100.5"]),
        ("broken6.up.test", &["198.51.100.7"]),
        ("deaf6.up.test", &["198.51.100.4"]),
    ] {
        assert_eq!(resolve(&upstream, host).await, Ok(ips(expected)), "{host}");
    }
    let error = async |host: &str| resolve(&upstream, host).await.unwrap_err();
    assert_eq!(error("missing.up.test").await, ResolveError::NoSuchName(name("missing.up.test")));
    assert_eq!(error("none.up.test").await, ResolveError::NoAddress(name("none.up.test")));
    assert!(matches!(error("broken.up.test").await, ResolveError::Failed { .. }));
    let nobody = Upstream::new(&[], &[]).with_remark(Some("none is configured".to_owned()));
    let error = resolve(&nobody, "ok.up.test").await.unwrap_err().to_string();
    assert_eq!(error, "resolving ok.up.test: there is no name server to ask (none is configured)");
}

/// A second server knows another world: its word counts only when the first has none, and after a silence for
/// a while, so that not every question has to wait.
#[tokio::test]
async fn the_second_server_is_asked_only_when_the_first_has_no_answer() {
    let (live, spare) = (Server::start().await, Server::start().await);
    let both = asking(&[live.addr, spare.addr]);
    resolve(&both, "ok.up.test").await.unwrap();
    resolve(&both, "missing.up.test").await.unwrap_err();
    assert_eq!(spare.asked(), [""; 0]);
    resolve(&both, "broken.up.test").await.unwrap_err();
    assert!(!spare.asked().is_empty(), "a server that fails is not believed");

    // Bound and never read: it takes questions and says nothing.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let lame = asking(&[dead.local_addr().unwrap(), spare.addr]);
    let begun = std::time::Instant::now();
    resolve(&lame, "ok.up.test").await.unwrap();
    let with_wait = begun.elapsed();
    resolve(&lame, "four.up.test").await.unwrap();
    let without = begun.elapsed() - with_wait;
    assert!(with_wait.as_millis() >= 2000 && without.as_millis() < 1000, "{with_wait:?}, then {without:?}");
}
