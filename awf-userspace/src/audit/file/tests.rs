//! Attacks on the audit file's place, and a disk that is full.

use std::os::unix::fs::{chown, symlink};

use super::*;
use crate::audit::tests::TempDir;

fn create(dir: &Path) -> Result<LineFile, AuditError> {
    LineFile::create(dir, None)
}

#[test]
fn modes_are_exact_and_the_file_is_appended_to() {
    let dir = TempDir::new();
    let made = dir.path().join("new/audit/");
    for _ in 0..2 {
        assert!(create(&made).unwrap().append(b"{}\n"));
    }
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, DIR_MODE);
    let meta = fs::metadata(made.join(FILE_NAME)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (FILE_MODE, 6));
}

#[test]
fn a_line_torn_by_an_earlier_run_is_ended() {
    let dir = TempDir::new();
    fs::write(dir.path().join(FILE_NAME), "{\"torn").unwrap();
    create(dir.path()).unwrap().append(b"{}\n");
    assert_eq!(fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), "{\"torn\n{}\n");
}

#[test]
fn links_and_other_things_in_the_place_of_the_file_are_refused() {
    let dir = TempDir::new();
    let (file, victim) = (dir.path().join(FILE_NAME), dir.path().join("victim"));
    fs::write(&victim, "precious").unwrap();

    for link in [&victim, &dir.path().join("not-there-yet")] {
        symlink(link, &file).unwrap();
        assert!(matches!(create(dir.path()), Err(AuditError::OpenFile(..))), "symbolic link to {link:?}");
        fs::remove_file(&file).unwrap();
    }
    assert!(!dir.path().join("not-there-yet").exists());

    fs::hard_link(&victim, &file).unwrap();
    assert!(matches!(create(dir.path()), Err(AuditError::UnsafeFile(_, "has a second name (a hard link)"))));
    fs::remove_file(&file).unwrap();

    rustix::fs::mknodat(CWD, &file, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(matches!(create(dir.path()), Err(AuditError::UnsafeFile(_, "is not a regular file"))));
    fs::remove_file(&file).unwrap();

    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(create(dir.path()), Err(AuditError::UnsafeFile(_, "can be written by others"))));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn directories_that_others_control_are_refused() {
    let dir = TempDir::new();
    let real = dir.path().join("real");
    fs::create_dir(&real).unwrap();
    let link = dir.path().join("link");
    symlink(&real, &link).unwrap();
    for link in [link.clone(), link.join(".")] {
        assert!(matches!(create(&link), Err(AuditError::OpenDir(..))), "{link:?}");
    }
    assert!(!real.join(FILE_NAME).exists());

    fs::set_permissions(&real, Permissions::from_mode(0o757)).unwrap();
    assert!(matches!(create(&real), Err(AuditError::OpenToAllDir(_))));
    fs::set_permissions(&real, Permissions::from_mode(0o755)).unwrap();

    // Only root can make a directory foreign to itself; to anybody else `/` is.
    let (foreign, uid) = if geteuid().is_root() { (real.clone(), 4242) } else { (PathBuf::from("/"), 0) };
    if geteuid().is_root() {
        chown(&real, Some(uid), None).unwrap();
    }
    assert!(matches!(create(&foreign), Err(AuditError::ForeignDir(_, owner)) if owner == uid));
    let invoker = Invoker { uid, gid: rustix::process::getegid().as_raw() };
    let invited = LineFile::create(&foreign, Some(invoker));
    assert!(!matches!(invited, Err(AuditError::ForeignDir(..))), "{invited:?}");
}

#[test]
fn a_full_disk_is_waited_out_and_nothing_is_lost() {
    let dir = TempDir::new();
    let mut file = create(dir.path()).unwrap();
    let real = std::mem::replace(&mut file.file, full_disk());
    assert!(!file.append(b"{\"n\":1}\n"));
    assert!(!file.append(b"{\"n\":2}\n"));
    assert!(matches!(file.finish(), Err(AuditError::Lost { lost: 2, .. })));
    file.file = real;
    assert!(file.append(b"{\"n\":3}\n"));
    assert!(file.finish().is_ok());
    let text = fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
    assert_eq!(text, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
}

#[test]
fn what_a_full_disk_loses_is_counted_and_memory_is_bounded() {
    let dir = TempDir::new();
    let mut file = create(dir.path()).unwrap();
    let real = std::mem::replace(&mut file.file, full_disk());
    let line = [vec![b'x'; (1 << 20) - 1], vec![b'\n']].concat();
    for _ in 0..7 {
        assert!(!file.append(&line));
    }
    assert_eq!(file.lost(), 3);
    file.file = real;
    assert!(matches!(file.finish(), Err(AuditError::Lost { lost: 3, .. })));
    assert_eq!(fs::metadata(dir.path().join(FILE_NAME)).unwrap().len(), BACKLOG_MAX as u64);
}

fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// Who makes records faster than a disk has room ends up without network, not the machine without disk.
#[test]
fn a_run_that_writes_without_end_is_stopped_and_counted() {
    let dir = TempDir::new();
    let mut file = create(dir.path()).unwrap();
    file.max = 10;
    assert!(file.append(b"{\"a\":1}\n"));
    assert!(!file.append(b"{\"b\":2}\n"));
    assert!(!file.append(b"{}"), "nor a shorter one after it");
    assert_eq!((file.lost(), fs::metadata(dir.path().join(FILE_NAME)).unwrap().len()), (2, 8));
    assert!(matches!(file.finish(), Err(AuditError::Lost { lost: 2, .. })));
}
