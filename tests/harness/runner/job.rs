//! A job as the stand-in for GitHub's runner takes it: what the server would send, reduced to what reaches a process.

use serde::{Deserialize, Serialize};

/// One job. Built with what an ordinary one has; a test changes what it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub run_id: String,
    pub run_attempt: String,
    /// Its key in the workflow.
    pub job: String,
    pub server_url: String,
    pub api_url: String,
    /// More variables of the Worker's own, and other values of those that it sets.
    pub env: Vec<(String, String)>,
    pub steps: Vec<Step>,
}

impl Job {
    #[must_use]
    pub fn new(run_id: u64) -> Self {
        Self {
            run_id: run_id.to_string(),
            run_attempt: "1".into(),
            job: "build".into(),
            server_url: "https://github.com".into(),
            api_url: "https://api.github.com".into(),
            env: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// A step of the form `run: SCRIPT`.
    #[must_use]
    pub fn run(self, name: &str, script: &str) -> Self {
        self.step(Step::new(name, Kind::Script, script))
    }

    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// A variable that the server chose.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// How a step is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `bash -e {0}`
    Script,
    /// A JavaScript action: the runner's node with its file.
    Node,
    /// The steps of a composite action: each a script, with the action's path in its environment.
    Composite,
    /// Not a process: the Worker itself asks for this URL (`http://`), as it does for actions, logs and artifacts.
    Worker,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// What GITHUB_ACTION says.
    pub action: String,
    pub kind: Kind,
    pub script: String,
    /// `if: always()`: it runs whatever failed before it.
    pub always: bool,
    /// What an action registers to run at the end, the last one first.
    pub post: Option<String>,
}

impl Step {
    #[must_use]
    pub fn new(action: &str, kind: Kind, script: &str) -> Self {
        Self { action: action.into(), kind, script: script.into(), always: false, post: None }
    }

    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    #[must_use]
    pub fn post(mut self, script: &str) -> Self {
        self.post = Some(script.into());
        self
    }
}
