//! PATH and the places of toolchains, as the caller has them: sudo removes both, and a runner keeps what the steps
//! before this one said in files.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use super::{Inputs, Notice, env_file};

/// PATH for a caller who has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where toolchains are, and where below that their programs are.
const HOMES: [(&str, Option<&str>); 6] = [
    ("GOROOT", Some("bin")),
    ("CARGO_HOME", Some("bin")),
    ("RUSTUP_HOME", None),
    ("JAVA_HOME", Some("bin")),
    ("DOTNET_ROOT", Some("")),
    ("BUN_INSTALL", Some("bin")),
];
/// Directories that steps add to PATH, one a line.
pub(super) const GITHUB_PATH: &str = "GITHUB_PATH";
/// Variables that steps set, as `NAME=value` or `NAME<<END`, lines, `END`.
pub(super) const GITHUB_ENV: &str = "GITHUB_ENV";

/// What is known of the caller's toolchains.
#[derive(Debug, Default)]
pub(super) struct Toolchains {
    /// Variables the environment lacks, found elsewhere.
    pub(super) recovered: BTreeMap<OsString, OsString>,
    pub(super) path: OsString,
}

/// Puts them together from the environment, sudo's, and the runner's files, in this order.
pub(super) fn find(inputs: &Inputs, notices: &mut Vec<Notice>) -> Toolchains {
    let written = read_file(inputs, GITHUB_ENV, notices).map(|bytes| variables(&bytes)).unwrap_or_default();
    let mut recovered = BTreeMap::new();
    for (name, _) in HOMES {
        let name = OsStr::new(name);
        let elsewhere = inputs.sudo.get(name).or_else(|| written.get(name));
        if let (None, Some(value)) = (inputs.env.iter().find(|(own, _)| own == name), elsewhere) {
            recovered.insert(name.to_owned(), value.clone());
        }
    }
    if !recovered.is_empty() {
        let names = recovered.keys().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(", ");
        let text = format!("{names}: as the caller of sudo, or $GITHUB_ENV, has it (--exclude-env)");
        notices.push(Notice { level: log::Level::Debug, text });
    }
    let path = path(inputs, &recovered, notices);
    Toolchains { recovered, path }
}

fn path(inputs: &Inputs, recovered: &BTreeMap<OsString, OsString>, notices: &mut Vec<Notice>) -> OsString {
    let added = read_file(inputs, GITHUB_PATH, notices).unwrap_or_default();
    let mut dirs: Vec<PathBuf> = lines(&added).map(|line| OsStr::from_bytes(line).into()).collect();
    // As the runner does: what was added last comes first.
    dirs.reverse();
    let home = |(name, below): &(&str, Option<&str>)| {
        let value = inputs.var(name).or_else(|| recovered.get(OsStr::new(name)))?;
        Some(Path::new(value).join((*below)?))
    };
    let homes: Vec<PathBuf> = HOMES.iter().filter_map(home).collect();
    let of_sudo = inputs.sudo.get(OsStr::new("PATH"));
    let own = inputs.var("PATH").filter(|path| !path.is_empty());
    let callers = of_sudo.or(own).cloned().unwrap_or_else(|| DEFAULT_PATH.into());
    let callers = callers.as_bytes().split(|byte| *byte == b':').map(|dir| OsStr::from_bytes(dir).into());
    // sudo's own PATH would show the system's toolchain before the caller's.
    if inputs.var("SUDO_UID").is_some() && of_sudo.is_none() {
        dirs.extend(homes.into_iter().chain(callers));
    } else {
        dirs.extend(callers.chain(homes));
    }
    let mut kept: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        // Not what depends on the working directory: CMD may change that, and what lies in it.
        if dir.is_absolute() && !dir.as_os_str().as_bytes().contains(&b':') && !kept.contains(&dir) {
            kept.push(dir);
        }
    }
    let kept: Vec<_> = kept.iter().map(|dir| dir.as_os_str().as_bytes()).collect();
    OsString::from_vec(kept.join(&b':'))
}

fn read_file(inputs: &Inputs, name: &str, notices: &mut Vec<Notice>) -> Option<bytes::Bytes> {
    let path = inputs.caller_var(name)?;
    match inputs.files.get(Path::new(path))? {
        Ok(bytes) => Some(bytes.clone()),
        Err(why) => {
            let text = format!("${name} is not used: {}: {why}", Path::new(path).display());
            notices.push(Notice { level: log::Level::Warn, text });
            None
        }
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty())
}

/// The variables of a `$GITHUB_ENV` file; the last of a name counts. From a value without its end on, nothing does:
/// the runner refuses such a file.
fn variables(bytes: &[u8]) -> BTreeMap<OsString, OsString> {
    let mut found = BTreeMap::new();
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    while !rest.is_empty() {
        let line = line(&mut rest);
        let equals = line.iter().position(|byte| *byte == b'=');
        let heredoc = line.windows(2).position(|two| two == b"<<");
        let (name, value) = match (equals, heredoc) {
            (Some(at), other) if other.is_none_or(|other| at < other) => {
                (&line[..at], line[at + 1..].to_vec())
            }
            (_, Some(at)) => match until(&mut rest, &line[at + 2..]) {
                Some(value) => (&line[..at], value),
                None => break,
            },
            _ => continue,
        };
        if env_file::is_name(name) && !value.contains(&0) {
            found.insert(OsString::from_vec(name.to_vec()), OsString::from_vec(value));
        }
    }
    found
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The lines up to the one that is `end`, which is taken, too.
fn until(rest: &mut &[u8], end: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    while !end.is_empty() && !rest.is_empty() {
        let line = line(rest);
        if line == end {
            return Some(lines.join(&b'\n'));
        }
        lines.push(line);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let found = variables(text.as_bytes());
        found.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect()
    }

    #[test]
    fn a_runners_file_has_lines_and_heredocs() {
        let text =
            "\u{feff}A=1\r\nB<<EOF\nx=y\n\nz<<Q\nEOF\nA=2\nC=<<EOF\nD<<'E'\nd\n'E'\nE<<E\nE\n bad=1\nnone\n";
        assert_eq!(shown(text), ["A=2", "B=x=y\n\nz<<Q", "C=<<EOF", "D=d", "E="]);
    }

    #[test]
    fn a_heredoc_without_end_hides_what_follows() {
        assert_eq!(shown("A=1\nB<<EOF\nC=3\n"), ["A=1"]);
        assert_eq!(shown("A=1\nB<<\nC=3\n"), ["A=1"]);
    }
}
