//! The in-process proxy: accepts what the kernel programs send, decides by name, dials by name.
//!
//! ```text
//! listener -> connection -> listen (sniff, sni)  -> tunnel                    TLS, CONNECT, other TCP
//!                                                -> http1 (gate: head, chunked)
//!                                                     -> forward (request) -> exchange   one HTTP request
//!                                                -> http2 -> streams (request) -> multiplex   one HTTP/2 stream
//! context: the policy is asked here.  upstream: only here is anything dialled, straight or by chain through an upstream proxy.
//! deny, parting (farewell): what a refusal looks like.  entry: one audit record each, written when it ends; a connection's behind those of its requests.
//! ```

mod activity;
mod agree;
mod asking;
mod behind;
mod body;
mod chain;
pub mod chunked;
mod connection;
mod context;
mod deny;
mod distrust;
mod entry;
mod exchange;
mod expecting;
pub mod farewell;
mod flow;
mod foresight;
mod forward;
mod gate;
pub mod head;
mod held;
mod http1;
mod http2;
mod intercept;
mod judge;
pub mod limits;
mod listen;
mod listener;
mod measured;
mod multiplex;
mod offer;
mod overrides;
mod paced;
mod parting;
mod pipe;
mod relay;
mod replay;
pub mod request;
mod scratch;
pub mod seam;
mod seat;
mod secure;
pub mod sni;
pub mod sniff;
mod streams;
mod tokens;
mod transparent;
mod tunnel;
mod upstream;
mod vouching;
mod websocket;
mod wire;

#[cfg(any(test, awf_fuzz))]
pub mod fuzzing;
#[cfg(test)]
mod tests;

pub use intercept::{Interception, Scope};
pub use limits::Limits;
pub use listener::Proxy;
pub use seam::{Origin, OriginalDst, Owner, Resolve, ResolveError};
pub use secure::Secure;
