//! What sudo lets a user run, in its own words (`sudo -l -l`, sudo(8)).

use std::{fmt, path::Path};

use crate::hook::tools::{self, ToolError};

/// One command that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As whom.
    pub runas: String,
    pub command: String,
    /// Without the user's password, which a step does not know.
    pub no_password: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.no_password { "" } else { ", with a password" };
        write!(f, "{} (as {}{password})", self.command, self.runas)
    }
}

/// What sudo lets `user` run beyond the hooks of `binary`. To be asked by root.
///
/// # Errors
///
/// When sudo does not answer: then nothing is known.
pub fn beyond_the_hooks(user: &str, binary: &Path) -> Result<Vec<Entry>, ToolError> {
    let text = tools::run("sudo", &["-n", "-U", user, "-l", "-l"])?;
    let own = ["pre-job", "post-job"].map(|word| format!("{} hook {word}", binary.display()));
    Ok(entries(&text).into_iter().filter(|entry| !own.contains(&entry.command)).collect())
}

/// The entries that count: of those that match, the last one does, so one that denies all takes back what stands before
/// it. One that denies less leaves more than can be listed.
fn entries(text: &str) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let (mut runas, mut no_password) = (String::from("root"), false);
    for line in text.lines() {
        if line.starts_with("Sudoers entry") || line.starts_with("LDAP Role") || line.starts_with("SSSD Role")
        {
            (runas, no_password) = (String::from("root"), false);
        } else if let Some(users) = line.strip_prefix("    RunAsUsers: ") {
            users.clone_into(&mut runas);
        } else if let Some(options) = line.strip_prefix("    Options: ") {
            no_password = options.split(", ").any(|option| option == "!authenticate");
        } else if let Some(command) = line.strip_prefix('\t') {
            match command {
                // For some users it is no answer for the others.
                "!ALL" if runas == "ALL" => all.clear(),
                _ if command.starts_with('!') => {}
                _ => {
                    let (runas, command) = (runas.clone(), command.to_owned());
                    all.push(Entry { runas, command, no_password });
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of sudo 1.9.13.
    const HEAD: &str = "Matching Defaults entries for runner on vm:\n    env_reset, use_pty\n\n\
        User runner may run the following commands on vm:\n";
    const HOOKS: &str = "\nSudoers entry:\n    RunAsUsers: root\n    Options: !setenv, !authenticate\n    Commands:\n\
        \t/usr/bin/awf-bpf hook pre-job\n\t/usr/bin/awf-bpf hook post-job\n";
    const ALL: &str = "\nSudoers entry: /etc/sudoers.d/x\n    RunAsUsers: ALL\n    RunAsGroups: ALL\n    \
        Options: !authenticate\n    Commands:\n\tALL\n\t!/bin/ls\n";
    const NONE: &str = "\nSudoers entry:\n    RunAsUsers: ALL\n    RunAsGroups: ALL\n    Commands:\n\t!ALL\n";

    fn shown(parts: &[&str]) -> Vec<String> {
        entries(&(HEAD.to_owned() + &parts.concat())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_entry_that_matches_counts() {
        let hooks = ["/usr/bin/awf-bpf hook pre-job (as root)", "/usr/bin/awf-bpf hook post-job (as root)"];
        assert_eq!(shown(&[HOOKS]), hooks);
        assert_eq!(shown(&[ALL, NONE, HOOKS]), hooks);
        assert_eq!(shown(&[ALL]), ["ALL (as ALL)"]);
        assert_eq!(shown(&[NONE, HOOKS, ALL]).len(), 3, "a later file gives it all back");
        assert_eq!(shown(&[ALL, &NONE.replace("RunAsUsers: ALL", "RunAsUsers: postgres")]), ["ALL (as ALL)"]);
    }

    #[test]
    fn a_password_is_told() {
        let asks = ALL.replace("    Options: !authenticate\n", "");
        assert_eq!(shown(&[&asks]), ["ALL (as ALL, with a password)"]);
        assert_eq!(entries("User daemon is not allowed to run sudo on vm.\n"), []);
    }
}
