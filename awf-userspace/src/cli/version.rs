//! `awf-bpf version`.

use clap::Args;

use super::stdout::outln;

/// The flags of `version`.
#[derive(Args, Debug)]
pub(super) struct VersionArgs {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints the version.
pub(super) fn version(args: &VersionArgs) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let arch = std::env::consts::ARCH;
        outln!("{}", serde_json::json!({ "name": "awf-bpf", "version": version, "arch": arch }));
    } else {
        outln!("awf-bpf {version}");
    }
    0
}
