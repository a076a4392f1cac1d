//! The Markdown of a run for GITHUB_STEP_SUMMARY, and the file it goes to, which is the job's: both hostile.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
};

use rustix::{
    fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Uid, openat2},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::tally::{Sums, Tally};

/// What the runner takes of one step (actions/runner, `CreateStepSummaryCommand.AttachmentSizeLimit`).
const LIMIT: u64 = 1024 * 1024;
/// What we write at most: others write, too.
const OWN: usize = 256 * 1024;
/// Rows of a table.
const ROWS: usize = 50;

/// The text, in at most `most` bytes; what does not fit is said to be missing.
pub(super) fn markdown(tally: &Tally, record: &str, most: usize) -> String {
    let Sums { allowed, denied, .. } = tally.all;
    let mut text = Text { text: String::new(), most: most.min(OWN), cut: false };
    text.line(&format!("### awf-bpf: {allowed} allowed, {denied} denied\n"));
    if tally.unread > 0 {
        text.line(&format!("{} lines of the record cannot be read.\n", tally.unread));
    }
    denials(&mut text, tally);
    for (what, rows) in [("Domain", &tally.domains), ("Step", &tally.steps), ("Program", &tally.programs)] {
        table(&mut text, what, rows);
    }
    text.line(&format!("The whole record, for the runner's administrator: {}\n", code(record)));
    text.end()
}

fn denials(text: &mut Text, tally: &Tally) {
    let rows = tally.refusals();
    if rows.is_empty() {
        return;
    }
    text.line(
        "| Denied | Why | Times | Step | Program | To allow it, in `[policy]` |\n|---|---|---:|---|---|---|",
    );
    for (refused, times) in rows.iter().take(ROWS) {
        let port = refused.port.map_or(String::new(), |port| format!(":{port}"));
        let entry = refused.entry().map_or(String::new(), |entry| code(&entry));
        text.line(&format!(
            "| {} | {} | {} | {} | {} | {entry} |",
            code(&format!("{}{port}", refused.host)),
            code(&refused.reason.replace('_', " ")),
            times.count,
            names(&times.steps),
            names(&times.programs),
        ));
    }
    text.more(rows.len());
}

fn names(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}

fn table(text: &mut Text, what: &str, rows: &HashMap<String, Sums>) {
    if rows.is_empty() {
        return;
    }
    text.line(&format!("| {what} | Allowed | Denied | Sent | Received |\n|---|---:|---:|---:|---:|"));
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|(a, one), (b, two)| {
        (two.denied, two.allowed).cmp(&(one.denied, one.allowed)).then_with(|| a.cmp(b))
    });
    for (name, sums) in rows.iter().take(ROWS) {
        let Sums { allowed, denied, up, down } = sums;
        text.line(&format!("| {} | {allowed} | {denied} | {} | {} |", code(name), bytes(*up), bytes(*down)));
    }
    text.more(rows.len());
}

fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}

/// A text as code, whatever is in it: letters, digits and blanks as they are, everything else by its number, so that
/// nothing is Markdown, HTML, a link or the end of the cell. What is no ASCII could look like something else.
fn code(text: &str) -> String {
    let mut out = String::from("<code>");
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '-' => out.push(c),
            '!'..='~' => {
                let _ = write!(out, "&#{};", c as u32);
            }
            _ => out.push('?'),
        }
    }
    out + "</code>"
}

/// Whole lines, up to a limit.
struct Text {
    text: String,
    most: usize,
    cut: bool,
}

impl Text {
    const CUT: &str = "\nThe rest does not fit here.\n";

    fn line(&mut self, line: &str) {
        self.cut |= self.text.len() + line.len() + 1 + Self::CUT.len() > self.most;
        if !self.cut {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    /// After a table of `rows` rows.
    fn more(&mut self, rows: usize) {
        let hidden = rows.saturating_sub(ROWS);
        self.line(&if hidden > 0 { format!("\nand {hidden} more\n") } else { String::new() });
    }

    fn end(mut self) -> String {
        if self.cut && self.most >= Self::CUT.len() {
            self.text.push_str(Self::CUT);
        }
        self.text
    }
}

/// Appends to the file at `path`, as its user: `make` gets the bytes that fit.
///
/// # Errors
///
/// When it is not a regular file of that user's, or has no room.
pub(super) fn append(
    path: &Path,
    uid: u32,
    gid: u32,
    make: impl FnOnce(usize) -> String + Send,
) -> io::Result<()> {
    // A thread has rights of its own, and takes these with it when it ends.
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            set_thread_groups(&[])?;
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            write(path, uid.as_raw(), make)
        });
        writing.join().unwrap_or_else(|_| Err(io::Error::other("writing it failed")))
    })
}

fn write(path: &Path, uid: u32, make: impl FnOnce(usize) -> String) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut file = File::from(openat2(CWD, path, flags, Mode::empty(), resolve)?);
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != uid || meta.nlink() != 1 {
        return Err(io::Error::other("it is not a regular file of the runner's user with one name"));
    }
    // A line feed first: what is there may end in the middle of a table.
    let room = LIMIT.saturating_sub(meta.len() + 2);
    let text = make(usize::try_from(room).unwrap_or(0));
    if text.is_empty() {
        return Err(io::Error::other("it has no room left"));
    }
    let before = if meta.len() > 0 { "\n\n" } else { "" };
    file.write_all(format!("{before}{text}").as_bytes())
}

#[cfg(test)]
mod tests;
