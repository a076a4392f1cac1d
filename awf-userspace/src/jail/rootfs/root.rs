//! The new root as it grows: its steps, and what is visible where so far.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::area::{Area, covering, join};
use super::build::PLAIN;
use super::check::KERNEL;
use super::facts::{Entry, Facts, Inode, Kind, Walk, walk};
use super::wanted::UserMount;
use super::{KernelFs, RootfsError, Step};

/// Where covers come from; nobody but root enters it.
const COVERS: &str = "/run/awf-bpf/covers";

#[derive(Debug)]
pub(super) struct Root<'a> {
    pub(super) facts: &'a Facts,
    pub(super) steps: Vec<Step>,
    pub(super) areas: Vec<Area>,
    /// Directories and files of ours.
    made: BTreeSet<PathBuf>,
    linked: BTreeSet<PathBuf>,
    covers: usize,
}

/// Why nothing can be mounted at a path.
#[derive(Debug)]
pub(super) enum NoPlace {
    Link(PathBuf),
    Missing,
    OtherKind,
}

impl NoPlace {
    pub(super) fn of(self, mount: &UserMount) -> RootfsError {
        let mount = mount.clone();
        match self {
            Self::Link(component) => RootfsError::TargetLink { mount, component },
            Self::Missing => RootfsError::NoTarget(mount),
            Self::OtherKind => RootfsError::Kinds(mount),
        }
    }
}

impl<'a> Root<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        let root = Area { at: "/".into(), from: None, backing: None, writable: false };
        let made = BTreeSet::from(["/".into()]);
        Self { facts, steps: Vec::new(), areas: vec![root], made, linked: BTreeSet::new(), covers: 0 }
    }

    /// Whether CMD sees the host's `path` under its own name, and may write to it if `writable`.
    pub(super) fn shows(&self, path: &Path, writable: bool) -> bool {
        let area = covering(&self.areas, path);
        area.is_some_and(|a| a.host(path).as_deref() == Some(path) && (a.writable || !writable))
    }

    pub(super) fn shows_exactly(&self, path: &Path, writable: bool) -> bool {
        self.shows(path, writable) && covering(&self.areas, path).is_some_and(|a| a.writable == writable)
    }

    /// A directory of ours, with those above it; not where the host's is seen.
    pub(super) fn dir(&mut self, at: &Path, mode: u32) {
        if self.made.contains(at) {
            return;
        }
        if let Some(parent) = at.parent() {
            self.dir(parent, PLAIN);
        }
        self.made.insert(at.into());
        self.steps.push(Step::Dir { at: self.written_at(at), mode });
    }

    pub(super) fn link(&mut self, at: &Path, to: &Path) {
        if self.made.contains(at) || !self.linked.insert(at.into()) {
            return;
        }
        if let Some(parent) = at.parent() {
            self.dir(parent, PLAIN);
        }
        self.steps.push(Step::Link { at: self.written_at(at), to: to.into() });
    }

    /// The links that lead to `walk`'s end, where they are not the host's own.
    pub(super) fn links(&mut self, walk: &Walk) {
        for (at, to) in &walk.links {
            // /proc/self is there already, and is another one inside.
            let kernels = KERNEL.iter().any(|tree| at.starts_with(tree));
            if !kernels && covering(&self.areas, at).is_some_and(|area| area.from.is_none()) {
                self.link(at, to);
            }
        }
    }

    pub(super) fn kernel(&mut self, at: &str, what: KernelFs) {
        self.dir(Path::new(at), PLAIN);
        self.steps.push(Step::Kernel { at: at.into(), what });
    }

    pub(super) fn tmpfs(&mut self, at: &Path, mode: u32, owner: (u32, u32), size: u8) {
        self.dir(at, PLAIN);
        self.steps.push(Step::Tmpfs { at: at.into(), mode, owner, size });
        self.areas.push(Area { at: at.into(), from: None, backing: None, writable: true });
    }

    /// Over what the host has at `at`.
    pub(super) fn tmpfs_over(&mut self, at: &Path, mode: u32, owner: (u32, u32), size: u8) {
        self.steps.push(Step::Tmpfs { at: at.into(), mode, owner, size });
        self.areas.push(Area { at: at.into(), from: None, backing: None, writable: true });
    }

    /// Whether `at` is a file system in memory that CMD may write to.
    pub(super) fn is_memory(&self, at: &Path) -> bool {
        covering(&self.areas, at).is_some_and(|area| area.from.is_none() && area.writable)
    }

    /// Whether CMD sees at `at` what the host has there, under its own name.
    pub(super) fn shows_own(&self, at: &Path) -> bool {
        covering(&self.areas, at).is_some_and(|area| area.host(at).as_deref() == Some(at))
    }

    pub(super) fn bind(&mut self, from: &Path, at: &Path, dir: bool, writable: bool) -> Result<(), NoPlace> {
        self.place(at, dir)?;
        let seen = self.facts.inode(from);
        self.steps.push(Step::Bind { from: from.into(), at: at.into(), dir, writable, seen });
        self.areas.push(Area { at: at.into(), from: Some(from.into()), backing: None, writable });
        Ok(())
    }

    /// The host's unix socket, at its own path.
    pub(super) fn socket(&mut self, at: &Path) -> Result<(), NoPlace> {
        self.place(at, false)?;
        self.steps.push(Step::Socket { at: at.into(), seen: self.facts.inode(at) });
        self.areas.push(Area { at: at.into(), from: Some(at.into()), backing: None, writable: false });
        Ok(())
    }

    /// Hides what the host has at `at`, if that is seen there.
    pub(super) fn cover(&mut self, at: &Path, dir: bool) {
        let Some(host) = covering(&self.areas, at).and_then(|area| area.host(at)) else { return };
        let from = self.new_cover();
        if dir {
            self.dir(&from, PLAIN);
        } else {
            self.file(&from, &[]);
        }
        if dir {
            // More can be shown in it.
            self.made.insert(at.into());
        }
        let seen = self.facts.inode(&host);
        self.steps.push(Step::Cover { from: from.clone(), at: at.into(), dir, seen });
        self.areas.push(Area { at: at.into(), from: None, backing: Some(from), writable: false });
    }

    /// Whether CMD sees the host's `host` at `at`.
    pub(super) fn shows_at(&self, host: &Path, at: &Path) -> bool {
        covering(&self.areas, at).and_then(|area| area.host(at)).is_some_and(|shown| shown == host)
    }

    /// Keeps what the host has at `at` where it is, and with `!writable` what it is.
    pub(super) fn pin(&mut self, at: &Path, host: &Path, writable: bool) {
        self.steps.push(Step::Pin { at: at.into(), writable, seen: self.facts.inode(host) });
        if !writable {
            let (at, from) = (at.into(), Some(host.into()));
            self.areas.push(Area { at, from, backing: None, writable });
        }
    }

    /// A file of ours at `at`.
    pub(super) fn replace(&mut self, at: &Path, content: &[u8]) {
        match covering(&self.areas, at) {
            Some(area) if area.from.is_some() => {
                let from = self.new_cover();
                self.file(&from, content);
                // The machine's own programs replace them at any time, and nobody else can.
                self.steps.push(Step::Cover { from, at: at.into(), dir: false, seen: None });
            }
            _ => self.file(at, content),
        }
    }

    pub(super) fn file(&mut self, at: &Path, content: &[u8]) {
        if let Some(parent) = at.parent() {
            self.dir(parent, PLAIN);
        }
        self.made.insert(at.into());
        self.steps.push(Step::File { at: self.written_at(at), content: content.into() });
    }

    /// A file of CMD's user, in a file system of ours.
    pub(super) fn user_file(&mut self, at: &Path, content: &[u8], owner: (u32, u32)) {
        self.made.insert(at.into());
        self.steps.push(Step::UserFile { at: at.into(), content: content.into(), owner });
    }

    /// Where `path` leads as CMD sees it, if it leads anywhere.
    pub(super) fn walk(&self, path: &Path) -> Option<Walk> {
        walk(path, |path| self.entry(path))
    }

    fn entry(&self, at: &Path) -> Option<Entry> {
        if let Some(host) = covering(&self.areas, at).and_then(|area| area.host(at)) {
            return self.facts.entries.get(&host).cloned();
        }
        let step = |step: &Step| match step {
            Step::Link { at: link, to } if link == at => Some(Kind::Link(to.clone())),
            Step::File { at: file, .. } | Step::Cover { at: file, dir: false, .. } if file == at => {
                Some(Kind::File)
            }
            _ => None,
        };
        let kind = self.steps.iter().find_map(step);
        let kind = kind.or_else(|| self.made.contains(at).then_some(Kind::Directory))?;
        Some(Entry { kind, uid: 0, inode: None })
    }

    /// Whether CMD sees a link at `path`, and where it leads to, `at`, a file of ours can be made.
    pub(super) fn lacks(&self, path: &Path, at: &Path) -> bool {
        let dir = path.parent().and_then(|dir| self.walk(dir));
        let own = dir.zip(path.file_name()).and_then(|(dir, name)| self.entry(&dir.path.join(name)));
        let is_link = own.is_some_and(|entry| matches!(entry.kind, Kind::Link(_)));
        is_link && covering(&self.areas, at).is_some_and(|area| area.from.is_none())
    }

    /// A file of ours, made before, over what is seen at `at`.
    pub(super) fn lay_over(&mut self, file: &Path, at: &Path) {
        self.steps.push(Step::Cover { from: file.into(), at: at.into(), dir: false, seen: self.seen(at) });
        self.areas.push(Area { at: at.into(), from: None, backing: None, writable: false });
        self.made.insert(at.into());
    }

    /// What is seen in the directory `from` in `at`, too.
    pub(super) fn again(&mut self, from: &Path, at: &Path) {
        self.dir(at, PLAIN);
        self.steps.push(Step::Again { from: from.into(), at: at.into() });
    }

    /// A directory of ours, made before, instead of the one seen at `at`.
    pub(super) fn exchange(&mut self, dir: &Path, at: &Path) {
        self.steps.push(Step::Cover { from: dir.into(), at: at.into(), dir: true, seen: self.seen(at) });
        let backing = Some(dir.into());
        self.areas.push(Area { at: at.into(), from: None, backing, writable: false });
    }

    /// What the survey saw there, if it is the host's.
    fn seen(&self, at: &Path) -> Option<Inode> {
        covering(&self.areas, at).and_then(|area| area.host(at)).and_then(|host| self.facts.inode(&host))
    }

    fn new_cover(&mut self) -> PathBuf {
        self.dir(Path::new(COVERS), 0o700);
        self.covers += 1;
        Path::new(COVERS).join(self.covers.to_string())
    }

    /// Makes sure that something can be mounted at `at`: what is ours is made, what is the host's must be there.
    fn place(&mut self, at: &Path, dir: bool) -> Result<(), NoPlace> {
        let area = covering(&self.areas, at).cloned();
        if let Some(link) = at.ancestors().find(|path| self.linked.contains(*path)) {
            return Err(NoPlace::Link(link.into()));
        }
        match area.and_then(|area| area.host(at)) {
            None if dir => self.dir(at, PLAIN),
            None if self.made.contains(at) => return Err(NoPlace::OtherKind),
            None => self.file(at, &[]),
            Some(host) => match self.facts.walk(&host) {
                None => return Err(NoPlace::Missing),
                Some(walk) if walk.path != host => return Err(NoPlace::Link(at.into())),
                Some(walk) if (walk.kind == Kind::Directory) != dir => return Err(NoPlace::OtherKind),
                Some(_) => {}
            },
        }
        Ok(())
    }

    /// Where the path of ours can be made now: a cover is read-only where it lies.
    fn written_at(&self, at: &Path) -> PathBuf {
        let backing = covering(&self.areas, at).and_then(|area| {
            let rest = at.strip_prefix(&area.at).ok()?;
            Some(join(area.backing.as_ref()?, rest))
        });
        backing.unwrap_or_else(|| at.into())
    }
}
