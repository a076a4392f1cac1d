//! The runner's user, as the machine's own programs know it (a directory service may), and what it may write.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::tools::{self, ToolError};

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// All groups, the first one among them.
    pub groups: Vec<u32>,
    pub home: PathBuf,
}

/// Why a user cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("no user {0} is known to this machine (getent passwd {0})")]
    Unknown(String),
    #[error("the groups of {user}: {text:?} are not numbers")]
    Groups { user: String, text: String },
    #[error(transparent)]
    Tool(#[from] ToolError),
}

impl Account {
    /// The user of this name or number.
    ///
    /// # Errors
    ///
    /// When nobody is called so.
    pub fn find(key: &str) -> Result<Self, AccountError> {
        let unknown = || AccountError::Unknown(key.to_owned());
        // A name that looks like a flag would be one.
        if key.is_empty() || key.starts_with('-') {
            return Err(unknown());
        }
        let out = tools::ask("getent", &["passwd", key])?;
        let line = String::from_utf8_lossy(&out.stdout).into_owned();
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return Err(unknown()) };
        let number = |text: &str| text.parse().map_err(|_| unknown());
        let (uid, gid) = (number(uid)?, number(gid)?);
        let text = tools::run("id", &["-G", "--", name])?;
        let groups = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        let groups =
            groups.map_err(|_| AccountError::Groups { user: name.to_owned(), text: text.clone() })?;
        Ok(Self { name: name.to_owned(), uid, gid, groups, home: home.into() })
    }

    /// Whether the mode of a file lets this user write. Access control lists show as the group's bits: where there
    /// is one, those bits are the most that it gives to anybody.
    #[must_use]
    pub fn may_write(&self, meta: &fs::Metadata, has_acl: bool) -> bool {
        let mode = meta.mode();
        if self.uid == 0 {
            return true;
        }
        let by = |bit: u32, holds: bool| holds && mode & bit != 0;
        by(0o200, meta.uid() == self.uid)
            // Who owns it may give himself the bit.
            || meta.uid() == self.uid
            || by(0o020, has_acl || self.groups.contains(&meta.gid()))
            || by(0o002, true)
    }

    /// Whether this user may make files in `dir`.
    #[must_use]
    pub fn may_write_dir(&self, dir: &Path) -> bool {
        fs::metadata(dir).is_ok_and(|meta| self.may_write(&meta, has_acl(dir)))
    }

    /// Whether this user can put something into `dir`, or another directory in its place; one that is not there can be made by
    /// who may write above it.
    #[must_use]
    pub fn may_replace(&self, dir: &Path) -> bool {
        let there = dir.ancestors().find_map(|part| part.canonicalize().ok());
        there.is_none_or(|there| !matches!(self.writable_on_the_way(&there), Ok(None)))
    }

    /// The first of `path` and the directories above it that this user can write, and so replace what is below.
    ///
    /// # Errors
    ///
    /// When one cannot be looked at.
    pub fn writable_on_the_way(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        for part in path.ancestors() {
            let meta = fs::symlink_metadata(part)?;
            if self.may_write(&meta, has_acl(part)) {
                return Ok(Some(part.to_owned()));
            }
        }
        Ok(None)
    }
}

/// Whether a file has an access control list (acl(5)).
#[must_use]
pub fn has_acl(path: &Path) -> bool {
    // One that is too long to be shown here is one.
    !matches!(
        rustix::fs::lgetxattr(path, "system.posix_acl_access", &mut [0_u8; 1024]),
        Ok(0) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn somebody() -> Account {
        Account { name: "x".into(), uid: 4321, gid: 4322, groups: vec![4322, 4323], home: "/".into() }
    }

    #[test]
    fn root_is_known_and_nobody_else_is_invented() {
        let root = Account::find("root").unwrap();
        assert_eq!((root.uid, root.groups.contains(&0)), (0, true));
        assert_eq!(Account::find("0").unwrap(), root);
        for wrong in ["", "-s", "no-such-user-of-awf", "4000000001"] {
            assert!(matches!(Account::find(wrong), Err(AccountError::Unknown(_))), "{wrong}");
        }
    }

    /// An entry for our user beside a mode that says nothing of it (include/uapi/linux/posix_acl_xattr.h).
    #[test]
    fn access_control_lists_count() {
        let file = std::env::temp_dir().join(format!("awf-acl-{}", std::process::id()));
        fs::write(&file, "").unwrap();
        let none = u32::MAX;
        let entries = [(1, 6, none), (2, 6, 4321), (4, 4, none), (0x10, 6, none), (0x20, 4, none)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            list.extend(u16::to_le_bytes(tag).into_iter().chain(u16::to_le_bytes(permissions)));
            list.extend(u32::to_le_bytes(id));
        }
        let before = somebody().may_write(&fs::metadata(&file).unwrap(), has_acl(&file));
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&file, "system.posix_acl_access", &list, flags).unwrap();
        let after = somebody().may_write(&fs::metadata(&file).unwrap(), has_acl(&file));
        fs::remove_file(file).unwrap();
        assert_eq!((before, after), (false, true));
    }

    #[test]
    fn what_can_be_written_is_found_anywhere_on_the_way() {
        let dir = std::env::temp_dir().join(format!("awf-account-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let owner = |path: &Path, uid, gid| std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
        let (a, b) = (dir.join("a"), dir.join("a/b"));
        let of = |path: &Path| somebody().may_write(&fs::metadata(path).unwrap(), has_acl(path));
        for (uid, gid, mode, open) in [
            (0, 0, 0o755, false),
            (0, 0, 0o775, false),
            (0, 4323, 0o775, true),
            (0, 4323, 0o755, false),
            (0, 0, 0o757, true),
            (4321, 0, 0o555, true),
            (5, 5, 0o700, false),
        ] {
            owner(&a, uid, gid);
            set(&a, mode);
            assert_eq!(of(&a), open, "{uid} {gid} {mode:o}");
        }
        owner(&a, 4321, 0);
        assert_eq!(somebody().writable_on_the_way(&b).unwrap(), Some(a));
        fs::remove_dir_all(dir).unwrap();
    }
}
