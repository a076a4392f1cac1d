//! Through an upstream proxy: tunnels by CONNECT (RFC 9110 section 9.3.6), clear-text requests in absolute form
//! (RFC 9112 section 3.2.2). The policy has allowed the target before; the proxy is told its name, not an address.
//!
//! What the proxy says is not trusted to be short, timely or true, and none of it reaches the command but the
//! status number; of its credentials nothing leaves this module but towards the proxy.

use std::io;

use http::{
    Request, StatusCode, Uri,
    header::PROXY_AUTHORIZATION,
    uri::{PathAndQuery, Scheme},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    context::{Context, Route},
    deny::Refusal,
    request::host_value,
    upstream,
};
use crate::{
    policy::{Host, Reason},
    upstream_proxy::UpstreamProxy,
};

/// Bytes of everything a proxy says before the tunnel is open, interim answers included.
const MAX_ANSWER: usize = 16 * 1024;
/// Headers of one answer.
const MAX_HEADERS: usize = 64;
/// Bytes looked at in one go.
const PIECE: usize = 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it closed the connection before it had answered")]
    Closed,
    #[error("its answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("its answer is not HTTP: {0}")]
    NotHttp(httparse::Error),
}

/// Opens a tunnel through `proxy` to `host` on `port`. What the other end sends first is still unread in the socket.
///
/// # Errors
/// 502: [`Reason::UpstreamProxyFailed`] without an answer in time, [`Reason::UpstreamProxyRefused`] with one that
/// opens nothing.
pub(super) async fn tunnel(
    context: &Context,
    proxy: &UpstreamProxy,
    host: &Host,
    port: u16,
) -> Result<TcpStream, Refusal> {
    let opening = async {
        let mut stream = upstream::reach(context, proxy).await?;
        match ask(&mut stream, proxy, host, port).await {
            Ok(status) if status.is_success() => Ok(stream),
            Ok(status) => Err(refused(proxy, &format!("CONNECT {}", host_value(host, port, 0)), status)),
            Err(broken) => Err(failed(proxy, &broken.to_string())),
        }
    };
    in_time(context, proxy, opening).await
}

/// A connection to `proxy` itself, for requests in absolute form.
///
/// # Errors
/// 502, [`Reason::UpstreamProxyFailed`].
pub(super) async fn open(context: &Context, proxy: &UpstreamProxy) -> Result<TcpStream, Refusal> {
    in_time(context, proxy, upstream::reach(context, proxy)).await
}

/// The connect limit is that of the whole way to the target.
async fn in_time(
    context: &Context,
    proxy: &UpstreamProxy,
    opening: impl Future<Output = Result<TcpStream, Refusal>>,
) -> Result<TcpStream, Refusal> {
    let limit = context.limits.connect;
    let late = |_| failed(proxy, &format!("it did not answer within {limit:?}"));
    timeout(limit, opening).await.map_err(late)?
}

/// Makes `request`, in origin form, one for `proxy`: for what was allowed, whatever its Host says.
pub(super) fn address<B>(request: &mut Request<B>, route: &Route, proxy: &UpstreamProxy) {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = host_value(&route.dial, route.port, 80).parse().ok();
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    // A path, and a name that was judged: always a URI. The default would be a request for `/` of the proxy.
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    if let Some(credentials) = &proxy.credentials {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.header().clone());
    }
}

/// The answer of a proxy that would not. `what`: what it was asked.
pub(super) fn refused(proxy: &UpstreamProxy, what: &str, status: StatusCode) -> Refusal {
    let advice = match (status, &proxy.credentials) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => {
            ": it wants credentials (--upstream-proxy-auth-file gives awf-bpf some)"
        }
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(_)) => ": it does not take awf-bpf's credentials",
        _ => "",
    };
    let message = format!("the upstream proxy {} answered {what} with {status}{advice}", proxy.place());
    Refusal::unreachable(Reason::UpstreamProxyRefused, message)
}

/// A proxy that gave no answer.
pub(super) fn failed(proxy: &UpstreamProxy, why: &str) -> Refusal {
    let message = format!("the upstream proxy {} failed: {why}", proxy.place());
    Refusal::unreachable(Reason::UpstreamProxyFailed, message)
}

async fn ask(
    stream: &mut TcpStream,
    proxy: &UpstreamProxy,
    host: &Host,
    port: u16,
) -> Result<StatusCode, Broken> {
    let target = host_value(host, port, 0);
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(credentials) = &proxy.credentials {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(credentials.header().as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    let mut left = MAX_ANSWER;
    loop {
        let head = read_head(stream, left).await?;
        left -= head.len();
        match status(&head)? {
            // RFC 9110 section 15.2: any number of interim answers may come first. 101 is the end of HTTP.
            interim if interim.is_informational() && interim != StatusCode::SWITCHING_PROTOCOLS => {}
            status => return Ok(status),
        }
    }
}

/// Reads one head and not a byte more: what follows is the tunnel's. So bytes are looked at before they are taken.
async fn read_head(stream: &mut TcpStream, limit: usize) -> Result<Vec<u8>, Broken> {
    let (mut head, mut piece) = (Vec::new(), vec![0; PIECE]);
    loop {
        let seen = stream.peek(&mut piece).await?;
        if seen == 0 {
            return Err(Broken::Closed);
        }
        let before = head.len();
        head.extend_from_slice(&piece[..seen]);
        let end = end_of_head(&head, before);
        head.truncate(end.unwrap_or(head.len()));
        stream.read_exact(&mut piece[..head.len() - before]).await?;
        match end {
            _ if head.len() > limit => return Err(Broken::TooLong),
            Some(_) => return Ok(head),
            None => {}
        }
    }
}

/// Where the empty line behind a head ends. The first `scanned` bytes hold no such end. A bare LF is one, too
/// (RFC 9112 section 2.2): this is read by nobody else.
fn end_of_head(bytes: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(2);
    (from..bytes.len()).find_map(|at| match &bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

fn status(head: &[u8]) -> Result<StatusCode, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head).map_err(Broken::NotHttp)?;
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or(Broken::NotHttp(httparse::Error::Status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_at_any_split() {
        for text in ["HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest", "HTTP/1.0 200 OK\nA: b\n\nrest"] {
            let end = text.len() - "rest".len();
            for split in 0..end {
                assert_eq!(end_of_head(&text.as_bytes()[..split], 0), None, "{split}");
                assert_eq!(end_of_head(text.as_bytes(), split), Some(end), "{split}");
            }
        }
    }

    #[test]
    fn only_http_has_a_status() {
        for text in ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.0 200\n\n", "\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n"] {
            assert_eq!(status(text.as_bytes()).ok(), Some(StatusCode::OK), "{text:?}");
        }
        for text in
            ["SSH-2.0-x\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 000 no\r\n\r\n"]
        {
            assert!(status(text.as_bytes()).is_err(), "{text:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(status(many.as_bytes()).is_err());
    }
}
