//! What must hold of any bytes that the proxy is sent, each property a function of those bytes. Fuzzers call them with
//! what they make up, tests with what was found before.
//!
//! The other side of each comparison is a reader that is not ours: rustls for TLS, [`reference`] for HTTP.

pub(super) mod hello;
pub(super) mod reference;
pub(super) mod request;
mod retry;
mod stream;

pub use self::{
    hello::client_hello,
    request::{body, head, request},
    retry::handshake,
};
