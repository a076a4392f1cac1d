//! `awf-bpf check [POLICY] [TARGET...]`: would this pass? Answered by the code that decides for the proxy, without
//! root, without a resolver, without a packet.

mod answer;
mod replay;
mod target;

use std::{fs::File, io::BufReader, path::PathBuf};

use clap::Args;

use super::{EXIT_USAGE, complain, logging, plain};
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

    /// Answer with one JSON object a line.
    #[arg(long, help_heading = "Output")]
    json: bool,

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
    let resolved = resolve_policy(&args.policy, &Inputs::read_policy(&args.policy));
    let questions = args.targets.iter().map(|target| parse(target)).collect::<Vec<_>>();
    let mut invalid = questions.iter().filter_map(|question| question.as_ref().err()).peekable();
    let is_invalid = invalid.peek().is_some();
    let policy = match resolved {
        Ok((policy, notices)) if !is_invalid => {
            notices.iter().for_each(|notice| log::log!(notice.level, "{}", notice.text));
            policy
        }
        resolved => {
            resolved.err().iter().flat_map(|errors| &errors.0).for_each(complain);
            invalid.for_each(complain);
            return EXIT_USAGE;
        }
    };
    match &args.replay {
        Some(path) => replay(args, path.clone(), &policy),
        None if args.targets.is_empty() => outline(args, &policy),
        None => answers(args, &policy, questions.into_iter().flatten().flatten()),
    }
}

fn answers(args: &CheckArgs, policy: &Policy, questions: impl Iterator<Item = target::Question>) -> u8 {
    let mut code = 0;
    for question in questions {
        let answer = answer(policy, &question);
        if !answer.is_allow() {
            code = EXIT_DENIED;
        }
        if args.json {
            println!("{}", answer.to_json());
        } else {
            println!("{}", plain(&answer.to_string()).replace('\n', " "));
        }
    }
    code
}

/// The policy itself.
fn outline(args: &CheckArgs, policy: &Policy) -> u8 {
    let (allow, block) = (policy.count(List::Allow), policy.count(List::Block));
    if args.json {
        println!("{}", serde_json::json!({ "valid": true, "allow_rules": allow, "block_rules": block }));
        return 0;
    }
    for line in policy.shown(MOST_RULES) {
        println!("{}", plain(&line).replace('\n', " "));
    }
    println!("valid: {allow} allow rules, {block} block rules");
    0
}

fn replay(args: &CheckArgs, path: PathBuf, policy: &Policy) -> u8 {
    let opened = File::open(&path);
    let result = opened.and_then(|file| replay::replay(policy, BufReader::new(file)));
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(format!("--replay {}: {error}", path.display()));
            return EXIT_USAGE;
        }
    };
    if args.json {
        println!("{}", outcome.to_json());
    } else {
        outcome.lines().for_each(|line| println!("{}", plain(&line).replace('\n', " ")));
    }
    for number in &outcome.unreadable_lines {
        complain(format!("--replay {}: line {number} is no record of an audit.jsonl", path.display()));
    }
    match outcome.unreadable - outcome.unreadable_lines.len() {
        0 => {}
        more => complain(format!("--replay {}: {more} more lines like these", path.display())),
    }
    match outcome.unreadable {
        0 if outcome.newly_denied() > 0 => EXIT_DENIED,
        0 => 0,
        _ => EXIT_USAGE,
    }
}
