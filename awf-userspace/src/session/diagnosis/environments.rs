//! What of the variables that are set for it a program still has: looked at when its TLS begins, because who does not like
//! what it is shown is often gone at once. Kept is whether each is as it was set, nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    audit::ProcessInfo,
    ca::{PLACE, VARIABLES},
};

/// Bytes of an environment that are looked at: twice what one string may have (execve(2)).
const MOST: u64 = 256 << 10;
/// Processes that are remembered.
const PROCESSES: usize = 1024;

/// Of the variables that a process has, whether each is ours. One that is empty counts as none, to all that read these.
pub(super) type States = BTreeMap<&'static str, bool>;

/// Of each process, by its number.
#[derive(Debug)]
pub(in crate::session) struct Environments {
    /// As they are set for the command.
    set: Vec<(OsString, OsString)>,
    /// With the executable that it was then.
    seen: Mutex<HashMap<u32, (PathBuf, States)>>,
}

impl Environments {
    pub(in crate::session) fn new(set: Vec<(OsString, OsString)>) -> Self {
        Self { set, seen: Mutex::default() }
    }

    /// Whether it is among what is set.
    pub(super) fn sets(&self, name: &str) -> bool {
        self.set.iter().any(|(known, _)| known == name)
    }

    /// Looks at process `pid`, which waits for us.
    pub(in crate::session) fn look(&self, pid: u32) {
        let Ok(now) = self.read(pid) else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= PROCESSES {
            seen.clear();
        }
        seen.insert(pid, now);
    }

    fn read(&self, pid: u32) -> io::Result<(PathBuf, States)> {
        let exe = fs::read_link(format!("/proc/{pid}/exe"))?;
        let mut bytes = Vec::new();
        File::open(format!("/proc/{pid}/environ"))?.take(MOST).read_to_end(&mut bytes)?;
        Ok((exe, self.states(&bytes)))
    }

    fn states(&self, environment: &[u8]) -> States {
        let mut states = States::new();
        for variable in environment.split(|byte| *byte == 0) {
            let Some(at) = variable.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&variable[..at], OsStr::from_bytes(&variable[at + 1..]));
            let known = VARIABLES.iter().find(|(known, ..)| known.as_bytes() == name);
            if let Some((name, ..)) = known.filter(|_| !value.is_empty()) {
                let set = self.set.iter().any(|(known, set)| *known == **name && set == value);
                // The first of a name counts, as in getenv(3).
                states.entry(name).or_insert(set || Path::new(value).starts_with(PLACE));
            }
        }
        states
    }

    /// What was seen of `process`, if it was that one.
    pub(super) fn of(&self, process: &ProcessInfo) -> Option<States> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (exe, states) = seen.get(&process.pid)?;
        (process.exe.as_deref() == exe.to_str()).then(|| states.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_which_variables_are_as_they_were_set() {
        let ours = OsString::from("/run/awf-bpf/tls/certs:/etc/ssl/certs");
        let all = Environments::new(vec![("SSL_CERT_DIR".into(), ours)]);
        let states = all.states(
            b"SSL_CERT_DIR=/run/awf-bpf/tls/certs:/etc/ssl/certs\0PIP_CERT=\0SECRET=x\0\
              CURL_CA_BUNDLE=/x\0CURL_CA_BUNDLE=/run/awf-bpf/tls/bundle.pem\0SSL_CERT_FILE=/run/awf-bpf/tls/ca.pem",
        );
        let want = [("CURL_CA_BUNDLE", false), ("SSL_CERT_DIR", true), ("SSL_CERT_FILE", true)];
        assert_eq!(states, want.into());
    }

    #[test]
    fn another_program_of_the_same_number_is_not_it() {
        let all = Environments::new(vec![]);
        let own = std::process::id();
        all.look(own);
        let exe = std::env::current_exe().unwrap().to_str().map(str::to_owned);
        let process = ProcessInfo { pid: own, exe, ..ProcessInfo::default() };
        assert!(all.of(&process).is_some());
        assert_eq!(all.of(&ProcessInfo { exe: Some("/bin/other".into()), ..process }), None);
    }
}
