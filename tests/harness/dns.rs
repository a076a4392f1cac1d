//! The lab's DNS server: authoritative for everything, remembers every query.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use hickory_proto::{
    op::{Edns, Message, Metadata, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, CNAME, HTTPS, SOA, SVCB, TXT,
            svcb::{Alpn, EchConfigList, IpHint, SvcParamKey, SvcParamValue},
        },
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use tokio_rustls::TlsAcceptor;

use crate::{hosts, peculiar, pki::Pki, seen::Seen};

const TTL: u32 = 60;

/// One query as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuery {
    /// Lower case, without the final dot.
    pub name: String,
    /// `A`, `AAAA`, `TXT` ...
    pub kind: String,
    pub from: SocketAddr,
    /// The address of ours that was asked.
    pub to: IpAddr,
    pub tcp: bool,
}

/// The port of DNS over TLS (RFC 7858, 3.1).
pub const TLS_PORT: u16 = 853;

/// Serves UDP and TCP port 53 of `addr`, and TLS on its port with the certificate of the name the client gives, until
/// the runtime ends.
pub async fn serve(addr: IpAddr, seen: Seen<DnsQuery>, pki: &Pki) -> io::Result<()> {
    let tls = TcpListener::bind((addr, TLS_PORT)).await?;
    tokio::spawn(serve_tls(tls, TlsAcceptor::from(pki.server_config(&[])), addr, seen.clone()));
    let udp = UdpSocket::bind((addr, 53)).await?;
    let tcp = TcpListener::bind((addr, 53)).await?;
    tokio::spawn(serve_udp(udp, addr, seen.clone()));
    tokio::spawn(async move {
        while let Ok((stream, from)) = tcp.accept().await {
            tokio::spawn(serve_tcp(stream, from, addr, seen.clone()));
        }
    });
    Ok(())
}

async fn serve_udp(socket: UdpSocket, to: IpAddr, seen: Seen<DnsQuery>) {
    let mut buf = [0; 4096];
    loop {
        // An ICMP error for an earlier answer is reported here; it ends nothing.
        let Ok((len, from)) = socket.recv_from(&mut buf).await else { continue };
        if let Some(answer) = answer(&buf[..len], from, to, false, &seen) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, to: IpAddr, seen: Seen<DnsQuery>) {
    while let Ok((stream, from)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move { serve_tcp(acceptor.accept(stream).await?, from, to, seen).await });
    }
}

async fn serve_tcp<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    from: SocketAddr,
    to: IpAddr,
    seen: Seen<DnsQuery>,
) -> io::Result<()> {
    loop {
        let len = stream.read_u16().await?;
        let mut buf = vec![0; len.into()];
        stream.read_exact(&mut buf).await?;
        if let Some(answer) = answer(&buf, from, to, true, &seen) {
            stream.write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?).await?;
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
    }
}

/// The bytes to send back; `None` for what is not a query and for [`hosts::SILENT_NAME`].
fn answer(bytes: &[u8], from: SocketAddr, to: IpAddr, tcp: bool, seen: &Seen<DnsQuery>) -> Option<Vec<u8>> {
    let request = Message::from_vec(bytes).ok()?;
    let query = request.queries.first()?;
    let name = query.name.to_lowercase().to_string();
    let name = name.trim_end_matches('.').to_owned();
    seen.push(DnsQuery { name: name.clone(), kind: query.query_type.to_string(), from, to, tcp });
    if name == hosts::SILENT_NAME {
        return None;
    }
    let mut response = respond(&request, query, &name);
    if !tcp && response.to_vec().ok()?.len() > usize::from(request.max_payload()) {
        response = response.truncate();
    }
    response.to_vec().ok()
}

fn respond(request: &Message, query: &Query, name: &str) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata = Metadata::response_from_request(&request.metadata);
    response.metadata.authoritative = true;
    response.metadata.recursion_available = true;
    response.queries = request.queries.clone();
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        response.edns = Some(edns);
    }
    let (known, answers) = records(query, name);
    if !known {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    if answers.is_empty() {
        response.authorities.push(soa());
    }
    response.answers = answers;
    response
}

/// Whether the name exists, and its records of the type asked for.
fn records(query: &Query, name: &str) -> (bool, Vec<Record>) {
    if peculiar::is_known(name) {
        return (true, addresses(&query.name, peculiar::HOST, query.query_type));
    }
    if let Some((_, target)) = hosts::ALIASES.iter().find(|(alias, _)| *alias == name) {
        let target_name = Name::from_ascii(format!("{target}.")).expect("the lab's names are names");
        let mut answers =
            vec![Record::from_rdata(query.name.clone(), TTL, RData::CNAME(CNAME(target_name.clone())))];
        answers.extend(addresses(&target_name, target, query.query_type));
        return (true, answers);
    }
    let known = hosts::HOSTS.iter().any(|host| host.name == name);
    (known, if known { addresses(&query.name, name, query.query_type) } else { Vec::new() })
}

fn addresses(owner: &Name, name: &str, kind: RecordType) -> Vec<Record> {
    let host = hosts::host(name);
    let data = match kind {
        RecordType::A => host.v4.map(|addr| RData::A(A(addr))),
        RecordType::AAAA => host.v6.map(|addr| RData::AAAA(AAAA(addr))),
        RecordType::HTTPS => Some(RData::HTTPS(https(host.v4))),
        RecordType::TXT => Some(RData::TXT(TXT::new(vec![format!("text of {name}")]))),
        _ => None,
    };
    data.map(|data| Record::from_rdata(owner.clone(), TTL, data)).into_iter().collect()
}

/// What a content network says of its customers: HTTP/3 first, an ECH configuration, addresses.
fn https(v4: Option<Ipv4Addr>) -> HTTPS {
    let alpn = SvcParamValue::Alpn(Alpn(vec!["h3".to_owned(), "h2".to_owned()]));
    let hint = SvcParamValue::Ipv4Hint(IpHint(v4.into_iter().map(A).collect()));
    let ech = SvcParamValue::EchConfigList(EchConfigList(vec![0, 4, 0xfe, 0x0d, 0, 0]));
    let params =
        vec![(SvcParamKey::Alpn, alpn), (SvcParamKey::Ipv4Hint, hint), (SvcParamKey::EchConfigList, ech)];
    HTTPS(SVCB::new(1, Name::root(), params))
}

fn soa() -> Record {
    let zone = Name::from_ascii("test.").expect("the zone is a name");
    let server = Name::from_ascii("ns.test.").expect("the server is a name");
    Record::from_rdata(zone, TTL, RData::SOA(SOA::new(server.clone(), server, 1, 3600, 600, 86400, TTL)))
}
