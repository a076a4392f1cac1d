//! `awf-bpf exec [FLAGS] -- CMD`.

use super::{EXIT_SETUP, complain, logging};
use crate::{
    config::{ExecArgs, Inputs, LogLevel, resolve},
    session,
};

/// Resolves the words, says what is worth saying, and runs the session.
pub(super) fn exec(args: &ExecArgs) -> u8 {
    logging::start(if args.quiet { LogLevel::Error } else { args.log_level });
    let resolved = match resolve(args, &Inputs::read(args)) {
        Ok(resolved) => resolved,
        Err(errors) => {
            errors.0.iter().for_each(complain);
            return EXIT_SETUP;
        }
    };
    for notice in &resolved.notices {
        log::log!(notice.level, "{}", notice.text);
    }
    if resolved.plan.dry_run {
        print!("{}", resolved.plan);
        return 0;
    }
    match session::run(resolved.plan) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            EXIT_SETUP
        }
    }
}
