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
fn stat_survives_a_hostile_name() {
    let text = "42 (a) R 1 (b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 1 2";
    let stat = Stat::parse(text).unwrap();
    assert_eq!((stat.comm.as_str(), stat.ppid, stat.start), ("a) R 1 (b", 7, 12345));
    assert!(Stat::parse("").is_none());
    assert!(Stat::parse("1 (x) S").is_none());
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
