//! CMD's side of the terminal, as its master shows it, and what CMD's init says of it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, tcgetattr, tcsetattr,
    tcsetwinsize,
};
use tokio::io::unix::AsyncFd;

use super::Terminal;
use crate::jail::terminal::MASTER;

/// What tells a reading CMD that there is no more: an unfinished line is ended by the first one.
pub(super) fn end_of_file(master: &AsyncFd<OwnedFd>, last: u8) -> Vec<u8> {
    match tcgetattr(master) {
        Ok(modes) if modes.local_modes.contains(LocalModes::ICANON) => {
            let end = modes.special_codes[SpecialCodeIndex::VEOF];
            vec![end; if last == b'\n' { 1 } else { 2 }]
        }
        // To who reads keys it would be one.
        _ => Vec::new(),
    }
}

/// Modes and size as the caller's terminal has them.
pub(super) fn adjust(terminal: &Terminal, master: &OwnedFd) -> io::Result<()> {
    let mut modes = match &terminal.attributes {
        Some(modes) => modes.clone(),
        None => {
            let mut modes = tcgetattr(master)?;
            modes.input_modes |= InputModes::IUTF8;
            modes
        }
    };
    if terminal.reads_pipe() {
        // Nobody types: there is nothing to show of it.
        modes.local_modes -= LocalModes::ECHO;
    }
    if terminal.modes.keep_output && terminal.outer.is_some() && !terminal.forced {
        // Or each line would end twice: here and there.
        modes.output_modes -= OutputModes::OPOST;
    }
    tcsetattr(master, OptionalActions::Now, &modes)?;
    Ok(tcsetwinsize(master, terminal.size())?)
}

/// The master, which comes with the first message of CMD's init.
pub(super) fn receive_master(control: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [MASTER + 1];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut rights, flags)?;
    let mut fds = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    match fds.next().and_then(|mut fds| fds.next()) {
        Some(master) if got.bytes == 1 && byte[0] == MASTER => Ok(master),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The signal that stopped CMD; `None` when its init has ended.
pub(super) fn receive_stop(control: &OwnedFd) -> io::Result<Option<i32>> {
    let mut byte = [0_u8; 1];
    match recv(control.as_fd(), &mut byte, RecvFlags::DONTWAIT) {
        Ok((1, _)) => Ok(Some(i32::from(byte[0]))),
        // Its end, before it read what we sent it last.
        Ok(_) | Err(Errno::CONNRESET) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
