//! The unix sockets that somebody listens on at a path. Whoever connects to one is served by a process outside the
//! firewall: an ssh master carries connections, a syslog sends them on, a database runs what it is told. The
//! network namespace stops abstract ones; those with a path have to be covered one by one, as they are found.
//! Pure: the text of /proc/net/unix in.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// `__SO_ACCEPTCON` (include/uapi/linux/net.h): somebody listens.
const ACCEPTS: u32 = 1 << 16;
const SOCK_DGRAM: u32 = libc::SOCK_DGRAM as u32;

/// The paths at which a connect() or sendto() is answered, in the text of /proc/net/unix (unix(7) and
/// `unix_seq_show`, net/unix/af_unix.c). Sockets bound by a relative path are not told where they are.
#[must_use]
pub fn served(table: &[u8]) -> Vec<PathBuf> {
    let found: BTreeSet<PathBuf> = table.split(|byte| *byte == b'\n').filter_map(path).collect();
    found.into_iter().collect()
}

/// `Num: RefCount Protocol Flags Type St Inode Path`; numbers but the inode in hexadecimal.
fn path(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.splitn(8, |byte| *byte == b' ').skip(3);
    let mut number = || u32::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, 16).ok();
    let (flags, kind) = (number()?, number()?);
    // The inode is padded with blanks.
    let rest = line.splitn(7, |byte| *byte == b' ').nth(6)?.trim_ascii_start();
    let path = rest.split_at(rest.iter().position(|byte| *byte == b' ')? + 1).1;
    let serves = flags & ACCEPTS != 0 || kind == SOCK_DGRAM;
    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
    (serves && path.starts_with(Path::new("/"))).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_datagram_sockets_with_a_path_are_found_once() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            ffff888: 00000002 00000000 00010000 0001 01 1 /run/docker.sock\n\
            ffff888: 00000003 00000000 00000000 0001 03 2 /run/docker.sock\n\
            ffff888: 00000003 00000000 00000000 0001 03 3 /run/connected\n\
            ffff888: 00000002 00000000 00000000 0002 01 4 /run/systemd/journal/dev-log\n\
            ffff888: 00000002 00000000 00010000 0005 01 5 /tmp/with blank\n\
            ffff888: 00000002 00000000 00010000 0001 01 6 @abstract/x\n\
            ffff888: 00000002 00000000 00010000 0001 01 7 relative/x\n\
            ffff888: 00000002 00000000 00000000 0002 01 8\n\
            /half\n";
        let want = ["/run/docker.sock", "/run/systemd/journal/dev-log", "/tmp/with blank"];
        assert_eq!(served(table), want.map(PathBuf::from));
    }
}
