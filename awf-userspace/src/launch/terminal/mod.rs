//! CMD's terminal, from outside: a pseudo-terminal of its own between CMD and the caller's terminal, which CMD never
//! has a descriptor of: it could read it, type into it (TIOCSTI), or leave it in another mode. The arrangement is
//! sudo's (`use_pty`): CMD's init leads the session, and a CMD that has no business with the terminal yet, in a
//! pipeline or started with `&`, is behind it and stopped when it wants to read; then we look who is in front here.

mod console;
mod flow;
mod inner;
mod outer;
mod sink;
mod source;
mod stop;

use std::io;
use std::os::fd::OwnedFd;

pub use console::{Console, Happened};
use outer::Modes;
pub use outer::line_end;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{Termios, Winsize, isatty, tcgetattr, tcgetwinsize, ttyname};

use crate::jail::terminal::TerminalSpec;

/// Of a terminal that does not tell, or that is none: as awf has it.
const COLUMNS: u16 = 120;
const KNOWN_COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// What there is of terminals, and which streams of CMD's become one.
#[derive(Debug)]
pub struct Terminal {
    outer: Option<OwnedFd>,
    attributes: Option<Termios>,
    spec: TerminalSpec,
    modes: Modes,
    /// `--tty`: all three streams, whatever ours are.
    forced: bool,
    stdin: bool,
    stdout: bool,
}

impl Terminal {
    /// Looks at our streams and at the terminal that controls us. `None` when there is none and none is `forced`.
    ///
    /// # Errors
    /// When a terminal cannot be opened or asked: CMD does not get it instead.
    pub fn look(forced: bool) -> io::Result<Option<Self>> {
        let streams = [
            isatty(rustix::stdio::stdin()),
            isatty(rustix::stdio::stdout()),
            isatty(rustix::stdio::stderr()),
        ];
        let outer = open_outer(streams)?;
        if outer.is_none() && !forced {
            return Ok(None);
        }
        let [stdin, stdout, _] = streams;
        // In a pipeline others may use the terminal as well, and it stays as they know it until CMD reads it.
        let alone = stdin && stdout;
        let modes = Modes { keep_output: !stdout, keep_keys: !alone };
        let piped = forced && !stdin;
        let in_front = outer.as_ref().is_none_or(outer::is_in_front);
        let foreground = piped || (in_front && (alone || forced));
        let attributes = outer.as_ref().map(tcgetattr).transpose()?;
        let streams = if forced { [true; 3] } else { streams };
        let spec = TerminalSpec { streams, foreground };
        Ok(Some(Self { outer, attributes, spec, modes, forced, stdin, stdout }))
    }

    pub(super) fn spec(&self) -> TerminalSpec {
        self.spec
    }

    /// The paths of our own terminals: for `--chroot off`, where they would be there for CMD's user.
    #[must_use]
    pub fn paths() -> Vec<std::path::PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let names = streams.into_iter().filter_map(|fd| ttyname(fd, Vec::new()).ok());
        let names = names.map(|name| std::ffi::OsString::from_vec(name.into_bytes()).into());
        let own_pts = |path: &std::path::PathBuf| !path.starts_with("/dev/pts");
        names.filter(own_pts).collect()
    }

    fn reads_pipe(&self) -> bool {
        self.forced && !self.stdin
    }

    fn size(&self) -> Winsize {
        match &self.outer {
            Some(outer) => known_size(tcgetwinsize(outer).ok()),
            None => Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 },
        }
    }
}

/// A serial line says 0, by which programs understand 24 and 80, or nothing at all.
fn known_size(size: Option<Winsize>) -> Winsize {
    let mut size = size.unwrap_or(Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 });
    if size.ws_row == 0 {
        size.ws_row = ROWS;
    }
    if size.ws_col == 0 {
        size.ws_col = KNOWN_COLUMNS;
    }
    size
}

/// A description of our own: O_NONBLOCK on the one we inherited would be on for the caller's shell as well.
fn open_outer(streams: [bool; 3]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |path: &str| rustix::fs::open(path, flags, Mode::empty());
    match streams.iter().position(|is| *is) {
        Some(number) => Ok(Some(open(&format!("/proc/self/fd/{number}"))?)),
        // ENXIO: nothing controls us. Without the file nobody could open it either.
        None => Ok(open("/dev/tty").ok()),
    }
}
