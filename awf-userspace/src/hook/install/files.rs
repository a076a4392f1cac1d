//! What the files that `hook install` makes say. Pure.

use std::path::Path;

/// The directory of all that is root's: policy, wrappers, records.
pub const ETC: &str = "/etc/awf-bpf";
/// The policy of every job.
pub const POLICY: &str = "/etc/awf-bpf/policy.toml";
/// The wrappers, in the order of [`super::env_file::VARIABLES`], and the word that each calls awf-bpf with.
pub const WRAPPERS: [(&str, &str); 2] =
    [("/etc/awf-bpf/hooks/pre-job.sh", "pre-job"), ("/etc/awf-bpf/hooks/post-job.sh", "post-job")];

/// What a hook exits with when it has said itself, in an `::error::`, why.
pub const SAID: u8 = 125;

/// A script that the runner takes: it wants a file `*.sh`, and runs it as `bash -e FILE`.
#[must_use]
pub fn wrapper(sudo: &Path, binary: &Path, word: &str) -> String {
    let (sudo, binary) = (sudo.display(), binary.display());
    // Steps with `if: always()` run whatever a hook exits with, and here nobody knows that anything holds them.
    let end = match word {
        "pre-job" => {
            "read -r name </proc/$PPID/comm || :; [ \"$name\" != Runner.Worker ] || kill -KILL $PPID; "
        }
        _ => "",
    };
    // Before anything is started, and of builtins alone: it may be that there can be no more processes.
    format!(
        "#!/bin/bash\n\
         # Made by awf-bpf hook install, removed by awf-bpf hook uninstall. Exit code {SAID}: it has said why itself.\n\
         trap 'code=$?; [ $code -eq 0 ] || [ $code -eq {SAID} ] || {{ echo \"::error title=awf-bpf::{sudo} -n {binary} hook \
         {word} did not run to its end (exit code $code). Is {binary} there, and may uid $UID run it? As root: {binary} hook \
         status\"; {end}}}' EXIT; {sudo} -n {binary} hook {word} </dev/null\n"
    )
}

/// Both hooks for `uid`, as root, and nothing else. sudo matches a command given with arguments only with exactly
/// those, and passes on none of the job's variables: what the hooks need of them they read from the runner's processes.
#[must_use]
pub fn sudoers(name: &str, uid: u32, binary: &Path, disable_sudo: bool) -> String {
    let binary = binary.display();
    let alias = format!("AWF_BPF_{uid}");
    // The last entry that matches decides.
    let only = if disable_sudo { format!("#{uid} ALL = (ALL:ALL) !ALL\n") } else { String::new() };
    format!(
        "# Made by awf-bpf hook install, removed by awf-bpf hook uninstall: the hooks of runners of {name}.\n\
         Cmnd_Alias {alias} = {binary} hook pre-job, {binary} hook post-job\n\
         Defaults!{alias} env_reset, !env_keep, !env_check, !setenv, !use_pty, !requiretty, !pam_session, \
         secure_path=\"/usr/sbin:/usr/bin:/sbin:/bin\"\n\
         {only}\
         #{uid} ALL = (root) NOPASSWD: NOSETENV: {alias}\n"
    )
}

/// systemd leaves the cgroups below the service to the hooks.
#[must_use]
pub fn drop_in() -> &'static str {
    "# Made by awf-bpf hook install, removed by awf-bpf hook uninstall: each job gets a cgroup below the service's.\n\
     [Service]\nDelegate=yes\n"
}

/// A policy to begin with: it allows nothing.
#[must_use]
pub fn starter() -> &'static str {
    "# The policy of every job of the runners of this machine: what their steps may reach. What the runner itself needs\n\
     # of GitHub is allowed to it, and to nobody else. awf-bpf check -c /etc/awf-bpf/policy.toml HOST says what it does.\n\
     \n\
     [policy]\n\
     # An example. Without one every step is without network, and the job's summary says what to add.\n\
     # allow_domains = [\"github.com\", \"*.githubusercontent.com\", \"example.com\"]\n\
     allow_domains = []\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_to_begin_with_is_valid_and_allows_nothing() {
        use clap::Parser as _;

        use crate::config::{ExecArgs, Inputs, resolve};

        #[derive(clap::Parser)]
        struct Words {
            #[command(flatten)]
            exec: ExecArgs,
        }
        let file = std::env::temp_dir().join(format!("awf-starter-{}.toml", std::process::id()));
        std::fs::write(&file, starter()).unwrap();
        let words = ["x", "-c", file.to_str().unwrap(), "--", "true"];
        let args = Words::try_parse_from(words).unwrap().exec;
        let plan = resolve(&args, &Inputs::read(&args));
        std::fs::remove_file(file).unwrap();
        plan.unwrap();
    }

    #[test]
    fn a_wrapper_has_three_lines() {
        let text = wrapper(Path::new("/usr/bin/sudo"), Path::new("/usr/bin/awf-bpf"), "pre-job");
        assert_eq!(text.lines().count(), 3);
        let last = text.lines().nth(2).unwrap();
        assert!(
            last.starts_with("trap '")
                && last.ends_with("EXIT; /usr/bin/sudo -n /usr/bin/awf-bpf hook pre-job </dev/null")
        );
    }

    #[test]
    fn all_but_the_hooks_is_denied_before_they_are_allowed() {
        let text = sudoers("runner", 1001, Path::new("/usr/bin/awf-bpf"), true);
        let (deny, allow) =
            (text.find("#1001 ALL = (ALL:ALL) !ALL"), text.find("#1001 ALL = (root) NOPASSWD"));
        assert!(deny.is_some() && deny < allow, "{text}");
        assert!(!sudoers("runner", 1001, Path::new("/usr/bin/awf-bpf"), false).contains("!ALL"));
    }
}
