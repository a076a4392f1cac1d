//! A path of trust that cannot be read inside is an error that names it, and nothing is run.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use harness::{Lab, Run, machine};

use super::{HELLO, on};

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

#[track_caller]
fn nothing_ran(lab: &Lab, run: &Run<'_>, named: &str, why: &str) {
    let out = run.run(&["touch", "ran"]);
    out.code(125).fast().stderr_contains(named).stderr_contains(why);
    out.check(!lab.dir().work().join("ran").exists(), || "nothing run".into());
}

fn closed(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("close a directory");
}

/// A machine that was set up with umask 077: root's own programs do not notice.
#[test]
fn a_store_that_the_user_cannot_enter_is_an_error() {
    let lab = Lab::new();
    closed(lab.ca_file().parent().expect("it has one"));
    for mode in ["on", "deny-only"] {
        let run = lab.awf().allow("allowed.test").args(["--tls", mode]);
        nothing_ran(&lab, &run, BUNDLE, "Permission denied");
    }
    // With the machine's files nothing of ours lies there, and where nothing is intercepted nothing is looked at.
    on(&lab, "allowed.test").machine_files().sh("curl -sS https://allowed.test/").ok().stdout_contains(HELLO);
    lab.awf().allow("allowed.test").run(&["true"]).ok();
}

#[test]
fn a_mount_that_closes_the_store_is_an_error() {
    let lab = Lab::new();
    let other = lab.dir().root().join("other");
    fs::create_dir_all(other.join("certs")).expect("make a store");
    fs::copy(lab.ca_file(), other.join("certs/ca-certificates.crt")).expect("fill it");
    let mount = format!("{}:/etc/ssl:ro", other.display());
    let run = || on(&lab, "allowed.test").args(["--mount", &mount]);
    run().sh("curl -sS https://allowed.test/").ok().stdout_contains(HELLO);
    closed(&other);
    nothing_ran(&lab, &run(), BUNDLE, "Permission denied");
}

/// What lies below /run cannot be reached then, which is all that `--chroot off` has.
#[test]
fn a_place_of_ours_that_the_user_cannot_enter_is_an_error() {
    let lab = Lab::new();
    let run_dir = lab.dir().root().join("run");
    fs::create_dir(&run_dir).expect("make a directory");
    closed(&run_dir);
    machine::cover(lab.machine(), Path::new("/run"), &run_dir);
    let run = on(&lab, "allowed.test").machine_files();
    nothing_ran(&lab, &run, "/run/awf-bpf/tls/ca.pem", "Permission denied");
    // A root of the command's own has a /run of its own.
    on(&lab, "allowed.test").sh("curl -sS https://allowed.test/").ok().stdout_contains(HELLO);
}

/// Nobody vouches for any server then; the client is told, and so is the user.
#[test]
fn a_machine_without_roots_is_told_so() {
    let lab = Lab::new();
    fs::write(lab.ca_file(), "").expect("empty the bundle");
    let store = fs::read_dir(lab.ca_file().parent().expect("it has one")).expect("read the store");
    for entry in store.filter_map(Result::ok).filter(|e| e.path().extension().is_some_and(|e| e == "0")) {
        fs::remove_file(entry.path()).expect("remove the CA");
    }
    for run in [on(&lab, "allowed.test"), on(&lab, "allowed.test").machine_files()] {
        let out = run.run(&["curl", "-sS", "-i", "https://allowed.test/"]);
        out.ok().stdout_contains("upstream_certificate").stderr_contains("trusts no CA");
        out.check(!out.stdout().contains(HELLO), || "nothing of the origin".into());
    }
}
