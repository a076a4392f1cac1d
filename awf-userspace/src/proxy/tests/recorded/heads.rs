//! Request heads of real clients against a reading of RFC 9112 made for these tests, first by the check alone, then
//! through the gate and the HTTP library over a stream in memory.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::timeout,
};

use super::{
    super::super::{
        Limits,
        activity::Activity,
        deny,
        fuzzing::{
            reference::{self, Body},
            request::agrees,
        },
        gate::Gate,
        head::check,
        request,
    },
    changes,
};

const LIMIT: usize = 64 * 1024;

/// All for `api.allowed.test`, written by these clients as they stand.
const HEADS: [(&str, &[u8]); 13] = [
    ("curl", include_bytes!("../data/head-curl.http")),
    ("curl, chunked POST", include_bytes!("../data/head-curl-post.http")),
    ("curl, by a proxy", include_bytes!("../data/head-curl-proxy.http")),
    ("curl, CONNECT", include_bytes!("../data/head-curl-connect.http")),
    ("curl, upgrade to h2c", include_bytes!("../data/head-curl-h2c.http")),
    ("git", include_bytes!("../data/head-git.http")),
    ("Go", include_bytes!("../data/head-go.http")),
    ("Java", include_bytes!("../data/head-java.http")),
    ("Node, POST", include_bytes!("../data/head-node.http")),
    ("npm", include_bytes!("../data/head-npm.http")),
    ("pip", include_bytes!("../data/head-pip.http")),
    ("Python", include_bytes!("../data/head-python.http")),
    ("Wget", include_bytes!("../data/head-wget.http")),
];

#[test]
fn heads_of_real_clients_pass() {
    for (client, head) in HEADS {
        assert!(agrees(head, || client.to_owned()), "{client}: {:?}", check(head, 0, LIMIT));
    }
}

#[test]
fn every_prefix_of_a_head_waits_for_more() {
    for (client, head) in HEADS {
        for end in 0..head.len() {
            assert_eq!(check(&head[..end], 0, LIMIT), Ok(None), "{client}: {end} bytes");
        }
    }
}

#[test]
fn no_changed_byte_of_a_head_is_read_in_two_ways() {
    for (client, head) in HEADS {
        let mut head = head.to_vec();
        for at in 0..head.len() {
            let before = head[at];
            for value in changes(before) {
                head[at] = value;
                agrees(&head, || format!("{client}: byte {at} is {value:#x}"));
            }
            head[at] = before;
        }
    }
}

#[test]
fn no_added_or_missing_byte_of_a_head_is_read_in_two_ways() {
    for (client, head) in HEADS {
        for at in 0..head.len() {
            agrees(&[&head[..at], &head[at + 1..]].concat(), || format!("{client}: without byte {at}"));
            for value in b"\0\t\n\x0b\r ,:;\x7f\x80\xff\xa00a".iter().copied() {
                let more = [&head[..at], &[value], &head[at..]].concat();
                agrees(&more, || format!("{client}: {value:#x} before byte {at}"));
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    host: Option<String>,
    body: Bytes,
}

/// The requests that come out of the gate and the HTTP library when `input` is all there is.
async fn seen(input: &[u8]) -> Vec<Seen> {
    let (mut client, server) = duplex(1 << 16);
    client.write_all(input).await.unwrap();
    client.shutdown().await.unwrap();
    let limits = Arc::new(Limits { linger: Duration::from_millis(1), ..Limits::default() });
    let activity = Arc::new(Activity::new(limits.idle, limits.lifetime));
    let flow = Arc::new(crate::proxy::flow::Flow::new(&crate::proxy::flow::Shares::new(&limits)));
    let gate = Gate::new(server, BytesMut::new(), limits, Arc::default(), activity, flow);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let host = parts
                .headers
                .get(header::HOST)
                .map(|host| host.as_bytes().iter().map(|b| char::from(*b)).collect());
            let mut response = Response::new(Empty::<Bytes>::new());
            // As the proxy does: behind it the gate lets nothing through.
            if request::wants_websocket(&parts.method, &parts.headers) {
                deny::close(response.headers_mut());
            }
            if let Ok(body) = body.collect().await {
                let (method, target) = (parts.method.to_string(), parts.uri.to_string());
                seen.lock().unwrap().push(Seen { method, target, host, body: body.to_bytes() });
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = Builder::new();
    builder.half_close(true).max_headers(128);
    let serving = builder.serve_connection(TokioIo::new(gate), service);
    // An error is a request that was cut off, which is not seen.
    let _ = timeout(Duration::from_secs(20), serving).await.expect("a verdict and no hang");
    drop(client);
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

/// The same requests by the reference, as far as they are valid.
fn expected(mut input: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Ok(message) = reference::message(input) {
        let end = message.head.body == Body::Tunnel;
        let body = Bytes::from(message.content);
        // A fragment is no part of a target; it is neither judged nor passed on.
        let target = message.head.target.split('#').next().unwrap_or_default().to_owned();
        all.push(Seen { method: message.head.method, target, host: message.head.host, body });
        if end {
            break;
        }
        input = &input[message.len..];
    }
    all
}

const SECOND: &[u8] = b"GET /second HTTP/1.1\r\nHost: other.test\r\n\r\n";

/// What the HTTP library makes of a request and the one behind it is what the reference makes of them, or less.
async fn check_through(input: &[u8], what: impl Fn() -> String) {
    let (seen, expected) = (seen(input).await, expected(input));
    let seen: Vec<_> = seen.into_iter().filter(|seen| seen.method != "BAD").collect();
    assert!(expected.starts_with(&seen), "{}: {seen:#?}\nbut {expected:#?}", what());
}

#[tokio::test]
async fn the_library_sees_the_requests_of_real_clients_one_by_one() {
    for (client, head) in HEADS {
        let body: &[u8] = match reference::head(head).unwrap().body {
            Body::Chunked => b"3\r\nabc\r\n0\r\n\r\n",
            Body::Length(length) => &b"abc"[..length as usize],
            Body::Tunnel => b"",
        };
        let input = [head, body, SECOND].concat();
        let mut expected = expected(&input);
        // It says `Connection: close`.
        if client == "Python" {
            expected.truncate(1);
        }
        let last = ["Python", "curl, CONNECT"].contains(&client);
        assert_eq!(expected.len(), if last { 1 } else { 2 }, "{client}");
        assert_eq!(seen(&input).await, expected, "{client}");
    }
}

#[tokio::test]
async fn no_changed_byte_moves_the_boundary_between_two_requests() {
    for (client, head) in HEADS.into_iter().filter(|(_, head)| head.starts_with(b"P")) {
        let input = [head, b"3\r\nabc\r\n0\r\n\r\n", SECOND].concat();
        let mut input = if head.windows(8).any(|part| part.eq_ignore_ascii_case(b"chunked\r")) {
            input
        } else {
            [head, b"abc", SECOND].concat()
        };
        for at in 0..input.len() {
            let before = input[at];
            for value in changes(before) {
                input[at] = value;
                check_through(&input, || format!("{client}: byte {at} is {value:#x}")).await;
            }
            input[at] = before;
        }
    }
}
