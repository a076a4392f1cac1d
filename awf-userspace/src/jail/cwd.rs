//! CMD's working directory: the wanted one if its user can enter it, else HOME, else `/`.

use std::path::{Path, PathBuf};

use rustix::process::chdir;

use super::error::JailError;

/// Which directory it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    wanted: PathBuf,
    got: PathBuf,
}

impl Entered {
    pub(super) fn note(&self) -> Option<String> {
        (self.wanted != self.got).then(|| {
            let (wanted, got) = (self.wanted.display(), self.got.display());
            format!("{wanted} is not there for the command, or not open to its user: it starts in {got} (--mount shows it)")
        })
    }
}

/// To be called as CMD's user, and always: the directory `__init` inherited is seen through the host's mounts. `must`:
/// whether it is an error that `wanted` cannot be entered.
pub(super) fn enter(wanted: &Path, must: bool, home: &Path) -> Result<Entered, JailError> {
    if must {
        chdir(wanted).map_err(|e| JailError::Workdir { path: wanted.into(), source: e.into() })?;
        return Ok(Entered { wanted: wanted.into(), got: wanted.into() });
    }
    let candidates = [wanted, home, Path::new("/")];
    let got = candidates.into_iter().filter(|path| path.is_absolute()).find(|path| chdir(*path).is_ok());
    match got {
        Some(got) => Ok(Entered { wanted: wanted.into(), got: got.into() }),
        None => Err(JailError::Cwd(std::io::Error::last_os_error())),
    }
}
