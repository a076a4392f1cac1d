//! The firewall's own words: one line each on stderr, `awf-bpf: warning: ...`.

use std::io::Write;

use log::Level;

use super::plain;
use crate::{config::LogLevel, launch::terminal::line_end};

/// Sends `log` to stderr from now on. The environment has no say: the command's variables are not ours.
pub(super) fn start(level: LogLevel) {
    let mut builder = env_logger::Builder::new();
    // Libraries speak of their own details; only their warnings are for users.
    builder.filter_level(level.filter().min(log::LevelFilter::Warn));
    builder.filter_module("awf_userspace", level.filter());
    builder.format(|out, record| {
        let end = line_end();
        let text = plain(&record.args().to_string()).replace('\n', end);
        match record.level() {
            Level::Error => write!(out, "awf-bpf: error: {text}{end}"),
            Level::Warn => write!(out, "awf-bpf: warning: {text}{end}"),
            Level::Info => write!(out, "awf-bpf: {text}{end}"),
            Level::Debug | Level::Trace => write!(out, "awf-bpf: debug: {}: {text}{end}", record.target()),
        }
    });
    // Fails only if a logger is there already, which then keeps its level.
    let _ = builder.try_init();
}
