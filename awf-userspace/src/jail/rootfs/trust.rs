//! The run's CA in the new root: files in a place of their own, over every file of the machine's that programs read
//! instead, and one more name in the directories that they search.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::facts::Kind;
use super::root::Root;
use super::wanted::Wanted;
use crate::jail::trust::Check;

/// Percent of memory for a directory of [`OwnFile`].
const OWN_SIZE: u8 = 1;
/// Directories of the machine that have more in them: what they have is seen here.
const HOST: &str = "/run/awf-bpf/tls/host";
/// What is seen instead.
const DIRS: &str = "/run/awf-bpf/tls/dirs";

/// What to put where. All paths absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Files for everybody to read.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// Links to them.
    pub links: Vec<(PathBuf, PathBuf)>,
    pub over: Vec<OverFile>,
    pub directories: Vec<MoreIn>,
    pub own: Option<OwnFile>,
}

/// A file in a directory of CMD's user below HOME: it has nothing else at first, is writable, and gone with the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// Below HOME.
    pub dir: PathBuf,
    pub name: OsString,
    pub content: Vec<u8>,
}

/// One of [`Trust::files`] over a file of the machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverFile {
    pub at: PathBuf,
    pub file: PathBuf,
    /// CMD's user may be unable to reach it.
    pub optional: bool,
}

/// A directory of the machine's, and a link to one of [`Trust::files`] in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoreIn {
    pub at: PathBuf,
    /// What it has: links with their targets, and the rest.
    pub links: Vec<(OsString, PathBuf)>,
    pub others: Vec<OsString>,
    pub ours: (OsString, PathBuf),
}

impl Trust {
    /// What must be looked at on the host.
    pub(super) fn targets(&self, home: &Path) -> impl Iterator<Item = PathBuf> {
        let over = self.over.iter().map(|over| over.at.clone());
        let own = self.own.iter().map(|own| home.join(&own.dir).join(&own.name));
        over.chain(self.directories.iter().map(|more| more.at.clone())).chain(own)
    }

    fn content(&self, file: &Path) -> &[u8] {
        self.files.iter().find(|(at, _)| at == file).map_or(&[], |(_, content)| content)
    }
}

/// Plans it; what CMD must find then.
pub(super) fn apply(root: &mut Root<'_>, wanted: &Wanted, notes: &mut Vec<String>) -> Vec<Check> {
    let trust = &wanted.trust;
    let mut checks = Vec::new();
    for (at, content) in &trust.files {
        root.file(at, content);
        checks.push(Check::new(at, content, false));
    }
    for (at, to) in &trust.links {
        root.link(at, to);
        checks.push(Check::new(at, trust.content(to), false));
    }
    let mut covered: Vec<PathBuf> = Vec::new();
    for over in &trust.over {
        let content = trust.content(&over.file);
        if lay_over(root, over, content, &mut covered) {
            checks.push(Check::new(&over.at, content, over.optional));
        } else if !over.optional {
            notes.push(format!("{} is not shown to the command", over.at.display()));
        }
    }
    for (number, more) in trust.directories.iter().enumerate() {
        if let Some(at) = root.walk(&more.at).filter(|walk| walk.kind == Kind::Directory) {
            add(root, more, &at.path, number);
            checks.push(Check::new(&more.at.join(&more.ours.0), trust.content(&more.ours.1), false));
        }
    }
    if let Some(own) = &trust.own {
        match lay_in_home(root, own, wanted, notes) {
            // A HOME that its user cannot enter is no use to its programs either.
            Ok(at) => checks.push(Check::new(&at, &own.content, true)),
            Err(why) => notes.push(format!("{why}: Chromium does not trust the run's CA")),
        }
    }
    checks
}

/// Where the file is then, or why it is not.
fn lay_in_home(
    root: &mut Root<'_>,
    own: &OwnFile,
    wanted: &Wanted,
    notes: &mut Vec<String>,
) -> Result<PathBuf, String> {
    let user = (wanted.uid, wanted.gid);
    let home = wanted.home.path();
    let not_shown = || format!("HOME {} is not shown to the command", home.display());
    let home = root.walk(home).filter(|walk| walk.kind == Kind::Directory).ok_or_else(not_shown)?.path;
    let at = home.join(&own.dir);
    if root.is_memory(&home) {
        // Those above it are the user's, too.
        let above: Vec<_> = at.ancestors().take_while(|path| *path != home).collect();
        above.iter().rev().for_each(|dir| root.tmpfs(dir, 0o700, user, OWN_SIZE));
    } else {
        let is_between =
            |target: &Path| target != home && target.starts_with(&home) && at.starts_with(target);
        if let Some(mount) = wanted.mounts.iter().find(|mount| is_between(&mount.target)) {
            return Err(format!("--mount {mount} is shown as it is"));
        }
        let is_dir = root.walk(&at).is_some_and(|walk| walk.path == at && walk.kind == Kind::Directory);
        if !is_dir || !root.shows_own(&at) {
            return Err(format!("{} is no directory of the user's", at.display()));
        }
        if root.walk(&at.join(&own.name)).is_some() {
            let at = at.display();
            notes.push(format!(
                "{at} has the run's CA alone while the command runs (--mount {at}:{at} shows it)"
            ));
        }
        root.tmpfs_over(&at, 0o700, user, OWN_SIZE);
    }
    let file = at.join(&own.name);
    root.user_file(&file, &own.content, user);
    Ok(file)
}

/// Whether CMD finds the file there now.
fn lay_over(root: &mut Root<'_>, over: &OverFile, content: &[u8], covered: &mut Vec<PathBuf>) -> bool {
    let seen = root.walk(&over.at).filter(|walk| walk.kind == Kind::File).map(|walk| walk.path);
    match seen {
        Some(at) if covered.contains(&at) => true,
        Some(at) => {
            root.lay_over(&over.file, &at);
            covered.push(at);
            true
        }
        // A link that CMD sees leads to what it does not: there is a file of ours then.
        None => {
            let Some(at) = root.facts.walk(&over.at).map(|walk| walk.path) else { return false };
            if !root.lacks(&over.at, &at) {
                return false;
            }
            root.file(&at, content);
            true
        }
    }
}

/// The directory as it is, made of links into what it was, with one more.
fn add(root: &mut Root<'_>, more: &MoreIn, at: &Path, number: usize) {
    let (host, dir) = (Path::new(HOST).join(number.to_string()), Path::new(DIRS).join(number.to_string()));
    root.again(at, &host);
    for (name, to) in &more.links {
        root.link(&dir.join(name), to);
    }
    for name in &more.others {
        root.link(&dir.join(name), &host.join(name));
    }
    root.link(&dir.join(&more.ours.0), &more.ours.1);
    root.exchange(&dir, at);
}
