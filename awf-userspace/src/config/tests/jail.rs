//! `--mount` and its kin.

use std::path::PathBuf;

use super::Case;
use crate::config::{Chroot, Mount};

fn mounts(case: &Case) -> Vec<String> {
    case.resolved().plan.jail.mounts.iter().map(ToString::to_string).collect()
}

#[test]
fn a_mount_is_source_target_and_mode() {
    let case = Case::new(&["-v", "/a:/b", "--mount", "/a b//c/:/d:ro", "-v", "/x:/y:rw"]);
    assert_eq!(mounts(&case), ["/a:/b:rw", "/a b/c:/d:ro", "/x:/y:rw"]);
}

#[test]
fn variables_are_put_in_and_may_hold_a_colon() {
    let case = Case::new(&["-v", "$D/x:${D}y:ro"]).var("D", "/a:b");
    assert_eq!(
        case.resolved().plan.jail.mounts,
        [Mount { source: PathBuf::from("/a:b/x"), target: PathBuf::from("/a:by"), writable: false }]
    );
}

/// sudo sets HOME and its kin to root's; others that it passes on may have been set behind it.
#[test]
fn home_is_that_of_sudos_caller() {
    let mut case = Case::new(&["-v", "$HOME/x:$HOME/x", "-v", "$D:/d", "--allow-unix", "$XDG_RUNTIME_DIR/s"])
        .var("HOME", "/root")
        .var("D", "/behind");
    let names = [("HOME", "/home/u"), ("D", "/before"), ("XDG_RUNTIME_DIR", "/run/user/7")];
    case.inputs.sudo = names.map(|(name, value)| (name.into(), value.into())).into();
    assert_eq!(mounts(&case), ["/home/u/x:/home/u/x:rw", "/behind:/d:rw"]);
    assert_eq!(case.resolved().plan.jail.unix, [PathBuf::from("/run/user/7/s")]);
    let roots = Case::new(&["-v", "$HOME/x:/x"]).var("HOME", "/root");
    assert_eq!(mounts(&roots), ["/root/x:/x:rw"]);
}

#[test]
fn mounts_that_cannot_be_meant_are_refused_with_advice() {
    let cases = [
        ("/a", "is not SOURCE:TARGET"),
        ("/a:/b:ro:x", "is not SOURCE:TARGET"),
        (":/b", "empty path"),
        ("a:/b", "does not begin with /"),
        ("/a:b", "does not begin with /"),
        ("/a/../c:/b", "with . or .. in it"),
        ("/a:/b/./c", "with . or .. in it"),
        ("/a:/b:z", "write ro or rw"),
        ("$NONE:/b", "not set where awf-bpf was started"),
        ("${NONE:/b", "a $ that is not followed"),
        ("/a$:/b", "a $ that is not followed"),
        ("/a$1:/b", "a $ that is not followed"),
    ];
    for (text, want) in cases {
        let got = Case::new(&["-v", text]).texts();
        assert!(
            got.len() == 1 && got[0].starts_with(&format!("--mount {text:?}")) && got[0].contains(want),
            "{got:?}"
        );
    }
    let all: Vec<_> = cases.iter().flat_map(|(text, _)| ["-v", text]).collect();
    assert_eq!(Case::new(&all).texts().len(), cases.len());
    assert!(Case::new(&["-v", "/a:/b", "-v", "/c:/b/"]).texts()[0].contains("same target"));
}

#[test]
fn mounts_need_a_root_of_their_own() {
    let case = Case::new(&["--chroot", "off", "-v", "/a:/b", "--share-tmp"]);
    assert_eq!(case.texts().len(), 2);
    assert!(case.texts()[0].contains("--mount needs --chroot auto"));
    assert_eq!(Case::new(&["--chroot", "off"]).resolved().plan.jail.chroot, Chroot::Off);
}

#[test]
fn sockets_are_named_like_mounts() {
    let unix = |args: &[&str]| Case::new(args).var("SOCK", "/tmp/ssh-x/agent.1").resolved().plan.jail.unix;
    let args = ["--allow-unix", "$SOCK", "--allow-unix", "/run//x.sock", "--enable-dind"];
    assert_eq!(unix(&args), ["/tmp/ssh-x/agent.1", "/run/x.sock", "/var/run/docker.sock"].map(PathBuf::from));
    assert!(unix(&[]).is_empty());
    for (text, want) in [
        ("", "empty path"),
        ("x.sock", "does not begin with /"),
        ("/run/../x", "with . or .. in it"),
        ("$NONE", "not set where awf-bpf was started"),
    ] {
        let got = Case::new(&["--allow-unix", text]).texts();
        let begins = format!("--allow-unix {text:?}");
        assert!(got.len() == 1 && got[0].starts_with(&begins) && got[0].contains(want), "{got:?}");
    }
}

#[test]
fn the_environment_names_workspace_caches_and_secrets() {
    let case = Case::new(&[])
        .var("GITHUB_WORKSPACE", "/home/r/_work/p")
        .var("RUNNER_TOOL_CACHE", "/opt/tools")
        .var("KUBECONFIG", "/a/config:relative:/b/config")
        .var("CARGO_HOME", "/c")
        .var("XDG_CONFIG_HOME", "not absolute");
    let jail = case.resolved().plan.jail;
    assert_eq!(jail.workspaces, [PathBuf::from("/home/r/_work/p")]);
    assert_eq!(jail.tool_caches, [PathBuf::from("/opt/tools")]);
    let secrets = ["/a/config", "/b/config", "/c/credentials", "/c/credentials.toml"];
    assert_eq!(jail.secrets, secrets.map(PathBuf::from));
    assert!(jail.config_dirs.is_empty());
}

#[test]
fn of_sudos_caller_everything_is_hidden_and_only_its_own_is_shown() {
    let names = [
        ("GITHUB_WORKSPACE", "/home/r/_work/p"),
        ("RUNNER_TOOL_CACHE", "/home/r/_work/_tool"),
        ("KUBECONFIG", "/b/config"),
        ("CARGO_HOME", "/c"),
        ("XDG_CONFIG_HOME", "/d"),
        ("MOUNT", "/m"),
    ];
    let mut case = Case::new(&["-v", "$MOUNT:/mnt"]).var("KUBECONFIG", "/a/config");
    case.inputs.sudo = names.map(|(name, value)| (name.into(), value.into())).into();
    let jail = case.resolved().plan.jail;
    assert_eq!((jail.workspaces.len(), jail.tool_caches.len()), (0, 0));
    assert_eq!(jail.own, [PathBuf::from("/home/r/_work/p")]);
    assert_eq!(jail.own_caches, [PathBuf::from("/home/r/_work/_tool")]);
    let secrets = ["/a/config", "/b/config", "/c/credentials", "/c/credentials.toml"];
    assert_eq!(jail.secrets, secrets.map(PathBuf::from));
    assert_eq!(jail.config_dirs, [PathBuf::from("/d")]);
    assert_eq!(jail.mounts[0].source, PathBuf::from("/m"));
}

#[test]
fn a_runner_keeps_what_its_later_steps_run() {
    let case = Case::new(&[])
        .var("RUNNER_TEMP", "/r/_work/_temp")
        .var("GITHUB_ENV", "/r/_work/_temp/c/set_env_1")
        .var("GITHUB_OUTPUT", "/r/_work/_temp/c/set_output_1");
    let jail = case.resolved().plan.jail;
    assert_eq!(jail.own, [PathBuf::from("/r/_work/_temp")]);
    assert_eq!(jail.temp, Some(PathBuf::from("/r/_work/_temp")));
    for kept in ["/r/_work/_temp/c/set_env_1", "/r/_work/_actions", "/r/externals", "/r/.env"] {
        assert!(jail.keep.contains(&PathBuf::from(kept)), "{kept}");
    }
    assert!(!jail.keep.contains(&PathBuf::from("/r/_work/_temp/c/set_output_1")));
    assert_eq!(case.env("GITHUB_OUTPUT").as_deref(), Some("/r/_work/_temp/c/set_output_1"));
    assert_eq!(case.env("GITHUB_ENV"), None);
    assert!(jail.secrets.contains(&PathBuf::from("/r/.credentials_rsaparams")));
    let jail = Case::new(&[]).var("RUNNER_TEMP", "/scratch/x").resolved().plan.jail;
    assert_eq!((jail.own.len(), jail.keep.len(), jail.secrets.len()), (1, 0, 0));
}

#[test]
fn the_configuration_file_says_where_may_be_written() {
    let case = |text: &str| Case::new(&["-c", "f.toml"]).var("W", "/w").file("f.toml", text);
    let plan = |text: &str| case(text).resolved().plan.jail.allow_write;
    assert_eq!(plan("[policy]\n"), None);
    assert_eq!(plan("[filesystem]\nallow_write = []\n"), Some(vec![]));
    let paths = ["/w/out", "/tmp"].map(PathBuf::from).to_vec();
    assert_eq!(plan("[filesystem]\nallow-write = [\"$W/out\", \"/tmp/\"]\n"), Some(paths));
    assert_eq!(
        case("allow_write = []\n[filesystem]\nallow_write = [\"rel\",\n\"/a/../b\"]\nx = 1\n").texts(),
        [
            "f.toml:1: `allow_write` stands outside of a table; write [filesystem] above it",
            "f.toml:5: unknown key \"x\"; known: allow_write, mount, share_tmp, allow_unix, chroot",
            "f.toml:3: `allow_write`: \"rel\" has a path that does not begin with /; write it whole, as $PWD/data or $HOME/data",
            "f.toml:4: `allow_write`: \"/a/../b\" has a path with . or .. in it; write where it leads to",
        ]
    );
    let off = Case::new(&["-c", "f", "--chroot", "off"]).file("f", "[filesystem]\nallow_write = []\n");
    assert!(off.texts()[0].starts_with("[filesystem] allow_write needs --chroot auto"));
}
