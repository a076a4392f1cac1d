//! DNS over HTTPS (RFC 8484) at a server whose URL has an IPv6 address for its host. The library takes one text for the
//! name in the certificate and for the authority of the URL, which is in brackets.

use std::{
    net::{Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use h2::client::SendRequest;
use hickory_proto::op::{DnsRequest, DnsResponse};
use hickory_resolver::net::{
    NetError,
    xfer::{DnsRequestSender, DnsResponseStream},
};
use http::{Request, Uri, header};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// RFC 8484, 6.
const MEDIA_TYPE: &str = "application/dns-message";
/// The longest DNS message (RFC 1035, 4.2.2).
const LONGEST: usize = 65_535;
const PORT: u16 = 443;

/// An HTTP/2 connection to one server.
pub(super) struct Https {
    h2: SendRequest<Bytes>,
    uri: Uri,
    patience: Duration,
    is_shutdown: bool,
}

impl Https {
    /// Connects to `at`, whose certificate must be for `named`; each answer has `patience`.
    pub(super) async fn connect(
        at: SocketAddr,
        named: Ipv6Addr,
        path: Arc<str>,
        mut tls: ClientConfig,
        patience: Duration,
    ) -> Result<Self, NetError> {
        let authority = match at.port() {
            PORT => format!("[{named}]"),
            port => format!("[{named}]:{port}"),
        };
        let uri = Uri::builder().scheme("https").authority(authority).path_and_query(&*path);
        let uri = uri.build().map_err(message)?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(at).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::IpAddress(std::net::IpAddr::V6(named).into());
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await?;
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false);
        let (h2, connection) = builder.handshake(stream).await.map_err(message)?;
        // Ends with the last handle of `h2`; what goes wrong is told to those who wait for an answer.
        tokio::spawn(connection);
        Ok(Self { h2, uri, patience, is_shutdown: false })
    }
}

impl DnsRequestSender for Https {
    fn send_message(&mut self, mut request: DnsRequest) -> DnsResponseStream {
        // So that equal questions are equal requests (RFC 8484, 4.1).
        request.metadata.id = 0;
        let bytes = match request.to_vec() {
            Ok(bytes) => Bytes::from(bytes),
            Err(e) => return NetError::from(e).into(),
        };
        let asking = ask(self.h2.clone(), self.uri.clone(), bytes);
        let patience = self.patience;
        Box::pin(async move { timeout(patience, asking).await.map_err(|_elapsed| NetError::Timeout)? }).into()
    }

    fn shutdown(&mut self) {
        self.is_shutdown = true;
    }

    fn is_shutdown(&self) -> bool {
        self.is_shutdown
    }
}

impl Stream for Https {
    type Item = Result<(), NetError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_shutdown {
            return Poll::Ready(None);
        }
        // Says whether the connection still takes requests.
        match self.get_mut().h2.poll_ready(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Some(Ok(()))),
            Poll::Ready(Err(e)) => Poll::Ready(Some(Err(message(e)))),
            Poll::Pending => Poll::Pending,
        }
    }
}

async fn ask(h2: SendRequest<Bytes>, uri: Uri, question: Bytes) -> Result<DnsResponse, NetError> {
    let request = Request::post(uri)
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, MEDIA_TYPE)
        .header(header::ACCEPT, MEDIA_TYPE)
        .header(header::CONTENT_LENGTH, question.len())
        .body(())
        .map_err(message)?;
    let (response, mut body) =
        h2.ready().await.map_err(message)?.send_request(request, false).map_err(message)?;
    body.send_data(question, true).map_err(message)?;
    let response = response.await.map_err(message)?;
    let media = response.headers().get(header::CONTENT_TYPE);
    if !response.status().is_success() || media.is_none_or(|media| media != MEDIA_TYPE) {
        return Err(NetError::Msg(format!("answered HTTP {} and no DNS message", response.status())));
    }
    let (mut answer, mut body) = (Vec::new(), response.into_body());
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(message)?;
        answer.extend_from_slice(&piece);
        if answer.len() > LONGEST {
            return Err(NetError::Message("answered more than a DNS message can hold"));
        }
        body.flow_control().release_capacity(piece.len()).map_err(message)?;
    }
    Ok(DnsResponse::from_buffer(answer)?)
}

fn message(error: impl ToString) -> NetError {
    NetError::Msg(error.to_string())
}
