//! The only home of `unsafe` in userspace: one small file a mechanism, each with a safe face.

pub mod birth;
pub mod pod;
