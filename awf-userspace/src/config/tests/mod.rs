//! Tests of the configuration, by part; here what they share.

mod config_file;
mod env;
mod files;
mod jail;
mod name_servers;
mod tls;
mod upstream;
mod urls;
mod words;

use std::ffi::OsString;

use clap::Parser;

use super::{ConfigError, ExecArgs, Inputs, Resolved, RunFacts, resolve};
use crate::policy::{Outline, Policy, Rule};

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    exec: ExecArgs,
}

/// The rules of a policy, in the order given.
fn rules(policy: &Policy) -> Vec<Rule> {
    let parts = policy.outline(usize::MAX).into_iter();
    parts.map(|part| if let Outline::Rule(rule) = part { rule } else { panic!("{part}") }).collect()
}

/// A command line, its files and its caller.
#[derive(Default)]
struct Case {
    flags: Vec<String>,
    inputs: Inputs,
    trust: Vec<(OsString, OsString)>,
}

impl Case {
    fn new(flags: &[&str]) -> Self {
        Self { flags: flags.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.inputs.env.push((name.into(), value.into()));
        self
    }

    fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.inputs.files.insert(path.into(), Ok(bytes.as_ref().to_vec().into()));
        self
    }

    fn key(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.inputs.ca_key = Some(Ok(bytes.as_ref().to_vec().into()));
        self
    }

    /// With `true` as the command unless there is one.
    fn args(&self) -> ExecArgs {
        let mut argv = vec!["awf-bpf".to_owned()];
        argv.extend(self.flags.iter().cloned());
        if !self.flags.iter().any(|flag| flag == "--") {
            argv.extend(["--".to_owned(), "true".to_owned()]);
        }
        Words::try_parse_from(argv).unwrap_or_else(|error| panic!("{error}")).exec
    }

    fn resolved(&self) -> Resolved {
        resolve(&self.args(), &self.inputs).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self) -> Vec<ConfigError> {
        resolve(&self.args(), &self.inputs).expect_err("it was accepted").0
    }

    /// The errors as the user reads them.
    fn texts(&self) -> Vec<String> {
        self.errors().iter().map(ToString::to_string).collect()
    }

    /// The value of a variable of the finished environment.
    fn env(&self, name: &str) -> Option<String> {
        let facts = RunFacts {
            proxy: "127.0.0.1:3128".parse().unwrap(),
            run_id: "r1",
            user: "runner",
            home: "/home/runner".as_ref(),
            shell: "/bin/bash".as_ref(),
            trust: &self.trust,
        };
        let env = self.resolved().plan.env.finish(&facts);
        assert!(env.is_sorted_by(|(a, _), (b, _)| a < b), "sorted, no name twice");
        env.into_iter().find(|(own, _)| own == name).map(|(_, value)| value.into_string().unwrap())
    }

    fn notices(&self) -> Vec<String> {
        self.resolved()
            .notices
            .into_iter()
            .map(|notice| format!("{}: {}", notice.level, notice.text))
            .collect()
    }
}
