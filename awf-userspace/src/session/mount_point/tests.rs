//! HOMEs of every kind, and users who change theirs meanwhile.

use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    process::Command,
};

use super::*;

const USER: User = User { uid: 54_321, gid: 54_322 };
const BELOW: &str = ".pki/nssdb";

/// A directory of root's with a HOME in it, and somebody else's files.
struct Lab(PathBuf);

impl Lab {
    fn new(name: &str) -> Self {
        let lab = Self(std::env::temp_dir().join(format!("awf-mount-point-{}-{name}", std::process::id())));
        fs::create_dir(&lab.0).unwrap();
        fs::set_permissions(&lab.0, fs::Permissions::from_mode(0o755)).unwrap();
        lab.dir("home", USER.uid);
        for (dir, uid) in [("roots", 0), ("roots/nssdb", 0), ("other", 54_323), ("other/nssdb", 54_323)] {
            lab.dir(dir, uid);
        }
        lab
    }

    fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    fn dir(&self, path: &str, uid: u32) {
        fs::create_dir(self.0.join(path)).unwrap();
        chown(self.0.join(path), Some(uid), Some(uid)).unwrap();
    }

    fn point(&self) -> Result<MountPoint, String> {
        MountPoint::new(&self.home(), Path::new(BELOW), USER)
    }

    /// All that there is, with owner and mode.
    fn all(&self) -> BTreeMap<PathBuf, (u32, u32, u64)> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.0.clone()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.insert(path, (meta.uid(), meta.mode(), meta.ino()));
        }
        found
    }

    fn has_record(&self) -> bool {
        let meta = fs::metadata(self.home()).unwrap();
        Path::new(STATE).join(RECORDS).join(format!("{:x}-{:x}", meta.dev(), meta.ino())).exists()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_missing_is_the_users_own_and_gone_afterwards() {
    let lab = Lab::new("missing");
    let before = lab.all();
    let point = lab.point().unwrap();
    assert!(point.is_new && lab.has_record());
    for path in [".pki", BELOW] {
        let meta = fs::metadata(lab.home().join(path)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (USER.uid, USER.gid, 0o700));
    }
    drop(point);
    assert_eq!(lab.all(), before);
    assert!(!lab.has_record());
}

#[test]
fn what_was_there_or_is_in_use_stays() {
    let lab = Lab::new("there");
    lab.dir("home/.pki", USER.uid);
    let before = lab.all();
    drop(lab.point().unwrap());
    assert_eq!(lab.all(), before, "an empty directory that was there");
    let point = lab.point().unwrap();
    fs::write(lab.home().join(BELOW).join("cert9.db"), "the user's").unwrap();
    drop(point);
    assert!(lab.home().join(BELOW).join("cert9.db").exists());
    let point = lab.point().unwrap();
    assert!(!point.is_new);
    drop(point);
    assert!(lab.home().join(BELOW).join("cert9.db").exists() && !lab.has_record());
}

#[test]
fn the_last_run_that_uses_it_removes_it() {
    let lab = Lab::new("last");
    let before = lab.all();
    let (first, second) = (lab.point().unwrap(), lab.point().unwrap());
    assert!(first.is_new && !second.is_new);
    drop(first);
    assert!(lab.home().join(BELOW).is_dir());
    drop(second);
    assert_eq!(lab.all(), before);
}

/// Whoever holds it has the directories, whatever others begin and end meanwhile.
#[test]
fn runs_that_begin_and_end_at_once_do_not_disturb_each_other() {
    let lab = Lab::new("many");
    let before = lab.all();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..150 {
                    let point = lab.point().unwrap();
                    assert!(lab.home().join(BELOW).is_dir());
                    drop(point);
                }
            });
        }
    });
    assert_eq!(lab.all(), before);
    assert!(!lab.has_record());
}

/// Its locks are gone with it, its record is not.
#[test]
fn what_a_killed_run_made_is_removed_by_the_next_or_by_gc() {
    let lab = Lab::new("killed");
    let before = lab.all();
    let kill = || {
        let point = std::mem::ManuallyDrop::new(lab.point().unwrap());
        flock(&point.record.file, FlockOperation::Unlock).unwrap();
        assert!(lab.home().join(BELOW).is_dir() && lab.has_record());
    };
    kill();
    drop(lab.point().unwrap());
    assert_eq!(lab.all(), before);
    kill();
    reap();
    assert_eq!(lab.all(), before);
    assert!(!lab.has_record());
    let living = lab.point().unwrap();
    reap();
    assert!(lab.home().join(BELOW).is_dir() && lab.has_record());
    drop(living);
}

/// Each is refused by name, and what it leads to is as it was.
#[test]
fn a_hostile_home_leads_nowhere() {
    type Make<'a> = &'a dyn Fn(&Lab);
    let make: [(&str, &str, Make<'_>); 10] = [
        ("link", ".pki", &|lab| symlink(lab.0.join("other"), lab.home().join(".pki")).unwrap()),
        ("roots", ".pki", &|lab| symlink(lab.0.join("roots"), lab.home().join(".pki")).unwrap()),
        ("etc", ".pki", &|lab| symlink("/etc", lab.home().join(".pki")).unwrap()),
        ("own", ".pki", &|lab| symlink("nowhere", lab.home().join(".pki")).unwrap()),
        ("file", ".pki", &|lab| fs::write(lab.home().join(".pki"), "").unwrap()),
        ("fifo", ".pki", &|lab| fifo(&lab.home().join(".pki"))),
        ("in-link", BELOW, &|lab| {
            lab.dir("home/.pki", USER.uid);
            symlink(lab.0.join("roots/nssdb"), lab.home().join(BELOW)).unwrap();
        }),
        ("in-fifo", BELOW, &|lab| {
            lab.dir("home/.pki", USER.uid);
            fifo(&lab.home().join(BELOW));
        }),
        ("closed", BELOW, &|lab| lab.dir("home/.pki", 0)),
        ("not-own", "", &|lab| chown(lab.home(), Some(54_323), None).unwrap()),
    ];
    for (name, named, make) in make {
        let lab = Lab::new(&format!("hostile-{name}"));
        make(&lab);
        let before = lab.all();
        let error = lab.point().expect_err(name);
        let named = lab.home().join(named).display().to_string();
        assert!(error.starts_with(named.trim_end_matches('/')), "{name}: {error}");
        assert_eq!(lab.all(), before, "{name}");
        assert!(!lab.has_record(), "{name}");
    }
}

/// What stands there by the time that the run ends is somebody else's.
#[test]
fn what_was_put_in_its_place_is_not_removed() {
    for (name, to) in [("roots", "roots"), ("other", "other")] {
        let lab = Lab::new(&format!("exchanged-{name}"));
        let point = lab.point().unwrap();
        fs::rename(lab.home().join(".pki"), lab.home().join("moved")).unwrap();
        symlink(lab.0.join(to), lab.home().join(".pki")).unwrap();
        let before = lab.all();
        drop(point);
        assert_eq!(lab.all(), before);
    }
    let lab = Lab::new("exchanged");
    let point = lab.point().unwrap();
    fs::rename(lab.home(), lab.0.join("moved")).unwrap();
    symlink(lab.0.join("moved"), lab.home()).unwrap();
    let before = lab.all();
    drop(point);
    assert_eq!(lab.all(), before, "nor by a link to HOME");
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
