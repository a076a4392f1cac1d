//! `awf-bpf policy`: the rules of a run that goes on, and the configuration file to begin with.

use std::{fs::File, io::Write as _, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{EXIT_FAILURE, complain, is_root, plain, say, stdout::put};
use crate::{
    config::{schema, starter},
    session::{
        attach,
        control::{self, Reply, Request},
        live_rules::{Done, ListName, RulesReply, RulesRequest, Shown},
    },
};

/// How long a run is waited for: a policy of a million names takes a while to be made again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done with a policy.
#[derive(Subcommand, Clone, Debug)]
pub(super) enum PolicyCommand {
    /// Allow more, or with --remove less, in a run that goes on.
    ///
    /// All entries are taken, or none. Connections that are open stay. Exit codes: 0 done, 1 nothing was changed, 2 a
    /// usage error.
    Allow(EditArgs),
    /// Block hosts in a run that goes on, whatever allows them; with --remove, no longer.
    ///
    /// All entries are taken, or none. Connections that are open stay. Exit codes: 0 done, 1 nothing was changed, 2 a
    /// usage error.
    Deny(EditArgs),
    /// Print all rules of a run that goes on, each with its place.
    ///
    /// Exit codes: 0 printed, 1 there is no such run, 2 a usage error.
    Show(ShowArgs),
    /// Print a configuration file to begin with, every key named and explained.
    Init(InitArgs),
    /// Print the JSON Schema (draft 2020-12) of the configuration file.
    Schema,
}

/// The flags of `policy allow` and `policy deny`.
#[derive(Args, Clone, Debug)]
pub(super) struct EditArgs {
    /// The run, as `ps` names it. Not needed where there is one alone.
    #[arg(long, value_name = "ID")]
    run: Option<String>,

    /// Take rules back, those that the run was started with too.
    #[arg(long)]
    remove: bool,

    /// To allow: as in --allow-domains, --allow-dns (TXT:x.com) and --allow-urls; to deny: as in --block-domains.
    #[arg(value_name = "ENTRY", required = true)]
    entries: Vec<String>,
}

/// The flags of `policy show`.
#[derive(Args, Clone, Debug)]
pub(super) struct ShowArgs {
    /// The run, as `ps` names it. Not needed where there is one alone.
    #[arg(long, value_name = "ID")]
    run: Option<String>,

    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// The flags of `policy init`.
#[derive(Args, Clone, Debug)]
pub(super) struct InitArgs {
    /// Where to write it; nothing that is there is written over. Default: stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn policy(command: &PolicyCommand) -> u8 {
    let name = match command {
        PolicyCommand::Allow(_) => "policy allow",
        PolicyCommand::Deny(_) => "policy deny",
        PolicyCommand::Show(_) => "policy show",
        PolicyCommand::Init(_) | PolicyCommand::Schema => "",
    };
    if !name.is_empty() && !is_root(name) {
        return EXIT_FAILURE;
    }
    let done = match command {
        PolicyCommand::Allow(args) => edit(ListName::Allow, args),
        PolicyCommand::Deny(args) => edit(ListName::Block, args),
        PolicyCommand::Show(args) => show(args),
        PolicyCommand::Init(args) => init(args).map_err(|error| vec![error]),
        PolicyCommand::Schema => {
            put(format_args!("{:#}\n", schema()));
            Ok(())
        }
    };
    match done {
        Ok(()) => 0,
        Err(errors) => {
            errors.iter().for_each(complain);
            EXIT_FAILURE
        }
    }
}

fn edit(list: ListName, args: &EditArgs) -> Result<(), Vec<String>> {
    let request = RulesRequest::Edit { list, remove: args.remove, entries: args.entries.clone() };
    let (id, reply) = ask(args.run.as_deref(), request)?;
    let list = if list == ListName::Allow { "allow list" } else { "block list" };
    let RulesReply::Edited(done) = reply else { return Err(unexpected(&id)) };
    for done in done {
        let line = match done {
            Done::Added(rule) => format!("{id}: {rule} was added to the {list}"),
            Done::Removed(rule) => format!("{id}: {rule} was taken out of the {list}"),
            Done::Known(rule) => format!("{id}: {rule} was in the {list} already"),
        };
        say(&format!("awf-bpf: {}\n", plain(&line)));
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Vec<String>> {
    let (id, reply) = ask(args.run.as_deref(), RulesRequest::Show {})?;
    let RulesReply::Rules(shown) = reply else { return Err(unexpected(&id)) };
    if args.json {
        let mut value = serde_json::to_value(&shown).unwrap_or_default();
        value["run"] = id.into();
        put(format_args!("{value}\n"));
        return Ok(());
    }
    put(format_args!("{}", text(&shown)));
    Ok(())
}

fn text(shown: &Shown) -> String {
    let mut lines = Vec::new();
    for row in &shown.rules {
        let narrows = row.narrows.map_or_else(String::new, |_| "narrowed by: ".to_owned());
        let rule = match (row.count, &row.place) {
            (Some(count), _) => format!("{count} rules of {}", row.rule),
            (None, Some(place)) => format!("{} ({place})", row.rule),
            (None, None) => row.rule.clone(),
        };
        lines.push(format!("{narrows}{:<10} {rule}", row.kind));
    }
    if shown.rules.is_empty() {
        lines.push("allow      nothing".to_owned());
    }
    lines.push(match (shown.open, shown.changed) {
        (false, _) => "not in force yet: nothing is allowed".to_owned(),
        (true, None) => "not changed since the start".to_owned(),
        (true, Some(at)) => format!("last changed {}", utc(at)),
    });
    lines.into_iter().map(|line| plain(&line).replace('\n', " ") + "\n").collect()
}

/// RFC 3339, to the second.
fn utc(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    let text = at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    text.unwrap_or_else(|| seconds.to_string())
}

fn init(args: &InitArgs) -> Result<(), String> {
    let Some(path) = &args.out else {
        put(format_args!("{}", starter()));
        return Ok(());
    };
    let written = File::create_new(path).and_then(|mut file| file.write_all(starter().as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("--out {}: it exists, and is not written over; name another file", path.display())
        }
        _ => format!("--out {}: {error}", path.display()),
    })
}

/// Asks the run that is named, or the one that there is.
fn ask(run: Option<&str>, request: RulesRequest) -> Result<(String, RulesReply), Vec<String>> {
    let runs = attach::list().map_err(|error| vec![error.to_string()])?;
    let alive: Vec<_> = runs.iter().filter(|run| run.alive).map(|run| run.id.as_str()).collect();
    let id = match (run, &alive[..]) {
        (Some(id), _) if alive.contains(&id) => id,
        (Some(id), _) if runs.iter().any(|run| run.id == id) => {
            return Err(vec![format!("--run {id}: its daemon is dead, and its processes have no network")]);
        }
        (Some(id), _) => {
            return Err(vec![format!(
                "--run {id}: there is no such run; `awf-bpf ps` names those there are"
            )]);
        }
        (None, [id]) => id,
        (None, []) => {
            return Err(vec![
                "no run goes on whose rules change: `awf-bpf attach` starts one; those of `exec` do not change"
                    .to_owned(),
            ]);
        }
        (None, several) => {
            let list = several.join(", ");
            return Err(vec![format!("several runs go on: {list}; say which with --run ID")]);
        }
    };
    match control::ask(id, &Request::Policy(request), PATIENCE) {
        Ok(Reply::Policy(RulesReply::Refused(why))) => Err(why),
        Ok(Reply::Policy(reply)) => Ok((id.to_owned(), reply)),
        Ok(_) => Err(unexpected(id)),
        Err(error) => Err(vec![format!("run {id}: {error}")]),
    }
}

fn unexpected(id: &str) -> Vec<String> {
    vec![format!("run {id}: its daemon answered something else; it may be of another version")]
}
