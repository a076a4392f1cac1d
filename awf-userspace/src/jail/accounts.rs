//! passwd(5) and group(5), read as files. Not through NSS: glibc would ask nscd or a network directory, from a
//! process that must not talk to anybody.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// One line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    pub members: Vec<String>,
}

/// The machine's local accounts. Lines that cannot be understood (also NIS's `+` lines) are skipped, as libc does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Accounts {
    /// Reads `/etc/passwd` and `/etc/group`.
    ///
    /// # Errors
    /// With the path, when one cannot be read.
    pub fn load() -> io::Result<Self> {
        let read = |path: &str| {
            std::fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("cannot read {path}: {e}")))
        };
        Ok(Self::parse(&read("/etc/passwd")?, &read("/etc/group")?))
    }

    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        let lines = |file: &[u8]| -> Vec<Vec<Vec<u8>>> {
            let fields = |line: &[u8]| line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect();
            file.split(|byte| *byte == b'\n').map(fields).collect()
        };
        Self {
            users: lines(passwd).iter().filter_map(|fields| user(fields)).collect(),
            groups: lines(group).iter().filter_map(|fields| self::group(fields)).collect(),
        }
    }

    /// The first entry with this uid.
    pub fn by_uid(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    pub fn by_name(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The first name of this gid.
    pub fn name_of_group(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|group| group.gid == gid).map(|group| group.name.as_str())
    }

    pub fn gid_of(&self, group: &str) -> Option<u32> {
        self.groups.iter().find(|entry| entry.name == group).map(|entry| entry.gid)
    }

    /// Every group that lists `user` as a member, and the one with its primary gid.
    pub fn groups_of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Group> {
        self.groups.iter().filter(move |g| g.gid == user.gid || g.members.contains(&user.name))
    }
}

fn user(fields: &[Vec<u8>]) -> Option<User> {
    let [name, _password, uid, gid, _gecos, home, shell] = fields else { return None };
    Some(User {
        name: name_of(name)?,
        uid: number(uid)?,
        gid: number(gid)?,
        home: OsString::from_vec(home.clone()).into(),
        shell: OsString::from_vec(shell.clone()).into(),
    })
}

fn group(fields: &[Vec<u8>]) -> Option<Group> {
    let [name, _password, gid, members] = fields else { return None };
    let members = members.split(|byte| *byte == b',').filter_map(name_of).collect();
    Some(Group { name: name_of(name)?, gid: number(gid)?, members })
}

fn name_of(field: impl AsRef<[u8]>) -> Option<String> {
    let name = std::str::from_utf8(field.as_ref()).ok()?.trim();
    (!name.is_empty() && !name.starts_with(['+', '-', '#'])).then(|| name.to_owned())
}

fn number(field: &[u8]) -> Option<u32> {
    parse_id(std::str::from_utf8(field).ok()?)
}

/// A uid or gid in decimal. 4294967295 is "no change" to the kernel and never an id.
pub fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        # comment\n\
        +nis::::::\n\
        short:x:1:1\n\
        alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh\n\
        nouid:x::1000::/:/bin/sh\n\
        minus:x:4294967295:1::/:/bin/sh\n\
        odd:x:1001:1001::/home/\xff:\n";
    const GROUP: &[u8] = b"root:x:0:\nalice:x:1000:\ndocker:x:998:bob,alice\nstaff:x:50:bob\nbad:x:z:alice\n";

    #[test]
    fn entries_are_found_and_bad_lines_skipped() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let alice = accounts.by_name("alice").unwrap();
        assert_eq!((alice.uid, alice.gid), (1000, 1000));
        assert_eq!(alice.shell, PathBuf::from("/bin/zsh"));
        assert_eq!(accounts.by_uid(1000), Some(alice));
        assert_eq!(
            accounts.users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(),
            ["root", "alice", "odd"]
        );
    }

    #[test]
    fn groups_are_the_primary_and_those_that_list_the_user() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        let alice = accounts.by_name("alice").unwrap();
        let names: Vec<_> = accounts.groups_of(alice).map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["alice", "docker"]);
    }

    #[test]
    fn ids_are_plain_decimal() {
        assert_eq!(parse_id("1000"), Some(1000));
        for bad in ["", "-1", "+1", " 1", "0x10", "1e3", "4294967295", "4294967296", "99999999999"] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
