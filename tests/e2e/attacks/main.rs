//! Every way out that is known, tried: with enforcement off the canary must hear it, behind awf-bpf it must not.
//!
//! A line of a table is three tests: `without_enforcement`, `isolated` (`exec`) and `host_network`
//! (`exec --network host`, where no private namespace helps). One file a layer of the design: what the kernel hooks
//! stop, what no hook of theirs sees, what the jail must close, what is said to the proxy and the resolver.

mod attack;
mod breakout;
mod deaf;
mod host;
mod kernel;
mod outside;

mod foreign;
mod hooks;
mod jail;
mod names;
