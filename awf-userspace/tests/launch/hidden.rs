//! What CMD does not see, while the host does.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::support::{Dir, UID, command, sh};

#[test]
fn directories_files_sockets_and_links_are_covered() {
    let dir = Dir::new("hide");
    let secrets = dir.0.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("key"), "secret").unwrap();
    let file = dir.file("file", "secret", 0o644);
    let socket = dir.0.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    crate::support::set_mode(&socket, 0o777);
    let link = dir.0.join("link");
    let linked = dir.file("linked", "secret", 0o644);
    symlink(&linked, &link).unwrap();

    let script = format!(
        "cd {0} && ls secrets | wc -l; cat file link linked; touch secrets/x 2>/dev/null || echo read-only\n\
         /usr/bin/python3 -c \"import socket; s = socket.socket(1); print(s.connect_ex('socket'))\"",
        dir.0.display()
    );
    let open = sh(&script).run();
    assert_eq!(open.text().lines().last(), Some("0"), "the socket answers when it is not hidden");
    assert!(open.text().contains("secretsecretsecret"));

    let mut run = sh(&script);
    let missing = PathBuf::from("/no/such/path");
    // Twice, and by two names: neither is an error.
    run.init.hide = vec![secrets.clone(), file.clone(), socket, link, linked, secrets.clone(), file, missing];
    let ran = run.run();
    assert_eq!(ran.text(), format!("0\nread-only\n{}\n", libc::ECONNREFUSED));
    let mut run = command(&["cat", "/proc/self/mountinfo"]);
    run.init.hide = vec![secrets.clone()];
    let mountinfo = run.run();
    let cover =
        mountinfo.text().lines().find(|line| line.contains(&format!(" {} ", secrets.display()))).unwrap();
    assert!(cover.contains(" ro,nosuid,nodev,noexec"), "{cover}");
    assert_eq!(std::fs::read_to_string(secrets.join("key")).unwrap(), "secret", "the host sees what it saw");
}

#[test]
fn a_home_is_made_inside_a_hidden_directory() {
    let dir = Dir::new("home");
    let home = dir.0.join("run/home");
    std::fs::create_dir(dir.0.join("run")).unwrap();
    let mut run =
        sh("cd && stat -c '%a %u %g' . && touch x && ls -A .. && touch ../x 2>/dev/null || echo read-only");
    run.init.hide = vec![dir.0.join("run")];
    run.init.home_tmpfs = Some(home.clone());
    run.init.identity.home = home.clone();
    run.init.env.push(("HOME".into(), home.clone().into()));
    assert_eq!(run.run().text(), format!("700 {UID} {UID}\nhome\nread-only\n"));
    assert!(!home.exists(), "nothing of it is on the host");
}

#[test]
fn a_home_outside_is_refused() {
    let dir = Dir::new("home-outside");
    let mut run = sh("echo ran");
    run.init.home_tmpfs = Some(dir.0.join("home"));
    let error = run.refused();
    assert!(error.exit_code() == 125 && error.to_string().contains("hidden directory"), "{error}");
}

#[test]
fn the_default_list_leaves_a_working_system() {
    let mut run = sh("cat /etc/resolv.conf >/dev/null && getent passwd root && ls /run/user");
    std::fs::create_dir_all("/run/user").unwrap();
    run.init.hide = awf_userspace::jail::hide::services(UID);
    let ran = run.run();
    assert!(ran.code() == 0 && ran.text().starts_with("root:"), "{ran:?}");
    assert_eq!(ran.text().lines().count(), 1);
}
