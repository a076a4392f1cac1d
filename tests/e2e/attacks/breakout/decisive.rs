//! Files of which the next run is made: the policy, its lists, variables, the proxy's credentials.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::Path,
};

use harness::{Lab, Run, workdir::UID};

/// In the working directory, but for the last two, which are in HOME.
const FILES: [(&str, &str); 7] = [
    ("policy/awf.toml", "[policy]\nallow_domains_file = \"allowed.txt\"\n"),
    ("policy/allowed.txt", "allowed.test\n"),
    ("allow", "other.test\n"),
    ("block", "denied.test\n"),
    ("rules/rules.yml", "version: 1\nrules:\n  - domain: ruled.test\n"),
    (".config/awf/env", "X=1\n"),
    (".config/awf/auth", "user:canary-55\n"),
];

/// Every way that is known to change a file, its name, or a directory above it.
const ATTACK: &str = r#"
set +e; for f in "$@"; do d=$(dirname "$f")
    (echo evil > "$f"); (echo evil >> "$f"); echo evil > new; mv -f new "$f"; echo evil > new; cp --remove-destination new "$f"
    ln -sfn /tmp/evil "$f"; chmod 777 "$f"; truncate -s 0 "$f"; touch -d 2001-01-01 "$f"; sed -i s/./evil/ "$f"
    python3 -c 'import os,sys; os.link(sys.argv[1], "hard")' "$f" && echo evil > hard
    mv --exchange "$f" new; mv "$f" "$f.away"; rm -rf "$f"; mv "$d" "$d.away" && { mkdir -p "$d"; echo evil > "$f"; }; rm -rf "$d"
    chattr +i "$f"; setfattr -n user.x -v x "$f"; mount --bind new "$f"; rm -f new hard
done 2>/dev/null; true
"#;

fn write_files(lab: &Lab) -> Vec<String> {
    let (work, home) = (lab.dir().work(), lab.dir().home());
    let place = |(name, content): &(&str, &str)| {
        let path = if name.starts_with(".config") { home.join(name) } else { work.join(name) };
        fs::create_dir_all(path.parent().expect("in a directory")).expect("make its directory");
        fs::write(&path, content).expect("write it");
        path.display().to_string()
    };
    let paths = FILES.iter().map(place).collect();
    let give = format!("chown -hR {UID}:{UID} {} {}", work.display(), home.display());
    lab.bare().as_root().sh(&give).ok();
    paths
}

/// Typed relative and absolute.
fn with_files<'lab>(lab: &'lab Lab, paths: &[String]) -> Run<'lab> {
    let flags = ["-c", "--allow-domains-file", "--block-domains-file", "--ruleset-file", "--env-file"];
    let files = ["policy/awf.toml", "allow", "./block", &paths[4], &paths[5]];
    let run = flags.iter().zip(files).fold(lab.awf(), |run, (flag, file)| run.args([*flag, file]));
    run.args(["--upstream-proxy", "http://203.0.113.99:3128", "--upstream-proxy-auth-file", &paths[6]])
}

fn attack(run: &Run<'_>, paths: &[String]) -> harness::Output {
    let mut words = vec!["bash", "-c", ATTACK, "bash"];
    words.extend(paths.iter().map(String::as_str));
    run.run(&words)
}

#[track_caller]
fn assert_unchanged(paths: &[String]) {
    for (path, (_, content)) in paths.iter().zip(FILES) {
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), content, "{path}");
    }
}

#[test]
fn what_the_next_run_is_made_of_cannot_be_changed() {
    let lab = Lab::new();
    let paths = write_files(&lab);
    let run = with_files(&lab, &paths);
    for run in [super::as_root(&run), run.clone()] {
        attack(&run, &paths).ok();
        assert_unchanged(&paths);
    }
    // The proxy's credentials are not even read; the rest is.
    let out = run.sh("cat policy/awf.toml ~/.config/awf/env; ! grep -rs canary-55 . ~ --devices=skip");
    out.ok().stdout_is(&format!("{}{}", FILES[0].1, FILES[5].1));
    attack(&lab.bare(), &paths).ok();
    for path in &paths {
        assert!(
            !fs::read_to_string(path).is_ok_and(|text| !text.contains("evil")),
            "the attack works: {path}"
        );
    }
}

#[test]
fn a_link_to_it_stays_too() {
    let lab = Lab::new();
    let work = lab.dir().work();
    fs::create_dir(work.join("kept")).expect("make a directory");
    lab.dir().file("kept/allow", "allowed.test\n");
    symlink("kept", work.join("link")).expect("make a link");
    chown(work.join("kept"), Some(UID), Some(UID)).expect("give it to the user");
    let paths =
        ["link/allow", "kept/allow", "link", "kept"].map(|name| work.join(name).display().to_string());
    let run = lab.awf().args(["--allow-domains-file", "link/allow"]);
    attack(&run, &paths).ok();
    assert_eq!(fs::read_link(work.join("link")).expect("it is a link"), Path::new("kept"));
    assert_eq!(fs::read_to_string(work.join("link/allow")).expect("it is there"), "allowed.test\n");
}

/// What the user says counts; and where nothing can be mounted, what was changed is said.
#[test]
fn a_mount_makes_it_writable_and_without_a_root_it_is_said() {
    let lab = Lab::new();
    let path = lab.dir().file("allow", "allowed.test\n").display().to_string();
    let run = lab.awf().args(["--allow-domains-file", &path]);
    let out = run.clone().machine_files().sh("echo more.test >> allow");
    out.ok().stderr_contains("allow was changed while the command ran, and decides over the next run");
    run.sh("! (echo evil.test >> allow) 2>/dev/null").ok().stderr_lacks("was changed");
    run.args(["--mount", &format!("{path}:{path}")]).sh("echo most.test >> allow").ok();
    assert_eq!(fs::read_to_string(path).expect("it is there"), "allowed.test\nmore.test\nmost.test\n");
}
