//! Files that outlive the run: what programs outside execute, and what hides credentials in the next run.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use harness::{Lab, workdir::UID};
use rustix::mount::{MountFlags, mount, mount_bind};

const CANARY: &str = "canary-77aa";

fn plant(lab: &Lab, places: &[&str]) {
    for place in places {
        let path = lab.dir().home().join(place);
        fs::create_dir_all(path.parent().expect("in a directory")).expect("make its directory");
        fs::write(&path, format!("{CANARY}\n")).expect("plant it");
    }
    lab.bare().as_root().sh(&format!("chown -hR {UID}:{UID} {}", lab.dir().home().display())).ok();
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

const STARTUP: [&str; 7] = [
    ".bashrc",
    ".profile",
    ".gitconfig",
    ".config/systemd/user/a.service",
    ".config/autostart/a.desktop",
    ".vimrc",
    ".cargo/env",
];

/// Writes, replaces, removes, renames, links: what the shell, the session, git and vim start outside is as it was.
const ATTACK: &str = r#"
set +e; cd; for f in .bashrc .profile .gitconfig .config/systemd/user/a.service .config/autostart/a.desktop .vimrc .cargo/env; do
    top=${f%%/*}
    (echo evil > "$f"); (echo evil >> "$f"); echo evil > new; mv -f new "$f"; ln -sf /tmp/evil "$f"; rm -f "$f"; chmod 777 "$f"
    mv "$f" away; mv "$top" away && { mkdir -p "$(dirname "$f")"; echo evil > "$f"; }; mv --exchange "$top" new
    rm -rf "$top"; truncate -s 0 "$f"; touch -d 2001-01-01 "$f"; python3 -c 'import os,sys; os.link(sys.argv[1], "hard")' "$f"
    echo evil > hard; rm -f new hard
done 2>/dev/null
echo evil > .config/systemd/user/b.service; echo evil > .bashrc.d; true
"#;

#[test]
fn what_programs_outside_run_cannot_be_changed() {
    let lab = Lab::new();
    plant(&lab, &STARTUP);
    let home = lab.dir().home();
    // As kept by many in a directory of their own.
    fs::create_dir(home.join("dotfiles")).expect("make it");
    fs::rename(home.join(".vimrc"), home.join("dotfiles/vimrc")).expect("move it");
    symlink("dotfiles/vimrc", home.join(".vimrc")).expect("link to it");
    chown(home.join("dotfiles"), Some(UID), Some(UID)).expect("give it to the user");
    let attack =
        format!("{ATTACK}\nmv dotfiles away 2>/dev/null; rm -rf dotfiles 2>/dev/null; cat ~/.bashrc");
    lab.awf().sh(&attack).ok().stdout_is(&format!("{CANARY}\n"));
    for place in STARTUP {
        assert_eq!(text(&home.join(place)), format!("{CANARY}\n"), "{place}");
    }
    assert!(!home.join(".config/systemd/user/b.service").exists());
    lab.bare().sh(ATTACK).ok();
    assert!(text(&home.join(".profile")) != format!("{CANARY}\n"), "the attack works without awf-bpf");
}

#[test]
fn what_is_new_of_it_is_said_at_the_end() {
    let lab = Lab::new();
    let script = "echo evil > ~/.bash_profile; mkdir -p ~/.config/systemd/user";
    let out = lab.awf().sh(script);
    out.ok().stderr_contains("home/.bash_profile was made").stderr_contains("home/.config/systemd was made");
    lab.awf().sh("true").ok().stderr_lacks("was made");
    let out = lab.awf().sh("mkdir ~/.ssh && echo evil > ~/.ssh/authorized_keys");
    out.ok().stderr_contains("home/.ssh/authorized_keys was made");
    // It is a place of credentials now, and covered.
    lab.awf().sh("echo evil >> ~/.ssh/authorized_keys").fails();
    // Nothing is read-only then, so changes are said too.
    let out = lab.awf().machine_files().args(["--quiet"]).sh("echo evil >> ~/.bash_profile");
    out.ok().stderr_contains("home/.bash_profile was made or changed");
}

/// A file has no place, and a mount lies upon a name: by another name it stays writable, and is watched.
#[test]
fn what_is_changed_by_another_name_is_said() {
    let lab = Lab::new();
    plant(&lab, &[".bashrc", ".profile"]);
    let (home, policy) = (lab.dir().home(), lab.dir().file("allow", "allowed.test\n"));
    fs::hard_link(home.join(".bashrc"), home.join("backup")).expect("link it");
    fs::hard_link(&policy, lab.dir().work().join("allow~")).expect("link it");
    let run = lab.awf().args(["--allow-domains-file", "allow"]);
    run.sh("true").ok().stderr_lacks("changed while");
    let out =
        run.sh("! (echo evil >> ~/.bashrc) 2>/dev/null; echo evil >> ~/backup; echo evil.test >> allow~");
    out.ok().stderr_contains("home/.bashrc was made or changed while the command ran");
    out.stderr_contains("allow was changed while the command ran, and decides over the next run");
    out.stderr_lacks(".profile");
}

#[test]
fn a_mount_makes_it_writable_again() {
    let lab = Lab::new();
    plant(&lab, &[".gitconfig"]);
    let path = lab.dir().home().join(".gitconfig").display().to_string();
    let replace = "echo new > ~/x && mv -f ~/x ~/.gitconfig";
    assert_ne!(lab.awf().sh(replace).exit_code(), 0);
    lab.awf().args(["--mount", &format!("{path}:{path}")]).sh(replace).ok();
    assert_eq!(text(Path::new(&path)), "new\n");
}

/// Moved in one run, found in the next.
#[test]
fn what_hides_credentials_cannot_be_moved_for_a_later_run() {
    let lab = Lab::new();
    plant(&lab, &[".config/gh/hosts.yml", ".cargo/credentials.toml", "dotfiles/op/config", ".ssh/id"]);
    symlink("../dotfiles/op", lab.dir().home().join(".config/op")).expect("make a link");
    let first = "set +e; cd; for d in .config .config/gh .config/op .cargo .cargo/credentials.toml dotfiles dotfiles/op .ssh; do \
        mv $d away-$(echo $d | tr / -); rm -rf $d; ln -sfn /tmp $d; done 2>/dev/null; mkdir -p .config .cargo; true";
    let search = "cd; grep -rs --devices=skip canary-77 . || true";
    lab.awf().sh(first).ok();
    lab.awf().sh(search).ok().stdout_is("");
    lab.bare().sh(first).ok();
    lab.awf().sh(search).ok().stdout_contains(CANARY);
}

/// Its files, its memory and its limits are below it, and it is the command's user's.
#[test]
fn a_process_outside_is_no_working_directory() {
    let lab = Lab::new();
    let process = super::bystander(&lab);
    let proc = lab.dir().work().join("chroot/proc");
    fs::create_dir_all(&proc).expect("make it");
    lab.machine().within(|| {
        mount("proc", &proc, "proc", MountFlags::empty(), None).expect("mount a second /proc");
    });
    let place = proc.join(process.pid().as_raw_nonzero().to_string());
    let attack = "set +e; pwd; ls root/ status 2>/dev/null; (echo 1 > oom_score_adj) 2>/dev/null; true";
    lab.bare().cwd(&place).sh(attack).ok().stdout_contains("status").stdout_contains("usr");
    let home = lab.dir().home().display().to_string();
    lab.awf().cwd(&place).sh(attack).ok().stdout_is(&format!("{home}\n"));
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid().as_raw_nonzero()));
    assert_eq!(score.expect("it lives"), "1\n", "from outside");
    let out = lab.awf().args(["--mount", &format!("{}:/mnt/p", place.display())]).run(&["true"]);
    out.code(125).stderr_contains("belongs to the kernel");
}

/// HOME mounted a second time: credentials are hidden there as well.
#[test]
fn another_mount_of_home_shows_no_more() {
    let lab = Lab::new();
    plant(&lab, &[".ssh/id", ".config/gh/hosts.yml", ".netrc", "proj/file"]);
    let (alias, inner) = (lab.dir().root().join("alias"), lab.dir().work().join("inner"));
    for dir in [&alias, &inner] {
        fs::create_dir(dir).expect("make it");
    }
    lab.machine().within(|| {
        mount_bind(lab.dir().home(), &alias).expect("mount HOME again");
        mount_bind(lab.dir().root(), &inner).expect("mount what HOME is in");
    });
    let mounted = format!("{}:/mnt/again", alias.display());
    let search = format!("grep -rsl canary-77 /mnt/again {} ~ | sort; true", inner.display());
    let out = lab.awf().args(["--mount", &mounted]).sh(&search);
    let home = lab.dir().home().join("proj/file").display().to_string();
    let mut found: Vec<String> =
        vec!["/mnt/again/proj/file".into(), home.clone(), inner.join("home/proj/file").display().to_string()];
    found.push(inner.join("alias/proj/file").display().to_string());
    let said = out.ok().stdout();
    let unexpected: Vec<_> = said.lines().filter(|line| !found.iter().any(|known| known == line)).collect();
    out.check(unexpected.is_empty() && said.contains(&home), || {
        format!("only proj/file, not {unexpected:?}")
    });
}
