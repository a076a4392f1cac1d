//! CMD's start, on the running kernel: needs root and cgroup v2. Every test makes a cgroup of its own and starts
//! real programs through the built `awf-bpf`.

mod escape;
mod hidden;
mod identity;
mod root;
mod seccomp;
mod start;
#[path = "../launch_support/mod.rs"]
mod support;
mod trust;
