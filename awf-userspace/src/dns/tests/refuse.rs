//! What must not leave, by every way a command could try.

use super::{super::Limits, lab::*, *};

/// The extended error of an answer: its code and its words.
fn extended_error(message: &Message) -> Option<(u16, String)> {
    let options: &[_] = message.edns.as_ref()?.options().as_ref();
    options.iter().find_map(|(code, option)| {
        let data = Vec::<u8>::try_from(option).ok().filter(|_| u16::from(*code) == 15)?;
        Some((u16::from_be_bytes([data[0], data[1]]), String::from_utf8(data[2..].to_vec()).unwrap()))
    })
}

#[tokio::test]
async fn nothing_of_a_denied_name_leaves() {
    let lab = Lab::start().await;
    let kinds = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 64, 65, 99, 250, 251, 252, 255, 257, 65_280]
        .map(RecordType::from);
    let names = [
        "evil.test.",
        "EVIL.test.",
        "secret-in-a-label.evil.test.",
        "evilup.test.",
        "up.test.evil.test.",
        "test.",
        "localhost.evil.test.",
        "edge.cdn.test.",
        "4.100.51.198.in-addr.arpa.",
        "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
        "198.51.100.1.",
        "a b.up.test.",
        "x|up.test.",
        "\0.up.test.",
        "é.up.test.",
        ".",
    ];
    let mut stream = lab.connect().await;
    for name in names {
        for kind in kinds {
            let query = question(name, kind, Some(1232));
            let over_udp = lab.send(lab.udp[0], &query).await;
            let over_tcp = ask_tcp(&mut stream, &query).await.unwrap();
            assert_eq!(over_udp, over_tcp, "{name} {kind}");
            let answer = Message::from_vec(&over_udp).unwrap();
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name} {kind}");
            assert!(answer.answers.is_empty() && answer.authorities.is_empty());
        }
    }
    assert_eq!(lab.server.asked(), [""; 0]);
    lab.stub.note_repeats(true);
    assert_eq!(lab.counted(), 2 * names.len() as u64 * kinds.len() as u64, "every query is on record");
    assert!(lab.notes.all.lock().unwrap().iter().all(|note| note.decision == Decision::Deny));

    // The server would have heard them.
    lab.ask("ok.up.test.", RecordType::A).await;
    assert_eq!(lab.server.asked(), ["ok.up.test. A"]);
}

#[tokio::test]
async fn a_refusal_says_why_and_how_to_allow_it() {
    let lab = Lab::start().await;
    let (code, text) = extended_error(&lab.ask("evil.test.", RecordType::A).await).unwrap();
    assert_eq!(code, 15);
    assert!(text.starts_with("awf-bpf (not_in_allowlist): evil.test is not allowed"), "{text}");
    assert!(text.ends_with("; to allow it: --allow-domains evil.test"), "{text}");
    let plain = lab.send(lab.udp[0], &question("evil.test.", RecordType::A, None)).await;
    assert!(Message::from_vec(&plain).unwrap().edns.is_none(), "no EDNS where none was asked for");
    let long = format!("{}.evil.test.", vec!["x".repeat(60); 4].join(".")[..240].to_owned());
    let longest = lab.send(lab.udp[0], &question(&long, RecordType::A, Some(512))).await;
    assert!(longest.len() <= 512 && extended_error(&Message::from_vec(&longest).unwrap()).is_some());
    let note = &lab.notes.all.lock().unwrap()[0];
    assert_eq!(note.allow_with.as_deref(), Some("--allow-domains evil.test"));
    assert_eq!((note.proto, note.method.as_deref(), note.status), (Some("dns"), Some("A"), Some(3)));
}

#[tokio::test]
async fn of_an_allowed_name_only_addresses_are_asked_for() {
    let lab = Lab::start().await;
    for kind in [2, 5, 6, 10, 12, 15, 16, 33, 35, 48, 99, 251, 252, 255, 257].map(RecordType::from) {
        let answer = lab.ask("ok.up.test.", kind).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{kind}");
        assert_eq!(extended_error(&answer).unwrap().0, 21);
    }
    assert!(lab.reasons().iter().all(|reason| *reason == "dns_type_refused"));
    assert_eq!(lab.server.asked(), [""; 0]);
    let (_, text) = extended_error(&lab.ask("ok.up.test.", RecordType::TXT).await).unwrap();
    assert!(text.ends_with("to allow it: --allow-dns TXT:ok.up.test"), "{text}");
}

#[tokio::test]
async fn localhost_is_answered_here() {
    let lab = Lab::with(&[], true, Limits::default()).await;
    for (name, kind, expected) in [
        ("localhost.", RecordType::A, "127.0.0.1"),
        ("App.LocalHost.", RecordType::AAAA, "::1"),
        ("1.0.0.127.in-addr.arpa.", RecordType::PTR, "localhost."),
    ] {
        let answer = lab.ask(name, kind).await;
        assert_eq!(data(&answer), [expected], "{name}");
        assert_eq!(answer.answers[0].name.to_string(), name);
    }
    let none = lab.ask("localhost.", RecordType::TXT).await;
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert!(lab.server.asked().is_empty() && lab.reasons().is_empty());
}

#[tokio::test]
async fn names_that_lead_inside_get_no_answer_unless_a_rule_names_the_address() {
    let lab = Lab::start().await;
    for name in ["inner.up.test.", "loop.up.test."] {
        let answer = lab.ask(name, RecordType::A).await;
        assert_eq!(
            (answer.metadata.response_code, answer.answers.len()),
            (ResponseCode::NoError, 0),
            "{name}"
        );
        assert_eq!(extended_error(&answer).unwrap().0, 17);
    }
    assert_eq!(lab.reasons(), ["forbidden_address"; 2]);
    assert_eq!(data(&lab.ask("mixed.up.test.", RecordType::A).await), ["198.51.100.6"]);

    let open = Lab::with(&["up.test", "10.0.0.1:5432"], true, Limits::default()).await;
    assert_eq!(data(&open.ask("inner.up.test.", RecordType::A).await), ["10.0.0.1"]);
    assert_eq!(data(&open.ask("mixed.up.test.", RecordType::A).await), ["198.51.100.6"]);
}

#[tokio::test]
async fn nothing_is_allowed_that_cannot_be_recorded() {
    let lab = Lab::with(&["up.test"], false, Limits::default()).await;
    assert_eq!(lab.ask("ok.up.test.", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    assert_eq!((lab.reasons(), lab.server.asked().len()), (vec!["audit_failed"], 0));
}

/// Rubbish gets an error or silence, and the next client its answer.
#[tokio::test]
async fn rubbish_is_survived() {
    let lab = Lab::start().await;
    let good = question("ok.up.test.", RecordType::A, Some(1232));
    let changed = |at: usize, to: u8| {
        let mut query = good.clone();
        query[at] = to;
        query
    };
    for (query, code) in [
        (changed(2, 0x28), ResponseCode::NotImp),  // UPDATE
        (changed(2, 0x10), ResponseCode::NotImp),  // STATUS
        (changed(5, 0), ResponseCode::FormErr),    // no question
        (changed(5, 2), ResponseCode::FormErr),    // two questions
        (changed(4, 0xff), ResponseCode::FormErr), // 65,281 questions
        (changed(7, 1), ResponseCode::FormErr),    // an answer in a query
        (good[..good.len() - 1].to_vec(), ResponseCode::FormErr),
        (changed(good.len() - 5, 1), ResponseCode::BADVERS), // EDNS version 1
        (changed(12 + 12 + 3, 3), ResponseCode::Refused),    // class CHAOS
    ] {
        let answer = Message::from_vec(&lab.send(lab.udp[0], &query).await).unwrap();
        // By number: 16 has two names.
        assert_eq!(u16::from(answer.metadata.response_code), u16::from(code), "{query:x?}");
        assert_eq!(answer.metadata.id, u16::from_be_bytes([query[0], query[1]]));
    }
    // An answer, a stump and nothing at all are not answered: the next answer on this socket is the good
    // one's.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for query in [&changed(2, 0x81)[..], &good[..11], &[], &good] {
        socket.send_to(query, lab.udp[0]).await.unwrap();
    }
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).await.unwrap();
    assert_eq!(Message::from_vec(&buffer[..length]).unwrap().metadata.response_code, ResponseCode::NoError);
    // Over TCP a wrong length ends the connection.
    for length in [0_u16, 11, 4097, 65_535] {
        let mut stream = lab.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &length.to_be_bytes()).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "{length}");
    }
    assert_eq!(lab.server.asked(), ["ok.up.test. A"]);
}
