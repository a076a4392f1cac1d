//! The run's CA inside: real clients trust it, with variables and without; and what is laid out wrongly is an error
//! before anything runs.

mod clients;
mod server;

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use awf_userspace::ca::{self, Authority, Caller, Found};
use awf_userspace::session::trust::{beneath_cover, in_root};

use crate::root::{Place, jailed, mount};
use crate::support::{Run, set_mode, sh};

const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";

fn caller(place: &Place) -> Caller {
    let home = place.0.0.join("home");
    Caller { variables: BTreeMap::new(), here: home.clone(), home, path: vec!["/usr/bin".into()] }
}

fn trust(authority: &Authority, place: &Place) -> ca::Trust {
    ca::Trust::new(authority, &Found::look(&caller(place)))
}

fn authority() -> Authority {
    Authority::new("trust-test", None).unwrap()
}

/// `run` in a root that has `trust`.
fn trusting(run: Run, place: &Place, trust: &ca::Trust) -> Run {
    let mut wanted = place.wanted();
    wanted.trust = in_root(trust);
    jailed(run, &wanted)
}

#[test]
fn every_path_that_a_variable_names_opens_inside() {
    let place = Place::new("trust-paths");
    let trust = trust(&authority(), &place);
    let script = "for name in $(env | sed -n 's|=/run/awf-bpf/tls.*||p'); do eval value=\\$$name; \
        for path in $(echo $value | tr : ' '); do test -s $path && test -r $path || echo \"$name: $path\"; done; done; \
        cat /run/awf-bpf/tls/certs/*.0; ls -ld /run/awf-bpf/tls; (: > /run/awf-bpf/tls/ca.pem) 2> /dev/null || echo no";
    let mut run = trusting(sh(script), &place, &trust);
    run.init.env.extend(trust.variables.clone());
    for called_root in [false, true] {
        run.init.identity.called_root = called_root;
        let ran = run.run();
        let begin = "-----BEGIN CERTIFICATE-----\n";
        assert!(ran.text().starts_with(begin), "{ran:?}");
        assert_eq!(ran.text().matches(begin).count(), 1, "{ran:?}");
        assert!(ran.text().contains("drwxr-xr-x ") && ran.text().ends_with("no\n"), "{ran:?}");
    }
}

#[test]
fn the_machines_own_files_are_as_they_were() {
    let place = Place::new("trust-host");
    let look = || (std::fs::read(DEBIAN).ok(), std::fs::read_dir("/etc/ssl/certs").map(Iterator::count).ok());
    let before = look();
    let trust = trust(&authority(), &place);
    let script = "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt; ls /etc/ssl/certs | wc -l; \
        for f in /etc/ssl/certs/*; do test -r $f || echo $f; done";
    let ran = trusting(sh(script), &place, &trust).run();
    assert_eq!(look(), before);
    assert!(!Path::new("/run/awf-bpf/tls").exists());
    let (Some(bundle), Some(count)) = before else { return };
    let certificates = String::from_utf8(bundle).unwrap().matches("BEGIN CERT").count();
    assert_eq!(ran.text(), format!("{}\n{}\n", certificates + 1, count + 1), "{ran:?}");
}

/// One path after the other is spoilt as a user might: each is named, with what is wrong, and nothing runs.
#[test]
fn a_path_that_cannot_be_read_is_named_and_nothing_runs() {
    type Spoil = fn(&Place, &mut ca::Trust) -> (PathBuf, &'static str);
    let spoils: [(&str, Spoil); 4] = [
        ("closed", |place, trust| {
            let closed = place.0.0.join("closed");
            std::fs::create_dir(&closed).unwrap();
            let at = closed.join("bundle.pem");
            std::fs::write(&at, "x").unwrap();
            set_mode(&closed, 0o700);
            trust.over.push(ca::Over { at: at.clone(), file: ca::BUNDLE.into(), optional: false });
            (at, "Permission denied")
        }),
        ("gone", |_, trust| {
            trust.links.push(("/run/awf-bpf/tls/certs/x.0".into(), "/run/awf-bpf/tls/none.pem".into()));
            ("/run/awf-bpf/tls/certs/x.0".into(), "No such file")
        }),
        ("loop", |_, trust| {
            let at = PathBuf::from("/run/awf-bpf/tls/loop.pem");
            trust.links.push((at.clone(), at.clone()));
            (at, "Too many levels of symbolic links")
        }),
        ("directory", |_, trust| {
            let at = PathBuf::from("/run/awf-bpf/tls/dir.pem");
            trust.links.push((at.clone(), ca::PLACE.into()));
            (at, "Is a directory")
        }),
    ];
    for (name, spoil) in spoils {
        let place = Place::new(&format!("trust-spoilt-{name}"));
        let mut trust = trust(&authority(), &place);
        assert_eq!(trusting(sh("echo ran"), &place, &trust).run().text(), "ran\n");
        let (at, why) = spoil(&place, &mut trust);
        let mut wanted = place.wanted();
        wanted.mounts = vec![];
        wanted.trust = in_root(&trust);
        if name == "closed" {
            wanted.workspaces.push(place.0.0.join("closed"));
        }
        let error = jailed(sh("echo ran"), &wanted).refused();
        let text = error.to_string();
        assert_eq!(error.exit_code(), 125, "{name}: {text}");
        assert!(text.contains(&at.display().to_string()) && text.contains(why), "{name}: {text}");
    }
}

/// What was checked is what CMD opens: something else at the same path is told apart by its content.
#[test]
fn what_lies_over_a_path_is_noticed() {
    let place = Place::new("trust-over");
    let trust = trust(&authority(), &place);
    let mut run = trusting(sh("echo ran"), &place, &trust);
    let plan = run.init.root.as_mut().unwrap();
    let check = plan.checks.iter_mut().find(|check| check.at == Path::new(ca::BUNDLE)).unwrap();
    check.digest[0] ^= 1;
    let error = run.refused();
    assert!(error.exit_code() == 125 && error.to_string().contains(ca::BUNDLE), "{error}");
    assert!(error.to_string().contains("something else"), "{error}");
}

/// HOME of somebody else, whom CMD's user may not visit: its JVM's store is not worth an error.
#[test]
fn a_jvm_that_cannot_be_run_is_left_out_with_a_word() {
    let place = Place::new("trust-jvm");
    let security = place.0.0.join("work space/jdk/lib/security");
    std::fs::create_dir_all(&security).unwrap();
    std::fs::write(security.join("cacerts"), b"what is this").unwrap();
    let mut caller = caller(&place);
    caller.variables.insert("JAVA_HOME".into(), place.0.0.join("work space/jdk").into());
    let trust = ca::Trust::new(&authority(), &Found::look(&caller));
    let digest = "sha256sum < jdk/lib/security/cacerts; sha256sum < /run/awf-bpf/tls/cacerts.jks";
    let ran = trusting(sh(digest), &place, &trust).run();
    let lines: Vec<_> = ran.text().lines().collect();
    assert_eq!(lines[0], lines[1], "{ran:?}");
    set_mode(&security, 0o700);
    chown(&security, Some(0), Some(0)).unwrap();
    let ran = trusting(sh("echo ran"), &place, &trust).run();
    assert!(ran.notes.iter().any(|note| note.contains("security/cacerts")), "{ran:?}");
}

#[test]
fn a_mount_of_the_users_over_the_bundle_has_ours_on_top() {
    let place = Place::new("trust-mount");
    let trust = trust(&authority(), &place);
    let own = place.0.file("own.pem", "nothing", 0o644);
    let mut wanted = place.wanted();
    wanted.mounts = vec![mount(&own, DEBIAN, false)];
    wanted.trust = in_root(&trust);
    let ran = jailed(sh(&format!("grep -c BEGIN {DEBIAN} > /dev/null && echo ours")), &wanted).run();
    assert_eq!(ran.text(), "ours\n", "{ran:?}");
}

/// Without a root of its own CMD finds the files at the same paths, whatever the caller's umask, and the machine has
/// none of them.
#[test]
fn without_a_root_the_files_lie_on_the_cover_of_our_state() {
    std::fs::create_dir_all("/run/awf-bpf").unwrap();
    let place = Place::new("trust-off");
    let trust = trust(&authority(), &place);
    let script = "cat $SSL_CERT_FILE $NODE_EXTRA_CA_CERTS /run/awf-bpf/tls/certs/*.0 | grep -c BEGIN > /dev/null && \
        ls /run/awf-bpf; (: > $SSL_CERT_FILE) 2> /dev/null || echo no; ls -d /run/awf-bpf/tls/java 2> /dev/null";
    let mut run = sh(script);
    run.init.hide = vec!["/run/awf-bpf".into()];
    run.init.trust = beneath_cover(&trust);
    run.init.env.extend(trust.variables.clone());
    let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let ran = run.try_run();
    rustix::process::umask(old);
    let ran = ran.unwrap();
    assert_eq!(ran.text(), "tls\nno\n", "{ran:?}");
    assert!(!Path::new("/run/awf-bpf/tls").exists());
    // Nothing covers the place: nothing is written there.
    run.init.hide.clear();
    let error = run.refused();
    assert!(error.exit_code() == 125 && error.to_string().contains("/run/awf-bpf/tls"), "{error}");
    assert!(!Path::new("/run/awf-bpf/tls").exists());
}
