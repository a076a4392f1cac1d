//! Sockets of services outside: all hidden, but for those that are asked for.

use super::*;

#[test]
fn sockets_are_hidden_under_every_name_they_have_inside() {
    let mut wanted = wanted();
    wanted.mounts = vec![mount("/data:/mnt")];
    wanted.sockets =
        ["/data/s", "/home/u/s", "/run/docker.sock", "/home/u/.gnupg/S.agent"].map(PathBuf::from).into();
    let entries = ["=/data/s", "=/home/u/s", "=/run/docker.sock", "=/home/u/.gnupg/S.agent"];
    let plan = planned(&wanted, &[MERGED, &entries].concat());
    assert_eq!(plan.sockets, ["/home/u/s", "/mnt/s"].map(PathBuf::from));
}

#[test]
fn a_socket_that_is_asked_for_is_shown_where_it_is() {
    let mut wanted = wanted();
    wanted.unix = ["/var/run/docker.sock", "/home/u/s", "/home/u/.gnupg/S.agent", "/none", "/data/file"]
        .map(PathBuf::from)
        .into();
    let entries = [
        "/var/run -> /run",
        "=/run/docker.sock",
        "=/run/other.sock",
        "=/home/u/s",
        "=/home/u/.gnupg/S.agent",
        "/data/file",
    ];
    let steps = planned(&wanted, &[MERGED, &entries].concat()).steps;
    let shown: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Socket { at, .. } => Some(at.to_str().unwrap()),
            _ => None,
        })
        .collect();
    // What HOME shows anyway needs nothing, and what is no socket is no socket.
    assert_eq!(shown, ["/run/docker.sock", "/home/u/.gnupg/S.agent"]);
    let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let covered = at(&|step| matches!(step, Step::Cover { at, .. } if at == Path::new("/home/u/.gnupg")));
    let uncovered = at(&|step| matches!(step, Step::Socket { at, .. } if at.starts_with("/home/u/.gnupg")));
    assert!(covered < uncovered);
    let made: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Dir { .. })).collect();
    assert!(
        (1..made.len()).all(|at| !made[at..].contains(&made[at - 1])),
        "a directory is made once: {made:#?}"
    );
}

#[test]
fn a_socket_for_which_there_is_no_place_is_said() {
    let mut wanted = wanted();
    wanted.unix = vec!["/var/run/own.sock".into()];
    // A directory of its own here, a link inside.
    let facts = host(&[MERGED, &["=/var/run/own.sock"]].concat());
    let errors = RootfsPlan::new(&wanted, &facts).unwrap_err();
    assert_eq!(errors, [RootfsError::NoPlaceForSocket("/var/run/own.sock".into())]);
}
