//! The lab network, its servers and the sandbox language of the end-to-end tests.
//!
//! ```no_run
//! let lab = harness::Lab::new();
//! let out = lab.awf().allow("allowed.test").run(&["curl", "-sS", "https://allowed.test/"]);
//! out.ok();
//! ```
//!
//! Nothing here dials a real address: a lab is two network namespaces of its own, joined by a veth pair. A test
//! panics where it fails, and a missing tool or missing root is a failure, never a skip.

mod cable;
pub mod canary;
pub mod cgroup;
pub mod dns;
pub mod forward_proxy;
pub mod git;
pub mod hosts;
pub mod lab;
pub mod leftovers;
pub mod machine;
pub mod ns;
pub mod origin;
pub mod output;
pub mod packages;
pub mod patience;
pub mod peculiar;
pub mod pki;
pub mod process;
pub mod procs;
pub mod registries;
pub mod run;
pub mod runner;
pub mod seen;
pub mod site;
pub mod soak;
pub mod tcp;
pub mod terminal;
pub mod tools;
pub mod workdir;

pub use canary::Canary;
pub use cgroup::OwnCgroup;
pub use lab::Lab;
pub use output::Output;
pub use process::Process;
pub use run::Run;
