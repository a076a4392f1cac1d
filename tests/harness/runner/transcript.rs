//! What became of a job: written by the Worker, read by the tests.

use serde::{Deserialize, Serialize};

use super::commands::{Annotation, Said};

/// The whole job.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Transcript {
    pub steps: Vec<Done>,
    /// Processes that the Worker killed at the end, by the RUNNER_TRACKING_ID in their environment.
    pub orphans: Vec<i32>,
    /// The Worker.
    pub worker: u32,
}

/// One thing that the Worker executed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// `Set up runner` and `Complete runner` are the hooks; a step has the name of its action.
    pub name: String,
    /// 128+N: it died of signal N. -1: it was not executed.
    pub exit: i32,
    pub said: Said,
    /// What it wrote for GITHUB_STEP_SUMMARY; larger than 1024 KiB it is thrown away, with an error.
    pub summary: String,
    /// Something held its output for 5 s after its end.
    pub left_open: bool,
    /// What the Worker got when it asked for a URL itself.
    pub got: String,
}

/// The name of the step that the started hook is.
pub const STARTED: &str = "Set up runner";
/// The same of the completed hook.
pub const COMPLETED: &str = "Complete runner";

impl Transcript {
    /// # Panics
    /// If nothing of that name was done.
    #[must_use]
    #[track_caller]
    pub fn step(&self, name: &str) -> &Done {
        let found = self.steps.iter().find(|done| done.name == name);
        found.unwrap_or_else(|| panic!("there is no step {name}: {self:#?}"))
    }

    #[must_use]
    #[track_caller]
    pub fn started(&self) -> &Done {
        self.step(STARTED)
    }

    #[must_use]
    #[track_caller]
    pub fn completed(&self) -> &Done {
        self.step(COMPLETED)
    }
}

impl Done {
    /// # Panics
    /// Unless it ended with 0.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.exit, 0, "{self:#?}");
        self
    }

    /// # Panics
    /// If it ended with 0.
    #[track_caller]
    pub fn fails(&self) -> &Self {
        assert_ne!(self.exit, 0, "{self:#?}");
        self
    }

    /// # Panics
    /// Unless the log shows `text`.
    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(self.said.text().contains(text), "{text:?} is not in {self:#?}");
        self
    }

    #[must_use]
    pub fn annotations(&self, level: &str) -> Vec<&Annotation> {
        self.said.annotations.iter().filter(|one| one.level == level).collect()
    }

    /// The one error of it.
    ///
    /// # Panics
    /// If there is another number of them.
    #[track_caller]
    #[must_use]
    pub fn error(&self) -> &Annotation {
        let errors = self.annotations("error");
        assert_eq!(errors.len(), 1, "{self:#?}");
        errors[0]
    }
}
