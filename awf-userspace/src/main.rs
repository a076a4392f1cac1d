//! The `awf-bpf` binary.
fn main() {}
