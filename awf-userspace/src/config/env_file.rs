//! Files of `NAME=value` lines.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::ConfigError;

/// What an error repeats of a name, in characters.
const SHOWN: usize = 40;

/// The variables of an env file: everything behind the first `=` is the value, as it is; `#` begins a comment
/// line; blank lines are skipped.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Vec<Result<(OsString, OsString), ConfigError>> {
    let lines = bytes.split(|&b| b == b'\n').enumerate();
    let lines = lines.map(|(index, line)| (index + 1, line.strip_suffix(b"\r").unwrap_or(line)));
    lines.filter(|(_, line)| !is_blank(line)).map(|(number, line)| variable(path, number, line)).collect()
}

fn is_blank(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.is_empty() || line.starts_with(b"#")
}

fn variable(path: &Path, line: usize, bytes: &[u8]) -> Result<(OsString, OsString), ConfigError> {
    let bytes = bytes.trim_ascii_start();
    let name = bytes.split(|&b| b == b'=').next().unwrap_or_default();
    if name.len() == bytes.len() || !is_name(name) || bytes.contains(&0) {
        // A line without `=` may be a secret on its own: it is not repeated.
        let text = match name.len() == bytes.len() {
            true => "a line without =".to_owned(),
            false => format!("{:?}", String::from_utf8_lossy(name).chars().take(SHOWN).collect::<String>()),
        };
        return Err(ConfigError::EnvLine { path: path.to_owned(), line, text });
    }
    let value = &bytes[name.len() + 1..];
    Ok((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
}

/// The names a shell accepts.
pub(super) fn is_name(name: &[u8]) -> bool {
    let rest = name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_');
    rest && name.first().is_some_and(|first| !first.is_ascii_digit())
}
