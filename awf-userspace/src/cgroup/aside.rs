//! Stepping aside: awf-bpf itself leaves its cgroup for one below it, as `podman --cgroups=split` does, so that the
//! cgroup can be divided; and comes back.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CgroupError,
    limits::{Controller, LimitError},
    remove_one,
};

/// What the name of our own cgroup ends with, after the run's.
pub const OWN: &str = "-own";

/// How many of the other processes an error names.
const NAMED: usize = 5;

/// Where we are from, and where we go.
#[derive(Debug)]
pub(super) struct Aside {
    home: PathBuf,
    /// Not in the run's cgroup: that is killed as a whole.
    place: PathBuf,
    away: bool,
    /// Controllers that were passed on for us from `home`.
    pub(super) undo: Vec<&'static str>,
}

impl Aside {
    /// For the run whose cgroup is `dir`; `None` at the root of the hierarchy, which is divided as it is.
    ///
    /// # Errors
    ///
    /// When others are there: they are not ours to move.
    pub(super) fn plan(dir: &Path, flag: &'static str) -> Result<Option<Self>, CgroupError> {
        let (Some(home), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(None) };
        // Of all cgroups only the root has no type (cgroups(7)), also where a namespace shows another one as the root.
        if !home.join("cgroup.type").exists() {
            return Ok(None);
        }
        let path = home.join("cgroup.procs");
        let members = fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
        if let Some(others) = others(&members, std::process::id()) {
            return Err(LimitError::Shared { flag, path: home.into(), others }.into());
        }
        let place = home.join(format!("{}{OWN}", name.to_string_lossy()));
        Ok(Some(Self { home: home.into(), place, away: false, undo: Vec::new() }))
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Goes.
    pub(super) fn step(&mut self, flag: &'static str) -> Result<(), CgroupError> {
        let failed = |source| LimitError::Aside { flag, path: self.home.clone(), source };
        fs::create_dir(&self.place).map_err(failed)?;
        self.away = true;
        Ok(enter(&self.place).map_err(failed)?)
    }

    /// Comes back, once nothing is left of the run; without having gone it does nothing.
    ///
    /// # Errors
    ///
    /// When `home` cannot be made as it was.
    pub(super) fn back(&mut self) -> Result<(), CgroupError> {
        if !self.away {
            return Ok(());
        }
        let failed = |source| CgroupError::Return { path: self.home.clone(), source };
        for name in &self.undo {
            fs::write(self.home.join("cgroup.subtree_control"), format!("-{name}")).map_err(failed)?;
        }
        enter(&self.home).map_err(failed)?;
        self.away = false;
        remove_one(&self.place)
    }
}

/// Removes a cgroup of a dead run's beside its own, which is gone. Where its awf-bpf stepped aside, the cgroup that it came from
/// was divided for it alone, and would let nobody in any more.
///
/// # Errors
///
/// Names the cgroup that could not be removed; when a process outlives `patience` there.
pub fn remove_beside(path: &Path, patience: Duration) -> Result<(), CgroupError> {
    let is_own = path.as_os_str().as_encoded_bytes().ends_with(OWN.as_bytes());
    if is_own {
        // A dying process lets go of its lock before it leaves its cgroup.
        super::kill(path, patience)?;
    }
    remove_one(path)?;
    if let Some(home) = path.parent().filter(|_| is_own) {
        for name in Controller::ALL.map(Controller::name) {
            // Refused as long as another run needs it, which will do the same.
            let _ = fs::write(home.join("cgroup.subtree_control"), format!("-{name}"));
        }
    }
    Ok(())
}

fn enter(dir: &Path) -> io::Result<()> {
    // 0 is whoever writes, in every PID namespace.
    fs::write(dir.join("cgroup.procs"), "0")
}

/// Who beside `own` is in the text of a cgroup.procs; `None`: nobody.
fn others(members: &str, own: u32) -> Option<String> {
    let others: Vec<&str> = members.lines().filter(|pid| *pid != own.to_string()).collect();
    let name = |pid: &&str| match *pid {
        "0" => "one of another PID namespace".to_owned(),
        pid => match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("{pid} {}", name.trim_end()),
            Err(_) => pid.to_owned(),
        },
    };
    let mut text = others.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    if others.len() > NAMED {
        text += &format!(" and {} more", others.len() - NAMED);
    }
    (!others.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named_and_we_are_not() {
        let own = std::process::id();
        assert_eq!(others(&format!("{own}\n"), own), None);
        assert_eq!(others("", own), None);
        let text = others(&format!("1\n{own}\n0\n4000000000\n"), own).unwrap();
        assert!(
            text.starts_with("1 ") && text.ends_with(", one of another PID namespace, 4000000000"),
            "{text}"
        );
        let many = others("0\n0\n0\n0\n0\n0\n0\n", own).unwrap();
        assert!(many.ends_with("namespace and 2 more"), "{many}");
    }

    #[test]
    fn a_shared_cgroup_is_an_error_with_a_remedy() {
        let error = LimitError::Shared { flag: "--memory-limit", path: "/c".into(), others: "7 bash".into() };
        let said = error.to_string();
        assert!(said.contains("7 bash") && said.contains("systemd-run --scope -p Delegate=yes"), "{said}");
    }
}
