//! TLS that ends at the proxy, as somebody uses it who wants out, or wants the record to say something else.

use ::http::{Method, Request};
use h2::ext::Protocol;

use super::{
    intercept::{Pki, connect, head_of, lab, lab_with, serve},
    *,
};
use crate::{audit::Decision, ca::Authority, policy::Reason};

const H2: &[&[u8]] = &[b"h2"];

/// What is on record of a whole connection.
async fn end_of(lab: &Lab) -> (Decision, Reason) {
    let record = lab.connections(1).await.remove(0);
    (record.decision, record.reason)
}

/// The attack: to knock at a host that is refused, and to leave before there is a request that could be on record.
#[tokio::test]
async fn no_words_but_a_request_hide_that_a_host_was_refused() {
    for (alpn, words) in
        [(H2, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..]), (&[], b"GET / HT"), (&[], b"")]
    {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::Refused).await;
        let mut client = connect(lab.transparent(port).await, "denied.test", alpn, &pki.run).await.unwrap();
        client.write_all(words).await.unwrap();
        client.flush().await.unwrap();
        client.shutdown().await.unwrap();
        let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
        drop(client);
        assert_eq!(end_of(&lab).await, (Decision::Deny, Reason::NotInAllowlist), "{words:?}");
        untouched(&server).await;
    }
}

/// Programs open connections in advance, and keep them until we close them.
#[tokio::test]
async fn who_says_nothing_inside_is_recorded_by_what_was_refused() {
    for (name, alpn, want) in [
        ("allowed.test", &[][..], (Decision::Allow, Reason::NothingSent)),
        ("allowed.test", H2, (Decision::Allow, Reason::NothingSent)),
        ("denied.test", &[], (Decision::Deny, Reason::NotInAllowlist)),
        ("denied.test", H2, (Decision::Deny, Reason::NotInAllowlist)),
    ] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let limits = Limits { keep_alive: Duration::from_millis(300), ..quick() };
        let lab = lab_with(port, &["https://allowed.test:$P"], &pki, Scope::All, limits).await;
        let stream = lab.transparent(port).await;
        let origin = async {
            match name {
                "allowed.test" => Some(serve(accept(&server).await, name, alpn, &pki.servers).await.unwrap()),
                _ => None,
            }
        };
        let (client, _origin) = tokio::join!(connect(stream, name, alpn, &pki.run), origin);
        let mut client = client.unwrap();
        if alpn == H2 {
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        }
        let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
        assert_eq!(end_of(&lab).await, want, "{name} {alpn:?}");
    }
}

/// The attack: an address that is allowed as such, by a name whose TLS is left alone.
#[tokio::test]
async fn a_name_that_is_spared_spares_no_address_by_being_said() {
    for through_connect in [false, true] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &[], &pki, Scope::All).await;
        let at: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let dial = async || {
            if !through_connect {
                return lab.dial(at).await;
            }
            let mut stream = lab.explicit().await;
            send(&mut stream, &format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
            assert!(head(&mut stream).await.starts_with("http/1.1 200 "));
            stream
        };
        let reach = async |name: &str, authority: &Authority| {
            let origin = async { serve(accept(&server).await, name, &[], &pki.servers).await };
            let command = async { connect(dial().await, name, &[], authority).await };
            tokio::join!(command, origin).0.unwrap();
        };
        reach("spared.test", &pki.run).await;
        // The resolver has said that this is where it is.
        let name = DomainName::parse("spared.test").unwrap();
        lab.names.given.lock().unwrap().insert(at.ip(), vec![name]);
        reach("spared.test", &pki.servers).await;
        // Nobody has to.
        reach("spared.localhost", &pki.servers).await;
    }
}

/// The attack: to be told of a refusal inside of a CONNECT, and to say nothing that it could be told to.
#[tokio::test]
async fn a_connect_that_is_heard_out_stays_refused() {
    for words in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], b"GET / HT", b""] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::Refused).await;
        let mut stream = lab.explicit().await;
        let connect = format!("CONNECT denied.test:{port} HTTP/1.1\r\nHost: denied.test:{port}\r\n\r\n");
        send(&mut stream, &connect).await;
        assert!(head(&mut stream).await.starts_with("http/1.1 200 "));
        stream.write_all(words).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("an end in time");
        drop(stream);
        assert_eq!(end_of(&lab).await, (Decision::Deny, Reason::NotInAllowlist), "{words:?}");
        assert!(lab.asked().is_empty(), "a name was looked up");
        untouched(&server).await;
    }
}

/// HTTP/1.1 has no other way to say it, and what is said behind the head must not be taken for a body.
#[tokio::test]
async fn a_websocket_of_http2_has_no_body_and_one_cookie_line() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let (mut sender, _held) = websocket::speak(&lab, (&server, port), &pki).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://allowed.test:{port}/ws"))
        .header("content-length", "0")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("sec-websocket-key", "chosen")
        .extension(Protocol::from_static("websocket"));
    let (response, _up) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    let origin = async {
        let stream = accept(&server).await;
        let mut origin = serve(stream, "allowed.test", &[b"h2", b"http/1.1"], &pki.servers).await.unwrap();
        head_of(&mut origin).await
    };
    let head = tokio::select! {
        response = response => panic!("{response:?}"),
        head = origin => head,
    };
    assert!(!head.contains("content-length") && !head.contains("chosen"), "{head}");
    assert!(head.contains("cookie: a=1; b=2\r\n"), "{head}");
}
