//! From the policy's flags and files to the compiled [`Policy`], and what the user should hear of it. Pure.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    ConfigError, Inputs, Notice, PolicyArgs,
    file::{ConfigFile, Item},
    host_ports, lists, ruleset,
};
use crate::policy::{Builder, List, Note, Place, Policy, RecordRule, Rule, RuleError, UrlRule};

/// How many mistakes, or notes, of one file are told before the rest is counted.
const MOST_OF_A_FILE: usize = 20;

/// Compiles what was typed and read. What is wrong is left out, and the policy is not to be used.
pub(super) fn policy(
    args: &PolicyArgs,
    config: &ConfigFile,
    inputs: &Inputs,
    errors: &mut Vec<ConfigError>,
) -> Policy {
    let allow = |text: &str, place| Rule::parse(text, List::Allow, place);
    let block = |text: &str, place| Rule::parse(text, List::Block, place);
    let address = |text: &str, place| Rule::parse_address(text, List::Allow, place);
    let mut builder = Builder::default();
    let mut add = |values: &[String], key, flag, parse: &dyn Fn(&str, Place) -> Result<Rule, RuleError>| {
        for (text, place) in config.texts(key, flag, values) {
            match parse(text, place) {
                Ok(rule) => builder.rule(rule),
                Err(error) => errors.push(error.into()),
            }
        }
    };
    add(&args.allow_domains, "allow_domains", "--allow-domains", &allow);
    add(&args.allow_ip, "allow_ip", "--allow-ip", &address);
    add(&args.block_domains, "block_domains", "--block-domains", &block);
    for (flag, typed, key, list) in [
        ("--allow-domains-file", &args.allow_domains_file, "allow_domains_file", List::Allow),
        ("--block-domains-file", &args.block_domains_file, "block_domains_file", List::Block),
    ] {
        let paths = typed.iter().cloned().chain(config.paths(key));
        each(flag, paths, inputs, errors, |path, bytes, mistakes| {
            lists::file(flag, path, bytes, list, &mut builder, mistakes);
        });
    }
    for (text, place) in config.texts("allow_urls", "--allow-urls", &args.allow_urls) {
        match UrlRule::parse(text, place) {
            Ok(rule) => builder.url(rule),
            Err(error) => errors.push(error.into()),
        }
    }
    let paths = args.ruleset_file.iter().cloned().chain(config.paths("ruleset_file"));
    each("--ruleset-file", paths, inputs, errors, |path, bytes, mistakes| {
        for rule in ruleset::parse(path, bytes) {
            match rule {
                Ok(rule) => builder.rule(rule),
                Err(error) => mistakes.push(error),
            }
        }
    });
    let policy = builder.build().with_host_ports(host_ports::grants(args, config, errors));
    let policy = policy.with_records(records(args, config, errors));
    errors.extend(policy.without_host_ports().into_iter().map(ConfigError::from));
    errors.extend(policy.own_loopback().into_iter().map(ConfigError::from));
    policy
}

/// The rules of `--allow-dns`.
fn records(args: &PolicyArgs, config: &ConfigFile, errors: &mut Vec<ConfigError>) -> Vec<RecordRule> {
    let path: Arc<str> = config.path.display().to_string().into();
    let typed = args.allow_dns.iter().map(|text| (text, Place::Flag("--allow-dns")));
    let line = |item: &Item| Place::Line { path: Arc::clone(&path), line: item.line };
    let written = config.items("allow_dns").iter().map(|item| (&item.text, line(item)));
    let mut rules = Vec::new();
    for (text, place) in typed.chain(written) {
        for rule in lists::items(text.split(',')).map(|text| RecordRule::parse(text, place.clone())) {
            match rule {
                Ok(rule) => rules.push(rule),
                Err(error) => errors.push(error.into()),
            }
        }
    }
    rules
}

/// The mistakes of one file: the first ones, and how many more there are.
#[derive(Default)]
pub(super) struct Mistakes {
    first: Vec<ConfigError>,
    more: usize,
}

impl Mistakes {
    pub(super) fn push(&mut self, error: ConfigError) {
        if self.first.len() < MOST_OF_A_FILE {
            self.first.push(error);
        } else {
            self.more += 1;
        }
    }
}

fn each(
    flag: &'static str,
    paths: impl Iterator<Item = PathBuf>,
    inputs: &Inputs,
    errors: &mut Vec<ConfigError>,
    mut read: impl FnMut(&Path, &Bytes, &mut Mistakes),
) {
    for path in paths {
        let mut mistakes = Mistakes::default();
        match inputs.files.get(&path) {
            Some(Ok(bytes)) => read(&path, bytes, &mut mistakes),
            other => errors.push(unread(flag, &path, other)),
        }
        errors.append(&mut mistakes.first);
        if mistakes.more > 0 {
            errors.push(ConfigError::More { flag, path, count: mistakes.more });
        }
    }
}

/// What is worth saying of a policy; `about`: for whom it is, with its verb.
pub(super) fn notices(policy: &Policy, about: &str) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut told: HashMap<&str, usize> = HashMap::new();
    for rule in policy.noted() {
        let file = rule.place().file();
        if let Some(file) = file {
            let count = told.entry(file).or_default();
            *count += 1;
            if *count > MOST_OF_A_FILE {
                continue;
            }
        }
        for note in rule.notes() {
            notices.push(noted(rule, note));
        }
    }
    for rule in policy.url_rules() {
        notices.extend(rule.notes().iter().map(|note| noted(rule, note)));
    }
    let mut many: Vec<_> = told.into_iter().filter(|(_, count)| *count > MOST_OF_A_FILE).collect();
    many.sort_unstable();
    for (file, count) in many {
        let text = format!("{file}: as much is to be said of {} more of its rules", count - MOST_OF_A_FILE);
        notices.push(Notice { level: log::Level::Info, text });
    }
    if policy.allows_nothing() {
        let text = format!("nothing is allowed: {about} no network (--allow-domains opens it)");
        notices.push(Notice { level: log::Level::Info, text });
    }
    notices
}

fn noted(rule: &impl fmt::Display, note: &Note) -> Notice {
    let level = if note.is_detail() { log::Level::Debug } else { log::Level::Info };
    Notice { level, text: format!("{rule}: {note}") }
}

/// Why a file's contents are not there.
pub(super) fn unread(flag: &'static str, path: &Path, found: Option<&Result<Bytes, String>>) -> ConfigError {
    let why = match found {
        Some(Err(why)) => why.clone(),
        _ => "was not read".to_owned(),
    };
    ConfigError::File { flag, path: path.to_owned(), why }
}
