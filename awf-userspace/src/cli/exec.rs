//! `awf-bpf exec [FLAGS] -- CMD`.

use super::{
    EXIT_BLOCKED, EXIT_SETUP, complain, logging, plain, say,
    stdout::{outln, put},
};
use crate::{
    config::{ExecArgs, Inputs, LogLevel, SummaryMode, TlsMode, resolve},
    launch::Outcome,
    session::{self, Finished},
};

/// Resolves the words, says what is worth saying, and runs the session.
pub(super) fn exec(args: &ExecArgs) -> u8 {
    let resolved = match resolve(args, &Inputs::read(args)) {
        Ok(resolved) => resolved,
        Err(errors) => {
            errors.0.iter().for_each(complain);
            return EXIT_SETUP;
        }
    };
    logging::start(if resolved.plan.quiet { LogLevel::Error } else { resolved.plan.log_level });
    for notice in &resolved.notices {
        log::log!(notice.level, "{}", notice.text);
    }
    let plan = resolved.plan;
    if plan.dry_run {
        put(format_args!("{plan}"));
        if plan.tls.mode != TlsMode::Off {
            outln!("trusted by {}", session::trust::names(&plan.env).join(" "));
        }
        return 0;
    }
    let (summary, fail_on_block) = (plan.summary, plan.fail_on_block);
    let summary = if plan.quiet { SummaryMode::Never } else { summary };
    match session::run(plan) {
        Ok(finished) => report(&finished, summary, fail_on_block),
        Err(error) => {
            // First: what its own error advises is for those outside.
            if let Some(run) = std::env::var_os("AWF_BPF_RUN_ID") {
                log::error!(
                    "this is inside run {} of awf-bpf, which holds for all that is started here: leave awf-bpf out",
                    plain(&run.to_string_lossy())
                );
            }
            complain(&error);
            error.exit_code()
        }
    }
}

fn report(finished: &Finished, mode: SummaryMode, fail_on_block: bool) -> u8 {
    if finished.outcome == Outcome::TimedOut {
        log::warn!("the command was ended: its time (--agent-timeout) was up");
    }
    let blocked = finished.summary.has_findings();
    if mode == SummaryMode::Always || (mode == SummaryMode::Auto && blocked) {
        say(&finished.summary.text());
        say(&format!("awf-bpf: audit record: {}\n", plain(&finished.audit.display().to_string())));
    }
    match finished.outcome.code() {
        0 if fail_on_block && finished.summary.may_have_blocked() => EXIT_BLOCKED,
        code => code,
    }
}
