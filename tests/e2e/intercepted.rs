//! TLS that ends in the proxy (`--tls on`): what real clients make of it.

use harness::Lab;

#[test]
fn first() {
    let lab = Lab::new();
    for run in [lab.awf(), lab.awf().no_proxy_env(), lab.awf().machine_files()] {
        let out =
            run.allow("allowed.test").args(["--tls", "on"]).run(&["curl", "-sSv", "https://allowed.test/"]);
        println!("{out}");
    }
    let out = lab.awf().allow("allowed.test").args(["--tls", "deny-only"]).run(&[
        "curl",
        "-sSv",
        "https://denied.test/a?b",
    ]);
    println!("{out}");
}
