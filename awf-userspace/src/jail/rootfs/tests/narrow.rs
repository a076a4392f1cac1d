//! `allow_write`: what it takes away, and that it gives nothing.

use std::path::PathBuf;

use super::super::RootfsPlan;
use super::{MERGED, host, mount, seen, wanted};

fn narrowed(allowed: &[&str], mounts: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let mut wanted = wanted();
    wanted.allow_write = Some(allowed.iter().map(PathBuf::from).collect());
    wanted.mounts = mounts.iter().map(|text| mount(text)).collect();
    let entries = ["/home/u/proj/out/", "/home/u/log", "/data/d/x/", "/home/u/l -> log", "/home/u/.ssh/k/"];
    match RootfsPlan::new(&wanted, &host(&[MERGED, &entries].concat())) {
        Ok(plan) => {
            Ok(seen(&plan).into_iter().filter(|l| !l.starts_with("/usr") && !l.starts_with("/etc")).collect())
        }
        Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

#[test]
fn only_what_is_listed_is_writable() {
    let shown = |allowed: &[&str], mounts: &[&str]| narrowed(allowed, mounts).unwrap();
    assert_eq!(shown(&[], &["/data/d:/mnt"]), ["/mnt ro from /data/d", "/home/u ro", "/home/u/.ssh hidden"]);
    assert_eq!(
        shown(&["/home/u/proj/out", "/home/u/log", "/mnt/x"], &["/data/d:/mnt"]),
        [
            "/mnt ro from /data/d",
            "/home/u ro",
            "/mnt/x rw from /data/d/x",
            "/home/u/.ssh hidden",
            "/home/u/log rw",
            "/home/u/proj/out rw"
        ]
    );
    assert_eq!(shown(&["/home/u/proj"], &[]), ["/home/u ro", "/home/u/proj rw", "/home/u/.ssh hidden"]);
    // Writable whatever the list says.
    assert_eq!(shown(&["/tmp", "/dev/shm", "/var/tmp"], &[]), shown(&[], &[]));
    assert_eq!(shown(&["/home/u"], &[]), ["/home/u rw", "/home/u/.ssh hidden"]);
}

#[test]
fn what_was_not_writable_does_not_become_so() {
    let mounts = ["/home/u/proj:/home/u/proj:ro", "/data/d:/mnt"];
    let cases = [
        ("/etc", "is not in what"),
        ("/usr/bin", "is not in what"),
        ("/home", "is not in what"),
        ("/tmp/x", "is not in what"),
        ("/home/u/proj/out", "is not in what"),
        ("/home/u/gone", "does not exist"),
        ("/home/u/l", "symbolic link"),
        ("/home/u/.ssh", "credentials"),
        ("/home/u/.ssh/k", "credentials"),
        ("/mnt/gone", "does not exist"),
    ];
    for (path, why) in cases {
        let got = narrowed(&[path], &mounts).unwrap_err();
        assert!(got.len() == 1 && got[0].contains(why) && got[0].contains(path), "{path}: {got:?}");
    }
    assert_eq!(narrowed(&cases.map(|(path, _)| path), &mounts).unwrap_err().len(), cases.len());
}
