//! Finding CMD in the PATH it was given, and becoming it (`execvpe(3)`, without its fallback to /bin/sh).
//!
//! Of a PATH with a directory that may not be searched, `execvpe` says EACCES for every name that is nowhere else; env(1),
//! nohup(1) and timeout(1) make 126 of it. Here it is 127, as in bash and docker: nobody found anything. Under sudo
//! such a PATH is common: root's own directories, searched as somebody else.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::JailError;
use crate::sys::exec::{CStrArray, execve};

/// Where to look when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Everything `execve` needs, made while failing is still easy to report.
pub(super) struct Prepared {
    name: OsString,
    candidates: Vec<(PathBuf, CString)>,
    argv: CStrArray,
    envp: CStrArray,
}

impl Prepared {
    pub(super) fn new(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<Self, JailError> {
        let name = argv.first().filter(|name| !name.is_empty()).ok_or(JailError::EmptyCommand)?.clone();
        let path = env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
        let candidates = candidates(&name, path.unwrap_or(OsStr::new(DEFAULT_PATH)))
            .into_iter()
            .map(|path| c_string(path.as_os_str()).map(|text| (path, text)))
            .collect::<Result<_, _>>()?;
        let argv = argv.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>()?;
        let envp = env.iter().map(|(key, value)| assignment(key, value)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name, candidates, argv: CStrArray::new(argv), envp: CStrArray::new(envp) })
    }

    /// Does not return if one of the candidates can be executed.
    pub(super) fn exec(&self) -> Result<Infallible, JailError> {
        let mut denied = None;
        let mut closed = Vec::new();
        for (path, text) in &self.candidates {
            let error = execve(text, &self.argv, &self.envp);
            match error.raw_os_error() {
                // It may be the interpreter in its first line that does not exist.
                Some(libc::ENOENT) if std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file()) => {
                    return Err(JailError::NoInterpreter { path: path.clone() });
                }
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) if self.is_searched() && !is_file(path) => closed.extend(closed_dir(path)),
                // Like a shell: a later directory may have one that can be executed.
                Some(libc::EACCES) => denied = denied.or(Some((path, error))),
                _ => return Err(not_executable(path, error)),
            }
        }
        Err(match denied {
            Some((path, error)) => not_executable(path, error),
            None => JailError::NotFound { program: self.name.to_string_lossy().into_owned(), closed },
        })
    }

    /// Whether the name was looked for in PATH.
    fn is_searched(&self) -> bool {
        !self.name.as_bytes().contains(&b'/')
    }
}

/// A directory of that name is no command either.
fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_dir())
}

/// The directory of `path`, if what is in it cannot be seen.
fn closed_dir(path: &Path) -> Option<PathBuf> {
    let hidden = std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
    path.parent().filter(|_| hidden).map(Path::to_owned)
}

fn not_executable(path: &Path, source: io::Error) -> JailError {
    JailError::NotExecutable { path: path.into(), source }
}

/// With a slash, the name itself; else the name in every directory of PATH, of which an empty one is the current.
fn candidates(name: &OsStr, path: &OsStr) -> Vec<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    let in_dir = |dir: &[u8]| match dir {
        b"" => Path::new(".").join(name),
        _ => Path::new(OsStr::from_bytes(dir)).join(name),
    };
    path.as_bytes().split(|byte| *byte == b':').map(in_dir).collect()
}

fn assignment(key: &OsStr, value: &OsStr) -> Result<CString, JailError> {
    let mut text = key.to_os_string();
    text.push("=");
    text.push(value);
    // A value may be a secret: only its name is worth a message.
    CString::new(text.as_bytes()).map_err(|_| JailError::NulByte(key.to_string_lossy().into_owned()))
}

fn c_string(text: &OsStr) -> Result<CString, JailError> {
    CString::new(text.as_bytes()).map_err(|_| JailError::NulByte(text.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str, path: &str) -> Vec<String> {
        let found = candidates(OsStr::new(name), OsStr::new(path));
        found.into_iter().map(|p| p.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_slash_means_no_search() {
        assert_eq!(find("./a", "/usr/bin"), ["./a"]);
        assert_eq!(find("/bin/a", "/usr/bin"), ["/bin/a"]);
    }

    #[test]
    fn every_directory_in_order_and_an_empty_one_is_the_current() {
        assert_eq!(find("a", "/x:/y::/z:"), ["/x/a", "/y/a", "./a", "/z/a", "./a"]);
    }

    #[test]
    fn the_path_is_cmds_and_the_last_one_counts() {
        let env = [("PATH".into(), "/first".into()), ("PATH".into(), "/last".into())];
        let prepared = Prepared::new(&["a".into()], &env).unwrap();
        assert_eq!(prepared.candidates[0].0, Path::new("/last/a"));
    }

    #[test]
    fn a_nul_byte_names_the_variable_but_not_its_value() {
        let env = [("TOKEN".into(), "secret\0".into())];
        let Err(error) = Prepared::new(&["a".into()], &env) else { panic!("accepted") };
        assert!(error.to_string().contains("TOKEN") && !error.to_string().contains("secret"));
    }
}
