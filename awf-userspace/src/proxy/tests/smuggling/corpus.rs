//! The byte strings. `$P` is the origin's port; every target and Host that is not evil names `allowed.test:$P`.

/// A request that no one may serve.
const EVIL: &str = "GET /evil HTTP/1.1\r\nHost: denied.test:$P\r\n\r\n";
/// A request that is served when it is one.
const GOOD: &str = "GET /good HTTP/1.1\r\nHost: allowed.test:$P\r\n\r\n";
const HOST: &str = "Host: allowed.test:$P\r\n";

/// All of them; `absolute`: as a client writes them that knows of a proxy.
pub(super) fn all(port: u16, absolute: bool) -> Vec<Vec<u8>> {
    let all = [framings(), chunks(), lines(), hosts(), request_lines(), behind()].concat();
    let named: &[(&[u8], &[u8])] = &[
        (b" /1", b" http://allowed.test:$P/1"),
        (b" /good", b" http://allowed.test:$P/good"),
        (b" /evil", b" http://denied.test:$P/evil"),
    ];
    let fill = |text: Vec<u8>| {
        let text = named.iter().filter(|_| absolute).fold(text, |text, (from, to)| replace(&text, from, to));
        replace(&text, b"$P", port.to_string().as_bytes())
    };
    all.into_iter().map(fill).collect()
}

pub(super) fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn text(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

/// Bodies whose length is told in many ways: CL.TE, TE.CL, TE.TE and what looks like neither.
fn framings() -> Vec<Vec<u8>> {
    let headers = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: 0, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5 \r\n",
        "Content-Length:5\r\n",
        "Content-Length:\t5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length: 1 5\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \r\n",
        "Content-Length\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " Content-Length: 5\r\n",
        "Content_Length: 5\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 4294967301\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "X: 1\r\n Content-Length: 5\r\n",
        "Content-Length:\r\n 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: Chunked\r\n",
        "Transfer-Encoding:chunked\r\n",
        "Transfer-Encoding: \tchunked\r\n",
        "Transfer-Encoding: chunked \r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent_Length: 5\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\n",
        "Transfer-Encoding: chunked\r",
        "Transfer-Encoding: chun\u{212a}ed\r\n",
        "TE: trailers\r\nTransfer-Encoding: chunked\r\n",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
        "Connection: Content-Length\r\nContent-Length: 5\r\n",
        "Connection: close, Content-Length\r\nContent-Length: 5\r\n",
        "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\n",
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
        "Expect: 200-ok\r\nContent-Length: 5\r\n",
        "Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ];
    let bodies = ["0\r\n\r\n", "hello", "5\r\nhello\r\n0\r\n\r\n"];
    let cases = headers.iter().flat_map(|lines| {
        bodies.iter().map(move |body| text(&["POST /1 HTTP/1.1\r\n", HOST, lines, "\r\n", body, EVIL, GOOD]))
    });
    let get = headers.iter().map(|lines| text(&["GET /1 HTTP/1.1\r\n", HOST, lines, "\r\n", EVIL]));
    let old = headers.iter().map(|lines| {
        let keep = "Connection: keep-alive\r\n";
        text(&["POST /1 HTTP/1.0\r\n", HOST, keep, lines, "\r\n", "0\r\n\r\n", EVIL])
    });
    cases.chain(get).chain(old).collect()
}

/// Chunked bodies.
fn chunks() -> Vec<Vec<u8>> {
    let bodies = [
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5 ;x\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\t5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5.\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "00000000000000000000005\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n00\r\n\r\n",
        "5\r\nhello\r\n000000\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 99\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: denied.test\r\n\r\n",
        "5\r\nhello\r\n0\r\n folded: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\r\n folded\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\0\r\n\r\n",
        "5\r\nhello\r\n0\r\n: 1\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\n\r",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhel",
    ];
    let head = ["POST /1 HTTP/1.1\r\n", HOST, "Transfer-Encoding: chunked\r\n\r\n"].concat();
    bodies.iter().map(|body| text(&[&head, body, EVIL, GOOD])).collect()
}

/// Line ends, folds, and bytes that some parsers skip.
fn lines() -> Vec<Vec<u8>> {
    let lines = [
        "X: 1\r\n y: 2\r\n",
        "X: 1\r\n\ty: 2\r\n",
        "X: 1\nHost: denied.test:$P\r\n",
        "X: 1\rHost: denied.test:$P\r\n",
        "X: 1\r\r\nY: 2\r\n",
        "X: 1\n\r\n",
        "X: 1\n\n",
        "X: 1\r\n\n",
        "X: 1\0\r\n",
        "X\0: 1\r\n",
        "X: \x01\r\n",
        "X: \x7f\r\n",
        "X: \x1b[0m\r\n",
        "X : 1\r\n",
        "X\t: 1\r\n",
        ": 1\r\n",
        "X\r\n",
        "X;: 1\r\n",
        "X(y): 1\r\n",
        "\u{a0}X: 1\r\n",
        "X: \u{85}Host: denied.test\r\n",
        "X: \u{2028}Host: denied.test\r\n",
        "X: 1\r\nX: 2\r\n",
        "X:\r\n",
        "Connection: keep-alive, X\r\nX: 1\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Proxy-Authorization: Basic eDp5\r\n",
        "Keep-Alive: timeout=5\r\n",
    ];
    let case = |lines: &&str| text(&["GET /1 HTTP/1.1\r\n", HOST, lines, "\r\n", EVIL, GOOD]);
    lines.iter().map(case).collect()
}

/// Names that disagree, or that are written so that somebody reads another one.
fn hosts() -> Vec<Vec<u8>> {
    let heads = [
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P\r\nHost: denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: denied.test:$P\r\nHost: allowed.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P\r\nhost: allowed.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P, denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P denied.test\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P@denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: denied.test:$P@allowed.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P#denied.test\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P/evil\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P?evil\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test\\.denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test%00.denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test%2edenied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test\u{ff0e}denied.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test..:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: ALLOWED.test.:$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:0$P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test:$P:80\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test: $P\r\n",
        "GET /1 HTTP/1.1\r\nHost: allowed.test :$P\r\n",
        "GET /1 HTTP/1.1\r\nHost:\r\n",
        "GET /1 HTTP/1.1\r\n",
        "GET /1 HTTP/1.0\r\n",
        "GET /1 HTTP/1.1\r\nX-Forwarded-Host: denied.test\r\nHost: allowed.test:$P\r\n",
        "GET /1 HTTP/1.1\r\nConnection: Host\r\nHost: allowed.test:$P\r\n",
        "GET http://denied.test:$P/evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://allowed.test:$P/1 HTTP/1.1\r\nHost: denied.test:$P\r\n",
        "GET http://allowed.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://allowed.test:$P/1 HTTP/1.1\r\n",
        "GET http://allowed.test:$P/1 HTTP/1.0\r\n",
        "GET HTTP://allowed.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://allowed.test:$P@denied.test:$P/evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://denied.test:$P@allowed.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://allowed.test:$P#@denied.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://denied.test:$P#@allowed.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http://allowed.test:$P\\@denied.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http:/denied.test:$P/evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET http:///evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET //denied.test:$P/1 HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET https://denied.test/evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET ftp://denied.test/evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET denied.test:$P HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "GET allowed.test:$P HTTP/1.1\r\nHost: denied.test:$P\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: denied.test:$P\r\n",
        "OPTIONS denied.test:$P HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "CONNECT denied.test:$P HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "CONNECT allowed.test:$P HTTP/1.1\r\nHost: denied.test:$P\r\n",
        "CONNECT /evil HTTP/1.1\r\nHost: allowed.test:$P\r\n",
        "CONNECT http://denied.test:$P/ HTTP/1.1\r\nHost: denied.test:$P\r\n",
    ];
    heads.iter().map(|head| text(&[head, "\r\n", EVIL])).collect()
}

/// Request lines that are almost right.
fn request_lines() -> Vec<Vec<u8>> {
    let lines = [
        "GET /1\r\n",
        "GET /1 \r\n",
        "GET  /1 HTTP/1.1\r\n",
        "GET /1  HTTP/1.1\r\n",
        "GET\t/1\tHTTP/1.1\r\n",
        "GET /1\tHTTP/1.1\r\n",
        " GET /1 HTTP/1.1\r\n",
        "\r\nGET /1 HTTP/1.1\r\n",
        "\r\n\r\nGET /1 HTTP/1.1\r\n",
        "\nGET /1 HTTP/1.1\r\n",
        "GET /1 HTTP/1.1 \r\n",
        "GET /1 HTTP/1.1\n",
        "GET /1 HTTP/1.1\r",
        "GET /1 HTTP/1.2\r\n",
        "GET /1 HTTP/1.10\r\n",
        "GET /1 HTTP/01.1\r\n",
        "GET /1 HTTP/2.0\r\n",
        "GET /1 HTTP/0.9\r\n",
        "GET /1 http/1.1\r\n",
        "GET /1 HTTP /1.1\r\n",
        "GET /1 HTTP/1.1 HTTP/1.1\r\n",
        "GET /1 HTTP/1.1\r\nGET http://denied.test:$P/evil HTTP/1.1\r\n",
        "get /1 HTTP/1.1\r\n",
        "GET\0 /1 HTTP/1.1\r\n",
        "GET /1\0 HTTP/1.1\r\n",
        "GET /\u{e9} HTTP/1.1\r\n",
        "GET /1#evil HTTP/1.1\r\n",
        "GET /1?x=y%0d%0aHost:denied.test HTTP/1.1\r\n",
        "GET /%2e%2e/1 HTTP/1.1\r\n",
        "G@T /1 HTTP/1.1\r\n",
        "TRACE /1 HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n",
        "M-SEARCH * HTTP/1.1\r\n",
        "BAD / HTTP/1.1\r\n",
    ];
    lines.iter().map(|line| text(&[line, HOST, "\r\n", EVIL, GOOD])).collect()
}

/// Good requests with something behind them, and upgrades.
fn behind() -> Vec<Vec<u8>> {
    let upgrade = |lines: &str| text(&["GET /1 HTTP/1.1\r\n", HOST, lines, "\r\n", EVIL, GOOD]);
    let mut all: Vec<_> = [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: WebSocket\r\nContent-Length: 0\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket/13\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: close\r\n",
    ]
    .iter()
    .map(|lines| upgrade(lines))
    .collect();
    for tail in [EVIL, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\r\n", "\0", "GET"] {
        all.push(text(&[GOOD, tail]));
        all.push(text(&[GOOD, GOOD, tail]));
        all.push(text(&["HEAD /1 HTTP/1.1\r\n", HOST, "\r\n", tail]));
    }
    let post = |version: &str, rest: &str| text(&["POST /1 ", version, "\r\n", HOST, rest]);
    let length = EVIL.replace("$P", "65535").len();
    // A body that is a request, as a body, and one byte more or less of it.
    for length in [length - 1, length, length + 1] {
        let body = EVIL.replace("$P", "65535");
        all.push(post("HTTP/1.1", &format!("Content-Length: {length}\r\n\r\n{body}{GOOD}")));
        all.push(post("HTTP/1.0", &format!("Content-Length: {length}\r\n\r\n{body}{GOOD}")));
    }
    all
}
