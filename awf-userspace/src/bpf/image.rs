//! What the kernel put on a new program's stack, as its program `exec_image` sent it.

use awf_common::{Event, Image};

use super::process::{self, CUT};
use crate::sys::pod;

/// The path that was executed and its arguments: what execve(2) was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub path: Option<String>,
    pub argv: Option<Vec<String>>,
}

/// An event, and what was said with it. The kernel programs write whole [`Event`]s, or whole [`Image`]s and the texts
/// of these; anything else is a mismatch of versions.
pub(super) fn decode(bytes: &[u8]) -> Option<(Event, Option<Said>)> {
    if let Some(event) = pod::read(bytes) {
        return Some((event, None));
    }
    let (head, texts) = bytes.split_at_checked(size_of::<Image>())?;
    let image: Image = pod::read(head)?;
    let (path, args) = texts.split_at_checked(usize::try_from(image.path).ok()?)?;
    // The ring pads nothing: its lengths are exact.
    if u32::try_from(args.len()) != Ok(image.args) {
        return None;
    }
    let mut argv = process::split(args);
    if u64::from(image.args) < image.all_args
        && let Some(last) = argv.as_mut().and_then(|argv| argv.last_mut())
        && last != CUT
    {
        last.push_str(CUT);
    }
    Some((image.event, Some(Said { path: text(path), argv })))
}

/// A path, with its mark where it may have been cut: the kernel does not tell one that just fits.
fn text(path: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(path.strip_suffix(b"\0").unwrap_or(path)).into_owned();
    let cut = if path.len() < Image::PATH { "" } else { CUT };
    (!text.is_empty()).then_some(text + cut)
}

#[cfg(test)]
mod tests;
