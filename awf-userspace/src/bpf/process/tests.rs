//! Real processes, living and dead, and as many as are made to fill memory.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::*;

fn caller(tgid: u32, cookie: u64) -> Caller {
    let mut comm = [0; 16];
    comm[..4].copy_from_slice(b"test");
    Caller { cookie, tgid, uid: 7, comm }
}

#[test]
fn a_living_process_is_named() {
    let info = Processes::new(false).observe(&caller(std::process::id(), 1), u64::MAX);
    assert_eq!(info.exe.as_deref(), std::env::current_exe().unwrap().to_str());
    assert_eq!(info.argv.as_ref().unwrap().len(), std::env::args().count());
    assert_eq!((info.uid, info.comm.as_str()), (Some(7), "test"));
}

#[test]
fn a_number_taken_by_another_process_is_not_named() {
    let info = Processes::new(false).observe(&caller(std::process::id(), 1), 1);
    assert_eq!((&info.exe, &info.argv, info.comm.as_str()), (&None, &None, "test"));
}

#[test]
fn a_dead_process_is_remembered_by_its_socket() {
    let processes = Processes::new(false);
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let caller = caller(child.id(), 9);
    // Its echo tells that its exec is over.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    processes.observe(&caller, u64::MAX);
    drop(child.stdin.take());
    child.wait().unwrap();
    let info = processes.describe(&caller);
    assert!(info.exe.as_deref().unwrap_or_default().ends_with("cat"), "{info:?}");
    assert_eq!(info.argv.unwrap(), ["cat"]);
}

#[test]
fn a_long_command_line_is_not_kept() {
    let long = "x".repeat(100_000);
    let mut command = Command::new("cat");
    command.arg("-").arg(long).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let argv = Processes::new(false).observe(&caller(child.id(), 3), u64::MAX).argv.clone().unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!((argv[0].as_str(), argv.len(), argv.concat().len()), ("cat", 3, ARGV as usize + 1 - 2));
}

#[test]
fn memory_is_bounded() {
    let processes = Processes::new(true);
    for cookie in 0..SOCKETS as u64 + 10 {
        processes.observe(&caller(1, cookie), u64::MAX);
    }
    let state = processes.state.lock().unwrap();
    assert_eq!((state.by_cookie.len(), state.order.len()), (SOCKETS, SOCKETS));
    assert!(!state.by_cookie.contains_key(&0));
}

fn said(text: &str) -> Option<Said> {
    Some(Said { path: Some(format!("/bin/{text}")), argv: Some(vec![text.to_owned()]) })
}

/// A number that no process has any more.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// It is gone before anybody looked: the kernel's word names it, in its life and just after, and nobody else.
#[test]
fn a_process_that_nobody_saw_is_named_by_what_was_said() {
    let (processes, pid, began) = (Processes::new(false), dead(), boot_time());
    processes.began(&caller(pid, 0), began, said("short"));
    for info in
        [(*processes.observe(&caller(pid, 1), began + 1)).clone(), processes.describe(&caller(pid, 2))]
    {
        assert_eq!((info.exe.as_deref(), info.argv), (Some("/bin/short"), Some(vec!["short".to_owned()])));
        assert_eq!((info.pid, info.ppid, info.ancestors.len()), (pid, None, 0));
    }
    let mut other_name = caller(pid, 3);
    other_name.comm = *b"other\0\0\0\0\0\0\0\0\0\0\0";
    let strangers = [
        processes.observe(&other_name, began + 1),
        // The program before it, and the process that has its number later.
        processes.observe(&caller(pid, 4), began - 1),
        processes.observe(&caller(pid, 5), boot_time() + 1),
        processes.observe(&caller(pid + 1, 6), began + 1),
    ];
    assert!(strangers.iter().all(|info| info.exe.is_none() && info.argv.is_none()), "{strangers:?}");
}

#[test]
fn what_was_said_ends_with_the_next_program_of_the_number() {
    let (processes, pid, began) = (Processes::new(false), dead(), boot_time());
    processes.began(&caller(pid, 0), began, said("first"));
    processes.began(&caller(pid, 0), began + 1, said("second"));
    assert_eq!(processes.observe(&caller(pid, 1), began + 2).exe.as_deref(), Some("/bin/second"));
    // From a kernel that says nothing.
    processes.began(&caller(pid, 0), began + 3, None);
    assert_eq!(processes.observe(&caller(pid, 2), began + 4).exe, None);
}

/// What can be looked at is not taken at its word.
#[test]
fn a_living_process_is_not_named_by_what_was_said() {
    let (processes, own) = (Processes::new(false), std::process::id());
    processes.began(&caller(own, 0), boot_time(), said("lie"));
    let info = processes.observe(&caller(own, 1), boot_time());
    assert_eq!(info.exe.as_deref(), std::env::current_exe().unwrap().to_str());
    assert!(info.ppid.is_some());
}

/// Who has the number of a process that was looked at and has ended is not that process.
#[test]
fn a_later_process_of_the_same_name_is_another() {
    let processes = Processes::new(false);
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let caller = caller(child.id(), 1);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let called = boot_time();
    processes.began(&caller, called, None);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(processes.observe(&caller, called).exe.is_some());
    assert!(processes.observe(&caller, boot_time() + 1).exe.is_none());
}

#[test]
fn as_many_programs_as_are_begun_take_bounded_memory() {
    let processes = Processes::new(false);
    let mut state = processes.state.lock().unwrap();
    for n in 0..10_000 {
        state.keep(n, Known::said(&caller(n, 0), 1, said("x").unwrap()));
        assert!(state.known(&caller(n.saturating_sub(500), 0), 2).is_some(), "the last 500 are known");
    }
    assert!(state.by_pid.iter().map(HashMap::len).sum::<usize>() <= PROCESSES);
    state.forget(9_999);
    assert!(state.known(&caller(9_999, 0), 2).is_none());
}

/// Two thousand arguments of one byte take fifty times their length: of each of the command's processes.
#[test]
fn many_short_arguments_are_not_kept() {
    let mut command = Command::new("cat");
    command.args(["-"; 1500]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let info = Processes::new(false).observe(&caller(child.id(), 3), u64::MAX);
    drop(child.stdin.take());
    child.wait().unwrap();
    let argv = info.argv.as_ref().unwrap();
    assert_eq!((argv.len(), argv.last().unwrap().as_str()), (ARGS + 1, CUT));
    assert!(size(&info) < 32 << 10, "{}", size(&info));
}

#[test]
fn bytes_are_bounded_and_shared_by_the_sockets_of_one_process() {
    let big = |n: usize| {
        let argv = Some(vec![n.to_string(), "x".repeat(ARGV as usize)]);
        Arc::new(ProcessInfo { argv, ..ProcessInfo::default() })
    };
    let mut state = State::default();
    for n in 0..10_000 {
        state.remember(n as u64, big(n));
        assert!(state.bytes <= BYTES, "{} bytes", state.bytes);
    }
    let held: usize = state.by_cookie.values().map(|(info, _)| size(info)).sum();
    assert_eq!((held, state.order.len()), (state.bytes, state.by_cookie.len()));
    assert!(state.by_cookie.contains_key(&9999) && !state.by_cookie.contains_key(&0));

    let (mut state, shared) = (State::default(), big(0));
    (0..10_000).for_each(|cookie| state.remember(cookie, Arc::clone(&shared)));
    assert_eq!(state.by_cookie.len(), 10_000);
    assert!(state.bytes < size(&shared) + 10_000 * 16, "{}", state.bytes);

    // A socket that is used by another program than before counts as that.
    (0..10_000).for_each(|cookie| state.remember(cookie, big(cookie as usize)));
    let held: usize = state.by_cookie.values().map(|(info, _)| size(info)).sum();
    assert!(held <= BYTES && state.bytes <= BYTES, "{held} and {}", state.bytes);
}
