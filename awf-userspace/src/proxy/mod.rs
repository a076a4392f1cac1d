//! The in-process proxy: accepts what the kernel programs send, decides by name, dials by name.

pub mod seam;

pub use seam::{Origin, OriginalDst, Owner, Resolve, ResolveError};
