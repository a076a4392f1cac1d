//! Chromium, and what starts it, with `--tls on`: it trusts the run's CA by a data base that is in its HOME for the run, and
//! that HOME is as it was afterwards, whatever its owner makes of it meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use harness::{Lab, Output, Run, run::LIMIT, tools, workdir::UID};
use rustix::process::Signal;

/// What the lab's origins answer, before their name.
const HELLO: &str = "hello from ";
const HOST: &str = "v4only.test";
const PROGRAM: &str = "chromium-headless-shell";
const FETCH: &str = "chromium-headless-shell --no-sandbox --disable-gpu --dump-dom https://$HOST/ 2>>log || { cat log >&2; exit 1; }";

fn on<'lab>(lab: &'lab Lab, host: &str) -> Run<'lab> {
    let _program = tools::require(PROGRAM);
    lab.awf().allow(host).args(["--tls", "on"]).env("HOST", host).limit(2 * LIMIT)
}

/// So often, and each request was looked into.
#[track_caller]
fn served(out: &Output, host: &str, times: usize) {
    out.ok();
    let seen = out.stdout().matches(HELLO).count();
    out.check(seen == times, || format!("{times} pages, not {seen}"));
    let url = format!("https://{host}/");
    let requests = out.records(&[("event", "request".into()), ("url", url.into())]);
    out.check(requests.len() >= times, || format!("{times} requests on record"));
    let refused = out.records(&[("reason", "tls_untrusted".into())]);
    out.check(refused.is_empty(), || "nobody who refuses the CA".into());
}

/// It asked for the page, did not take the CA, and got nothing.
#[track_caller]
fn refused(out: &Output, host: &str) {
    out.check(!out.stdout().contains(HELLO), || "no page".into());
    let refused = out.records(&[("reason", "tls_untrusted".into()), ("host", host.into())]);
    let is_chromium = |exe: &serde_json::Value| exe.as_str().is_some_and(|exe| exe.contains("chromium"));
    out.check(refused.iter().any(|r| is_chromium(&r["exe"])), || "Chromium, on record".into());
}

/// All that is in `dir`: owner, mode, inode, what files and links hold.
fn all(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("look at it");
        let content = match meta.file_type() {
            kind if kind.is_symlink() => {
                fs::read_link(&path).expect("read a link").into_os_string().into_encoded_bytes()
            }
            kind if kind.is_file() => fs::read(&path).expect("read a file"),
            _ => Vec::new(),
        };
        if meta.is_dir() {
            let entries = fs::read_dir(&path).expect("list it");
            todo.extend(entries.map(|entry| entry.expect("list it").path()));
        }
        found.insert(path, (meta.uid(), meta.mode(), meta.ino(), content));
    }
    found
}

fn users_dir(path: &Path, uid: u32) {
    fs::create_dir(path).expect("make a directory");
    chown(path, Some(uid), Some(uid)).expect("give it to its user");
}

#[test]
fn it_trusts_the_runs_ca_by_itself_again_and_again() {
    let lab = Lab::new();
    // It asks for IPv6 addresses only where a UDP socket can be connected to Google's, which is refused: by the proxy.
    for (host, proxy_env) in [(HOST, "auto"), (HOST, "none"), ("v6only.test", "auto")] {
        let run = on(&lab, host).args(["--proxy-env", proxy_env]);
        served(&run.sh(&format!("{FETCH}\n{FETCH}")), host, 2);
        assert!(!lab.dir().home().join(".pki").exists(), "nothing is left in HOME");
    }
}

/// Where there are both, it takes the older place.
#[test]
fn the_newer_place_of_the_data_base_does_not_keep_it_from_ours() {
    let lab = Lab::new();
    let newer = "mkdir -p $HOME/.local/share/pki/nssdb $HOME/xdg/pki/nssdb";
    for xdg in ["", "export XDG_DATA_HOME=$HOME/xdg"] {
        served(&on(&lab, HOST).sh(&format!("{newer}\n{xdg}\n{FETCH}")), HOST, 1);
    }
}

/// Its switches (playwright-core, chromiumSwitches.ts, and what `launch()` adds), its own profile.
#[test]
fn as_playwright_starts_it() {
    let lab = Lab::new();
    let switches = "--headless --hide-scrollbars --mute-audio --no-sandbox --disable-field-trial-config \
        --disable-background-networking --disable-back-forward-cache --disable-breakpad --no-default-browser-check \
        --disable-component-extensions-with-background-pages --disable-component-update --disable-default-apps \
        --disable-dev-shm-usage --disable-extensions --disable-hang-monitor --disable-popup-blocking \
        --disable-prompt-on-repost --disable-renderer-backgrounding --force-color-profile=srgb --metrics-recording-only \
        --no-first-run --password-store=basic --use-mock-keychain --no-service-autorun --export-tagged-pdf \
        --disable-search-engine-choice-screen --unsafely-disable-devtools-self-xss-warnings \
        --user-data-dir=$(mktemp -d)";
    let script = format!(
        "chromium-headless-shell {switches} --dump-dom https://$HOST/ 2>log || {{ cat log >&2; exit 1; }}"
    );
    served(&on(&lab, HOST).sh(&script), HOST, 1);
}

/// The data base is what makes it trust: it takes nothing else of what tells of the CA.
#[test]
fn where_its_home_is_another_one_it_refuses() {
    let lab = Lab::new();
    let out = on(&lab, HOST).sh(&format!("export HOME=$(mktemp -d)\n{FETCH}"));
    refused(&out, HOST);
    refused(&on(&lab, HOST).machine_files().sh(FETCH), HOST);
}

/// A user who has no HOME has one in memory.
#[test]
fn in_a_home_in_memory_it_trusts_too() {
    let lab = Lab::new();
    let out = on(&lab, HOST).cwd("/").sh(&format!("id -u; cd $(mktemp -d)\n{FETCH}"));
    served(&out, HOST, 1);
}

/// Of the user's own nothing is seen or changed, unless it is asked for.
#[test]
fn a_data_base_of_the_users_own_stays_as_it_is() {
    let lab = Lab::new();
    let dir = lab.dir().home().join(".pki/nssdb");
    users_dir(dir.parent().expect("it has one"), UID);
    users_dir(&dir, UID);
    let name = format!("sql:{}", dir.display());
    for args in [&["-N", "--empty-password"][..], &["-A", "-n", "own", "-t", "C,,", "-i"]] {
        let mut certutil = Command::new(tools::require("certutil"));
        certutil.args(["-d", &name]).args(args);
        if args[0] == "-A" {
            certutil.arg(lab.ca_file());
        }
        tools::succeed(&mut certutil);
    }
    for entry in fs::read_dir(&dir).expect("list it").flatten() {
        chown(entry.path(), Some(UID), Some(UID)).expect("give it to the user");
    }
    let before = all(&dir);
    let list = "certutil -L -d sql:$HOME/.pki/nssdb";
    let out = on(&lab, HOST).args(["--log-level", "info"]).sh(&format!("{FETCH}\n{list}"));
    served(&out, HOST, 1);
    out.stdout_contains("awf-bpf").stderr_contains(&format!("--mount {0}:{0}", dir.display()));
    out.check(!out.stdout().contains("own  "), || "nothing of the user's".into());
    assert_eq!(all(&dir), before);
    let own =
        on(&lab, HOST).args(["--mount", &format!("{0}:{0}", dir.display())]).sh(&format!("{list}; {FETCH}"));
    own.stdout_contains("own  ");
    refused(&own, HOST);
}

/// Nothing outside of HOME is touched, nothing in it followed; who reads files trusts the CA all the same.
#[test]
fn a_hostile_home_leads_nowhere() {
    let curl = "curl -sS https://$HOST/";
    let lab = Lab::new();
    let (home, root) = (lab.dir().home(), lab.dir().root().to_owned());
    let victim = root.join("victim");
    for (dir, uid) in [(victim.clone(), 0), (victim.join("nssdb"), 0), (root.join("other"), UID + 1)] {
        users_dir(&dir, uid);
    }
    type Make<'a> = &'a dyn Fn(&Path);
    let make: [(&str, Make<'_>); 7] = [
        ("link to root's", &|pki| symlink(&victim, pki).expect("make a link")),
        ("link to another user's", &|pki| symlink(root.join("other"), pki).expect("make a link")),
        ("link to /etc", &|pki| symlink("/etc", pki).expect("make a link")),
        ("file", &|pki| fs::write(pki, "").expect("make a file")),
        ("FIFO", &|pki| drop(tools::succeed(Command::new("mkfifo").arg(pki)))),
        ("nssdb a link", &|pki| {
            users_dir(pki, UID);
            symlink(victim.join("nssdb"), pki.join("nssdb")).expect("make a link");
        }),
        ("closed", &|pki| users_dir(pki, 0)),
    ];
    for (what, make) in make {
        let pki = home.join(".pki");
        make(&pki);
        let before = (all(&home), all(&victim), all(&root.join("other")));
        let out = on(&lab, HOST).sh(curl);
        served(&out, HOST, 1);
        out.stderr_contains(&pki.display().to_string()).stderr_contains("Chromium does not trust");
        assert_eq!((all(&home), all(&victim), all(&root.join("other"))), before, "{what}");
        assert!(!Path::new("/etc/nssdb").exists(), "{what}");
        let _ = fs::remove_file(&pki).or_else(|_| fs::remove_dir_all(&pki));
    }
}

/// The directory that it lies over is the other run's, too.
#[test]
fn a_run_that_ends_takes_nothing_from_one_that_goes_on() {
    let lab = Lab::new();
    let before = all(&lab.dir().home());
    let first = on(&lab, HOST);
    let first_process = first.spawn(&["bash", "-c", "echo ready; cat"]);
    first_process.wait_for_stdout("ready", LIMIT);
    let gate = lab.dir().work().join("gate");
    tools::succeed(Command::new("mkfifo").arg(&gate));
    chown(&gate, Some(UID), Some(UID)).expect("give it to the user");
    let second = on(&lab, HOST);
    let process = second.spawn(&["bash", "-ec", &format!("echo ready; read <gate\n{FETCH}")]);
    process.wait_for_stdout("ready", LIMIT);
    first_process.signal(Signal::TERM);
    first.finish(first_process);
    assert!(lab.dir().home().join(".pki/nssdb").is_dir(), "it is still in use");
    fs::write(&gate, "go\n").expect("open the gate");
    served(&second.finish(process), HOST, 1);
    let after = all(&lab.dir().home());
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

#[test]
fn what_a_killed_run_leaves_is_two_empty_directories_until_gc() {
    let lab = Lab::new();
    let before = all(&lab.dir().home());
    let run = on(&lab, HOST);
    let process = run.spawn(&["bash", "-c", "echo ready; sleep 1000"]);
    process.wait_for_stdout("ready", LIMIT);
    process.signal(Signal::KILL);
    assert!(process.wait_exit(Duration::from_secs(10)));
    let left = all(&lab.dir().home().join(".pki"));
    assert_eq!(left.len(), 2, "{left:?}");
    lab.awf().subcommand(&["gc"]).ok();
    assert_eq!(all(&lab.dir().home()), before);
}
