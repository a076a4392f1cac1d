//! What is printed on stdout. Not `println!`: it panics when stdout cannot be written.

use std::{
    fmt,
    io::{ErrorKind, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use super::{EXIT_FAILURE, complain};

/// Something could not be printed, and that was said.
static LOST: AtomicBool = AtomicBool::new(false);

/// As `println!`.
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::cli::stdout::put(format_args!("{}\n", format_args!($($text)*)))
    };
}
pub(super) use outln;

/// Prints `text`. That nobody reads any more (`| head`) is nobody's mistake; anything else is said once.
pub(super) fn put(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        complain(format_args!("stdout: {error}"));
    }
}

/// `code`, unless all went well but for what could not be printed.
pub(super) fn code(code: u8) -> u8 {
    if code == 0 && LOST.load(Ordering::Relaxed) { EXIT_FAILURE } else { code }
}
