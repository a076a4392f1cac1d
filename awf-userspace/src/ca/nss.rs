//! NSS's data base of certificates (`cert9.db`), with the run's CA as one that servers are believed by: what Chromium and all
//! that is built on it reads. Pure.
//!
//! It is a table whose rows are PKCS #11 objects and whose columns are their attributes, by number in hexadecimal
//! (security/nss/lib/softoken/sdb.c). NSS makes what else it wants beside it, and columns that it has come to know since
//! are looked for before they are used. Values are as `certutil -A -t C,,` writes them.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::sqlite::{self, Table, Value};

/// Below HOME.
pub const DATA_BASE: &str = ".pki/nssdb";
/// In it.
pub const FILE: &str = "cert9.db";
const TABLE: &str = "nssPublic";

/// Of NSS 3.87: every attribute that it knows.
#[rustfmt::skip]
const COLUMNS: &[&str] = &[
    "a0", "a1", "a2", "a3", "a10", "a11", "a12", "a80", "a81", "a82", "a83", "a84", "a85", "a86", "a87", "a88", "a89",
    "a8a", "a8b", "a90", "a100", "a101", "a102", "a103", "a104", "a105", "a106", "a107", "a108", "a109", "a10a", "a10b",
    "a10c", "a110", "a111", "a120", "a121", "a122", "a123", "a124", "a125", "a126", "a127", "a128", "a129", "a130", "a131",
    "a132", "a133", "a134", "a160", "a161", "a162", "a163", "a164", "a165", "a166", "a170", "a180", "a181", "a200", "a201",
    "a202", "a210", "a300", "a301", "a302", "a400", "a401", "a402", "a403", "a404", "a405", "a406", "a480", "a481", "a482",
    "a500", "a501", "a502", "a503", "a40000211", "a40000212", "a80000001", "ace534351", "ace534352", "ace534353",
    "ace534354", "ace534355", "ace534356", "ace534357", "ace534358", "ace534364", "ace534365", "ace534366", "ace534367",
    "ace534368", "ace534369", "ace534373", "ace534374", "ace536351", "ace536352", "ace536353", "ace536354", "ace536355",
    "ace536356", "ace536357", "ace536358", "ace536359", "ace53635a", "ace53635b", "ace53635c", "ace53635d", "ace53635e",
    "ace53635f", "ace536360", "ace5363b4", "ace5363b5", "ad5a0db00",
];

/// Attributes (pkcs11t.h, pkcs11n.h).
const CLASS: &str = "a0";
const TOKEN: &str = "a1";
const PRIVATE: &str = "a2";
const LABEL: &str = "a3";
const VALUE: &str = "a11";
const CERTIFICATE_TYPE: &str = "a80";
const ISSUER: &str = "a81";
const SERIAL_NUMBER: &str = "a82";
const SUBJECT: &str = "a101";
const ID: &str = "a102";
const MODIFIABLE: &str = "a170";
const TRUST_SERVER_AUTH: &str = "ace536358";
const TRUST_CLIENT_AUTH: &str = "ace536359";
const TRUST_CODE_SIGNING: &str = "ace53635a";
const TRUST_EMAIL_PROTECTION: &str = "ace53635b";
const TRUST_STEP_UP_APPROVED: &str = "ace536360";
const CERT_SHA1_HASH: &str = "ace5363b4";

/// Classes: `CKO_CERTIFICATE`, `CKO_NSS_TRUST`.
const CERTIFICATE: [u8; 4] = [0, 0, 0, 1];
const TRUST: [u8; 4] = [0xce, 0x53, 0x43, 0x53];
/// `CKC_X_509`
const X_509: [u8; 4] = [0; 4];
/// `CKT_NSS_TRUSTED_DELEGATOR`: a CA, and believed.
const TRUSTED_DELEGATOR: [u8; 4] = [0xce, 0x53, 0x43, 0x52];
/// `CKT_NSS_VALID_DELEGATOR`: a CA, and believed if somebody else vouches for it.
const VALID_DELEGATOR: [u8; 4] = [0xce, 0x53, 0x43, 0x5b];
/// `CKT_NSS_MUST_VERIFY_TRUST`: nothing is said.
const MUST_VERIFY: [u8; 4] = [0xce, 0x53, 0x43, 0x53];
const YES: [u8; 1] = [1];
const NO: [u8; 1] = [0];
/// An attribute that is there and empty (`SQLITE_EXPLICIT_NULL`).
const EMPTY: [u8; 3] = [0xa5, 0x00, 0x5a];

/// A data base that believes `chain` about servers, and nothing else; `None` if they cannot be understood or are more than
/// it has room for (some 60 KiB).
pub(super) fn write(chain: &[CertificateDer<'static>]) -> Option<Vec<u8>> {
    let mut objects = Vec::new();
    for (number, der) in chain.iter().enumerate() {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let label = if number == 0 { "awf-bpf".to_owned() } else { format!("awf-bpf signer {number}") };
        let serial = integer(parsed.raw_serial())?;
        objects.push(certificate(der, &parsed, &serial, label));
        objects.push(trust(der, &parsed, &serial));
    }
    let rows: Vec<_> = objects.into_iter().zip(1..).map(|(object, id)| row(id, &object)).collect();
    let columns = COLUMNS.join(", ");
    let sql = format!("CREATE TABLE {TABLE} (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, {columns})");
    sqlite::file(&Table { name: TABLE, sql: &sql, rows: &rows })
}

type Object = Vec<(&'static str, Vec<u8>)>;

fn certificate(der: &[u8], parsed: &X509Certificate<'_>, serial: &[u8], label: String) -> Object {
    let mut object = common(CERTIFICATE, parsed, serial, label.into());
    object.extend([
        (VALUE, der.to_vec()),
        (CERTIFICATE_TYPE, X_509.to_vec()),
        (SUBJECT, parsed.subject().as_raw().to_vec()),
        (ID, sha1(&parsed.public_key().subject_public_key.data)),
    ]);
    object
}

fn trust(der: &[u8], parsed: &X509Certificate<'_>, serial: &[u8]) -> Object {
    let mut object = common(TRUST, parsed, serial, EMPTY.to_vec());
    object.extend([
        (TRUST_SERVER_AUTH, TRUSTED_DELEGATOR.to_vec()),
        (TRUST_CLIENT_AUTH, VALID_DELEGATOR.to_vec()),
        (TRUST_CODE_SIGNING, MUST_VERIFY.to_vec()),
        (TRUST_EMAIL_PROTECTION, MUST_VERIFY.to_vec()),
        (TRUST_STEP_UP_APPROVED, NO.to_vec()),
        (CERT_SHA1_HASH, sha1(der)),
    ]);
    object
}

fn common(class: [u8; 4], parsed: &X509Certificate<'_>, serial: &[u8], label: Vec<u8>) -> Object {
    vec![
        (CLASS, class.to_vec()),
        (TOKEN, YES.to_vec()),
        (PRIVATE, NO.to_vec()),
        (LABEL, label),
        (ISSUER, parsed.issuer().as_raw().to_vec()),
        (SERIAL_NUMBER, serial.to_vec()),
        (MODIFIABLE, YES.to_vec()),
    ]
}

/// DER of an INTEGER with these bytes, of which serial numbers have 20 at most (RFC 5280, 4.1.2.2).
fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 0x80)?;
    Some([&[0x02, length], bytes].concat())
}

fn row(id: u32, object: &Object) -> Vec<Value> {
    let value =
        |column: &&str| object.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone());
    let values = COLUMNS.iter().map(|column| value(column).map_or(Value::Null, Value::Blob));
    [Value::Integer(id)].into_iter().chain(values).collect()
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests;
