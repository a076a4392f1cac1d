//! Words that are no flags of ours, and help. What else is wrong with a command line is told beside them.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Cli, Command, EXIT_SETUP, EXIT_USAGE, check, complain, say};
use crate::config::{Inputs, resolve, resolve_attach};

/// So many wrong flags are told at once.
const MOST: usize = 20;

/// The subcommands; the first two are what a command line without one is.
const KNOWN: [&str; 12] =
    ["exec", "run", "attach", "check", "detach", "doctor", "gc", "help", "hook", "policy", "ps", "version"];

/// Help is an answer, everything else a mistake.
pub(super) fn usage(error: clap::Error, argv: &[OsString]) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A closed pipe behind `--help | head` is nobody's mistake.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let named = argv.get(1).map_or_else(String::new, |word| word.to_string_lossy().into_owned());
        complain(format_args!("awf-bpf {named}: a subcommand is missing behind it"));
        say(&format!("\n{}", error.render()));
        return ExitCode::from(EXIT_USAGE);
    }
    let word = error.get(ContextKind::InvalidArg).is_some_and(|word| !word.to_string().starts_with('-'));
    let dashless = word && error.kind() == ErrorKind::UnknownArgument && !has(argv, "--");
    let help = split(&error).1;
    let mistakes = mistakes(error, argv);
    let is = |words: &[&str]| argv.get(1).is_some_and(|word| words.iter().any(|other| word == other));
    if is(&["check"]) && has(argv, "--json") {
        return ExitCode::from(check::refuse(true, &mistakes));
    }
    mistakes.iter().for_each(complain);
    say(&format!("\n{help}\n"));
    if let Some(near) = subcommand(argv).filter(|_| word) {
        say(&format!("\nA similar command exists: awf-bpf {near}\n"));
    } else if dashless && !is(&KNOWN[2..]) {
        say("\nThe command stands behind `--`: awf-bpf exec [FLAGS] -- CMD [ARGS]...\n");
    }
    ExitCode::from(if is(&["check", "detach", "doctor", "gc", "hook", "policy", "ps", "version"]) {
        EXIT_USAGE
    } else {
        EXIT_SETUP
    })
}

/// The subcommand that the first word was probably meant as.
fn subcommand(argv: &[OsString]) -> Option<&'static str> {
    let typed = argv.get(1)?.to_str()?;
    if KNOWN.contains(&typed) {
        return None;
    }
    KNOWN.into_iter().find(|known| strsim::osa_distance(typed, known) <= 2 && typed.len() > 2)
}

/// Whether `word` is among the flags, or ends them.
fn has(argv: &[OsString], word: &str) -> bool {
    let end = argv.iter().position(|word| word == "--").map_or(argv.len(), |at| at + 1);
    argv[..end].iter().any(|own| own == word)
}

/// `error`, and what is wrong with the rest once the flag it is about is left out.
fn mistakes(error: clap::Error, argv: &[OsString]) -> Vec<String> {
    let mut said = vec![split(&error).0];
    let (mut error, mut argv) = (error, argv.to_vec());
    while said.len() < MOST
        && let Some(rest) = without(&error, &argv)
    {
        argv = rest;
        match Cli::try_parse_from(&argv) {
            Ok(cli) => {
                said.extend(elsewhere(&cli));
                break;
            }
            // What is missing may be what was taken out.
            Err(next)
                if matches!(
                    next.kind(),
                    ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::MissingRequiredArgument
                ) =>
            {
                break;
            }
            Err(next) => {
                said.push(split(&next).0);
                error = next;
            }
        }
    }
    said
}

/// What is wrong with words that clap understands.
fn elsewhere(cli: &Cli) -> Vec<String> {
    let of_exec = |args| {
        let errors = resolve(args, &Inputs::read(args)).err().map_or(Vec::new(), |errors| errors.0);
        errors.iter().map(ToString::to_string).collect()
    };
    match &cli.command {
        None => of_exec(&cli.exec),
        Some(Command::Exec(args)) => of_exec(args),
        Some(Command::Check(args)) => check::read(args).err().unwrap_or_default(),
        Some(Command::Attach(args)) => {
            let errors = resolve_attach(args, &args.read()).err().map_or(Vec::new(), |errors| errors.0);
            errors.iter().map(ToString::to_string).collect()
        }
        Some(
            Command::Detach(_)
            | Command::Ps(_)
            | Command::Policy(_)
            | Command::Doctor(_)
            | Command::Gc
            | Command::Hook(_)
            | Command::Version(_),
        ) => Vec::new(),
    }
}

/// `argv` without the flag that `error` is about, nor its value; `None` if that cannot be told.
fn without(error: &clap::Error, argv: &[OsString]) -> Option<Vec<OsString>> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()).filter(|text| !text.is_empty()),
        _ => None,
    };
    // `--network <MODE>` where its value is wrong.
    let flag =
        text(ContextKind::InvalidArg)?.split([' ', '=']).next().filter(|flag| flag.starts_with('-'))?;
    let wrong = match error.kind() {
        ErrorKind::UnknownArgument => None,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => Some(text(ContextKind::InvalidValue)?),
        _ => return None,
    };
    let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
    for (at, word) in argv[..end].iter().enumerate().filter_map(|(at, word)| Some((at, word.to_str()?))) {
        let next = argv[..end].get(at + 1).and_then(|next| next.to_str());
        let words = match (word.strip_prefix(flag), wrong) {
            (Some(""), Some(value)) if next == Some(value) => 2,
            (Some(rest), Some(value)) if rest.strip_prefix('=').unwrap_or(rest) == value => 1,
            (_, Some(_)) | (None, _) => continue,
            // A word behind it may have been meant as its value.
            (Some(""), None) => 1 + usize::from(next.is_some_and(|next| !next.starts_with('-'))),
            (Some(rest), None) if rest.starts_with('=') || flag.len() == 2 => 1,
            _ => continue,
        };
        return Some([&argv[..at], &argv[at + words..]].concat());
    }
    None
}

/// What is wrong, and how it is used.
fn split(error: &clap::Error) -> (String, String) {
    let text = error.render().to_string();
    // Its tip for a mistyped flag would make it the command.
    let lines: Vec<_> =
        text.lines().filter(|line| !line.trim_start().starts_with("tip: to pass '-")).collect();
    let text = lines.join("\n").replace("\n\n\n", "\n\n");
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let at = ["\n\nUsage: ", "\n\nFor more information"].iter().filter_map(|help| text.find(help)).min();
    let (what, help) = text.split_at(at.unwrap_or(text.len()));
    (what.trim_end().to_owned(), help.trim_start().to_owned())
}
