//! The name under which OpenSSL looks for a CA in a directory: X509_NAME_hash(3), as `openssl x509 -subject_hash` and
//! `openssl rehash` say it since 1.0.0. Pure.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{asn1_rs::Any, asn1_rs::Tag, certificate::X509Certificate, prelude::FromDer as _};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;

/// `5ed36f99`, of `5ed36f99.0`; `None` for what is no certificate.
#[must_use]
pub(super) fn subject_hash(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut canonical = Vec::new();
    for names in certificate.subject().iter() {
        let one = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            let oid = tlv(OID, attribute.attr_type().as_bytes());
            tlv(SEQUENCE, &[oid, value(attribute.attr_value())].concat())
        };
        let mut all: Vec<_> = names.iter().map(one).collect();
        all.sort();
        canonical.extend(tlv(SET, &all.concat()));
    }
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    let first = sha1.as_ref().first_chunk().map(|first| u32::from_le_bytes(*first))?;
    Some(format!("{first:08x}"))
}

/// Text as UTF-8, in lower case, with single blanks (`asn1_string_canon` of crypto/x509/x_name.c); anything else as it
/// is.
fn value(value: &Any<'_>) -> Vec<u8> {
    let Some(text) = utf8(value) else {
        // Its tag fits into five bits: larger ones are no text, and in no name.
        let constructed = u8::from(value.header.is_constructed()) << 5;
        let class = (value.header.class() as u8) << 6;
        return tlv(class | constructed | value.tag().0.to_be_bytes()[3], value.data);
    };
    let mut canonical = String::new();
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
    for word in text.split(is_blank).filter(|word| !word.is_empty()) {
        if !canonical.is_empty() {
            canonical.push(' ');
        }
        canonical.push_str(&word.to_ascii_lowercase());
    }
    tlv(UTF8, canonical.as_bytes())
}

/// The types of `ASN1_MASK_CANON`.
fn utf8(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => String::from_utf8(value.data.to_vec()).ok(),
        // Of T61String OpenSSL, too, takes the bytes for Latin-1.
        Tag::PrintableString | Tag::Ia5String | Tag::VisibleString | Tag::T61String => {
            Some(value.data.iter().map(|byte| char::from(*byte)).collect())
        }
        Tag::BmpString => {
            let units = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let code = |four: &[u8]| u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
            value.data.chunks_exact(4).map(|four| char::from_u32(code(four))).collect()
        }
        _ => None,
    }
}

/// DER of one element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.push(content.len() as u8);
    } else {
        out.push(0x80 | significant.len() as u8);
        out.extend(significant);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;
    use crate::ca::bundle::Contents;

    /// What openssl(1) says of the same.
    fn asked(der: &CertificateDer<'_>) -> String {
        let file = std::env::temp_dir().join(format!("awf-hash-{}-{:p}", std::process::id(), der.as_ptr()));
        std::fs::write(&file, der).unwrap();
        let said = Command::new("openssl")
            .args(["x509", "-inform", "DER", "-noout", "-subject_hash", "-in"])
            .arg(&file)
            .output()
            .expect("openssl is installed");
        std::fs::remove_file(&file).unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    fn named(values: &[(DnType, DnValue)]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        values.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn names_of_every_kind_hash_as_openssl_says() {
        let text = |text: &str| DnValue::Utf8String(text.into());
        let cases = [
            named(&[(DnType::CommonName, text("awf-bpf session 0123"))]),
            named(&[
                (DnType::OrganizationName, text("  A \t b\n C  ")),
                (DnType::CommonName, text("Ärger ÄÖ")),
            ]),
            named(&[(DnType::CommonName, DnValue::PrintableString("Upper  Case".try_into().unwrap()))]),
            named(&[(DnType::CommonName, DnValue::Ia5String("Mail@Example.COM".try_into().unwrap()))]),
            named(&[(DnType::CommonName, DnValue::TeletexString("Tele  Tex".try_into().unwrap()))]),
            named(&[(DnType::CommonName, DnValue::BmpString("Grüße  Ω".try_into().unwrap()))]),
            named(&[(DnType::CommonName, DnValue::UniversalString("Uni Ω".try_into().unwrap()))]),
            named(&[(DnType::CommonName, text(&"long ".repeat(60)))]),
            named(&[
                (DnType::CustomDnType(vec![2, 5, 4, 97]), text("Org Id")),
                (DnType::CommonName, text(" ")),
            ]),
            named(&[]),
        ];
        for certificate in cases {
            assert_eq!(subject_hash(&certificate).unwrap(), asked(&certificate));
        }
    }

    /// The links of this machine, made by `openssl rehash`.
    #[test]
    fn the_links_of_this_machine_are_named_so() {
        let mut compared = 0;
        for entry in std::fs::read_dir("/etc/ssl/certs").into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some(hash) = name.strip_suffix(".0").filter(|hash| hash.len() == 8) else { continue };
            let Ok(bytes) = std::fs::read(entry.path()) else { continue };
            for certificate in Contents::of(&bytes).certificates {
                assert_eq!(subject_hash(&certificate).as_deref(), Some(hash), "{name}");
                compared += 1;
            }
        }
        assert!(compared > 0 || !std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists());
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        assert_eq!(subject_hash(&CertificateDer::from(b"0\0".to_vec())), None);
    }
}
