//! `awf-bpf check [POLICY] [TARGET...]`: would this pass? Answered by the code that decides for the proxy, without
//! root, without a resolver, without a packet.

mod answer;
mod replay;
mod target;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{EXIT_USAGE, complain, logging, plain, stdout::outln};
use crate::{
    config::{Inputs, LogLevel, PolicyArgs, resolve_policy},
    policy::{List, Policy},
};

pub(crate) use self::{answer::answer, target::parse};

/// Something is denied.
const EXIT_DENIED: u8 = 1;
/// Files with more rules are summed up.
const MOST_RULES: usize = 20;

/// The flags of `check`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    policy: PolicyArgs,

    /// Answer with one JSON object a line on stdout; mistakes are one object, {"valid":false,"errors":[...]}.
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    /// The method of requests for URLs.
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        help_heading = "Output",
        conflicts_with = "replay"
    )]
    method: String,

    /// Judge the connections, requests and queries of an audit.jsonl again; list what would change.
    #[arg(long, value_name = "FILE", help_heading = "Output", conflicts_with = "targets")]
    replay: Option<PathBuf>,

    /// What is to be reached: https://HOST[:PORT]/..., http://..., tcp://HOST:PORT, HOST:PORT, HOST (ports 443
    /// and 80). Without any, the policy is checked and shown.
    #[arg(value_name = "URL|HOST[:PORT]")]
    targets: Vec<String>,
}

/// Prints the answers: 0 if all is allowed, 1 if something is not, 2 if the policy, a target or a record is invalid.
pub(super) fn check(args: &CheckArgs) -> u8 {
    logging::start(LogLevel::Warn);
    let (policy, questions) = match read(args) {
        Ok(read) => read,
        Err(errors) => return refuse(args.json, &errors),
    };
    match &args.replay {
        Some(path) => replay(args, path, &policy),
        None if args.targets.is_empty() => outline(args, &policy),
        None => answers(args, &policy, &questions),
    }
}

/// Says what is wrong: as text on stderr, or as the one object on stdout that whoever asked for JSON reads.
pub(super) fn refuse(json: bool, errors: &[String]) -> u8 {
    if json {
        let errors: Vec<_> = errors.iter().map(|error| plain(error)).collect();
        outln!("{}", serde_json::json!({ "valid": false, "errors": errors }));
    } else {
        errors.iter().for_each(complain);
    }
    EXIT_USAGE
}

/// The policy and what is asked of it.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn read(args: &CheckArgs) -> Result<(Policy, Vec<target::Question>), Vec<String>> {
    let resolved = resolve_policy(&args.policy, &Inputs::read_policy(&args.policy));
    let questions = args.targets.iter().map(|target| parse(target)).collect::<Vec<_>>();
    let invalid = questions.iter().filter_map(|question| question.as_ref().err());
    let invalid: Vec<_> = invalid.map(ToString::to_string).collect();
    match resolved {
        Ok((policy, notices)) if invalid.is_empty() => {
            notices.iter().for_each(|notice| log::log!(notice.level, "{}", notice.text));
            Ok((policy, questions.into_iter().flatten().flatten().collect()))
        }
        resolved => {
            let of_policy = resolved.err().map_or(Vec::new(), |errors| errors.0);
            Err(of_policy.iter().map(ToString::to_string).chain(invalid).collect())
        }
    }
}

fn answers(args: &CheckArgs, policy: &Policy, questions: &[target::Question]) -> u8 {
    let mut code = 0;
    for question in questions {
        let answer = answer(policy, question, &args.method);
        if !answer.is_allow() {
            code = EXIT_DENIED;
        }
        if args.json {
            outln!("{}", answer.to_json());
        } else {
            outln!("{}", plain(&answer.to_string()).replace('\n', " "));
        }
    }
    code
}

/// The policy itself.
fn outline(args: &CheckArgs, policy: &Policy) -> u8 {
    let (allow, block) = (policy.count(List::Allow), policy.count(List::Block));
    let urls = policy.url_rules().len();
    if args.json {
        outln!(
            "{}",
            serde_json::json!({ "valid": true, "allow_rules": allow, "url_rules": urls, "block_rules": block })
        );
        return 0;
    }
    for line in policy.shown(MOST_RULES) {
        outln!("{}", plain(&line).replace('\n', " "));
    }
    let rules = |count: usize| if count == 1 { "rule" } else { "rules" };
    let of_urls = if urls > 0 { format!("{urls} URL {}, ", rules(urls)) } else { String::new() };
    outln!("valid: {allow} allow {}, {of_urls}{block} block {}", rules(allow), rules(block));
    0
}

fn replay(args: &CheckArgs, path: &Path, policy: &Policy) -> u8 {
    let opened = File::open(path);
    let result = opened.and_then(|file| replay::replay(policy, BufReader::new(file)));
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => return refuse(args.json, &[format!("--replay {}: {error}", path.display())]),
    };
    let errors = unreadable(path, &outcome);
    if args.json {
        let mut object = outcome.to_json();
        if !errors.is_empty() {
            object["errors"] = errors.iter().map(|error| plain(error)).collect();
        }
        outln!("{object}");
    } else {
        outcome.lines().for_each(|line| outln!("{}", plain(&line).replace('\n', " ")));
        errors.iter().for_each(complain);
    }
    match outcome.newly_denied() {
        _ if !errors.is_empty() => EXIT_USAGE,
        0 => 0,
        _ => EXIT_DENIED,
    }
}

fn unreadable(path: &Path, outcome: &replay::Outcome) -> Vec<String> {
    let (path, lines) = (path.display(), &outcome.unreadable_lines);
    let said =
        lines.iter().map(|number| format!("--replay {path}: line {number} is no record of an audit.jsonl"));
    let more = outcome.unreadable - lines.len();
    let rest = (more > 0).then(|| format!("--replay {path}: {more} more lines like these"));
    said.chain(rest).collect()
}
