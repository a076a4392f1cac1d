//! Certificates in a row, each once, and the PEM files they are read from and written to (RFC 7468). Pure.
//!
//! What is read may be anybody's: a block that is no certificate is left out and counted, because OpenSSL, Java and Go
//! refuse, or stop reading, a whole file for one of them.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";
/// Characters of base64 in a line.
const LINE: usize = 64;
/// Certificates taken from one file; the largest stores in use have some 400.
const MOST: usize = 4096;

/// Certificates in the order they were added, without duplicates.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
    seen: HashSet<CertificateDer<'static>>,
}

impl Bundle {
    /// Adds what is not there yet.
    pub fn add<'a>(&mut self, more: impl IntoIterator<Item = &'a CertificateDer<'static>>) {
        for certificate in more {
            if self.seen.insert(certificate.clone()) {
                self.certificates.push(certificate.clone());
            }
        }
    }

    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// As a file that every client reads: nothing but certificates.
    #[must_use]
    pub fn pem(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for certificate in &self.certificates {
            let base64 = STANDARD.encode(certificate);
            let lines = base64.as_bytes().chunks(LINE);
            for line in [BEGIN].into_iter().chain(lines).chain([END]) {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
        }
        text
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    pub certificates: Vec<CertificateDer<'static>>,
    /// How many more there are that cannot be understood, or are too many.
    pub broken: usize,
}

impl Contents {
    /// Of `bytes`: PEM with anything between the blocks, or one certificate as DER.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        if is_certificate(bytes) {
            found.certificates.push(CertificateDer::from(bytes.to_vec()));
            return found;
        }
        let mut rest = bytes;
        while let Some(at) = position(rest, BEGIN) {
            let block = &rest[at..];
            // Up to the next beginning: of a block without an end nothing else is lost.
            let next = position(&block[BEGIN.len()..], BEGIN).map_or(block.len(), |next| BEGIN.len() + next);
            match CertificateDer::from_pem_slice(&block[..next]) {
                Ok(der) if is_certificate(&der) && found.certificates.len() < MOST => {
                    found.certificates.push(der);
                }
                _ => found.broken += 1,
            }
            rest = &block[next..];
        }
        found
    }
}

/// Whether `der` is one certificate and nothing else.
pub(super) fn is_certificate(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::Authority;

    fn made(name: &str) -> CertificateDer<'static> {
        Authority::new(name, None).unwrap().certificate().clone()
    }

    fn pem(of: &[&CertificateDer<'static>]) -> Vec<u8> {
        let mut bundle = Bundle::default();
        bundle.add(of.iter().copied());
        bundle.pem()
    }

    #[test]
    fn what_is_written_is_read_again_in_order_and_once() {
        let all: Vec<_> = (0..3).map(|i| made(&i.to_string())).collect();
        let text = pem(&[&all[0], &all[1], &all[0], &all[2], &all[1]]);
        assert_eq!(Contents::of(&text), Contents { certificates: all, broken: 0 });
        let longest = text.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
        assert_eq!(longest, Some(LINE));
    }

    #[test]
    fn a_broken_block_costs_itself_alone() {
        let (one, two) = (made("1"), made("2"));
        let (one_pem, two_pem) = (pem(&[&one]), pem(&[&two]));
        let no_end = &one_pem[..one_pem.len() - 30];
        let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_base64 = b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n";
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (broken, bad) in
            [(no_end, 1), (no_certificate.as_slice(), 1), (no_base64, 1), (key, 0), (b"# text\n", 0)]
        {
            let text = [&one_pem, broken, &two_pem].concat();
            let want = Contents { certificates: vec![one.clone(), two.clone()], broken: bad };
            assert_eq!(Contents::of(&text), want, "{}", String::from_utf8_lossy(broken));
        }
    }

    #[test]
    fn der_is_taken_and_what_is_neither_holds_nothing() {
        let one = made("1");
        assert_eq!(Contents::of(&one).certificates, std::slice::from_ref(&one));
        let more = [&one[..], b"x"].concat();
        for none in [&b""[..], b"\0\0\0", b"root:x:0:0", &more] {
            assert_eq!(Contents::of(none), Contents::default());
        }
    }
}
