//! Certificates in real handshakes.

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, pki_types::ServerName,
    sign::SingleCertAndKey,
};

use super::*;

fn leaves() -> Leaves {
    Leaves::new(Arc::new(Authority::new("test", None).unwrap())).unwrap()
}

/// A whole handshake of a client that trusts the CA alone and dials `name`, with the certificate of `host`.
fn handshake(leaves: &Leaves, host: &str, name: &str) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(leaves.authority.certificate().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let leaf = leaves.get(&Host::parse(host).unwrap()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(leaf))));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut flight = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        flight.clear();
        client.write_tls(&mut flight).unwrap();
        server.read_tls(&mut &flight[..]).unwrap();
        server.process_new_packets()?;
        flight.clear();
        server.write_tls(&mut flight).unwrap();
        client.read_tls(&mut &flight[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_certificate_covers_what_was_dialled_and_nothing_else() {
    let leaves = leaves();
    let long = format!("{0}.{0}.{0}.test", "a".repeat(60));
    for host in
        ["a.test", "localhost", "127.0.0.1", "::1", "203.0.113.7", "2001:db8::7", "xn--bcher-kva.test", &long]
    {
        handshake(&leaves, host, host).unwrap_or_else(|error| panic!("{host}: {error}"));
        for other in ["b.test", "x.a.test", "test", "203.0.113.8", "2001:db8::8"] {
            handshake(&leaves, host, other).expect_err(other);
        }
    }
}

#[test]
fn a_client_that_does_not_trust_the_ca_takes_none() {
    let (ours, others) = (leaves(), leaves());
    let mixed = Leaves { authority: Arc::clone(&ours.authority), ..others };
    mixed.made.lock().unwrap().by_host.insert(Host::parse("a.test").unwrap(), {
        let strangers = leaves();
        strangers.get(&Host::parse("a.test").unwrap()).unwrap()
    });
    assert!(matches!(handshake(&mixed, "a.test", "a.test"), Err(rustls::Error::InvalidCertificate(_))));
}

#[test]
fn one_is_made_once_and_so_many_are_kept() {
    let leaves = leaves();
    let get = |name: &str| leaves.get(&Host::parse(name).unwrap()).unwrap();
    let first = get("n0.test");
    assert!(Arc::ptr_eq(&first, &get("n0.test")));
    for n in 1..=MOST {
        get(&format!("n{n}.test"));
    }
    let made = leaves.made.lock().unwrap();
    assert_eq!((made.by_host.len(), made.order.len()), (MOST, MOST));
    drop(made);
    let again = get("n0.test");
    assert!(!Arc::ptr_eq(&first, &again) && first.cert[0] != again.cert[0]);
}

#[test]
fn no_two_share_a_number() {
    let leaves = leaves();
    let number = |name: &str| {
        let leaf = leaves.get(&Host::parse(name).unwrap()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&leaf.cert[0]).unwrap();
        assert!(!parsed.is_ca());
        parsed.raw_serial().to_vec()
    };
    let numbers: std::collections::HashSet<_> = (0..100).map(|n| number(&format!("n{n}.test"))).collect();
    assert!(numbers.len() == 100 && numbers.iter().all(|n| n.len() == 16 && n[0] & 0xc0 == 0x40));
}
