//! `[hook]` of a configuration file: what an administrator says of the runner's hooks.

use super::file::ConfigFile;

/// The runner shows ten of a kind of a step.
const ANNOTATIONS: usize = 10;

/// The keys of `[hook]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// Whether a repository's .github/awf-bpf.toml narrows the policy.
    pub allow_repository_policy: bool,
    /// What the runner's Worker itself may reach beside GitHub, in the grammar of `allow_domains`.
    pub worker_hosts_extra: Vec<String>,
    /// Whether a summary is written for GITHUB_STEP_SUMMARY.
    pub summary: bool,
    /// How many warnings the completed hook shows at most.
    pub annotations: usize,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            allow_repository_policy: false,
            worker_hosts_extra: Vec::new(),
            summary: true,
            annotations: ANNOTATIONS,
        }
    }
}

impl HookSettings {
    /// What the file says, which was checked as it was read.
    pub(super) fn of(file: &ConfigFile) -> Self {
        let hosts = file.texts("hook.worker_hosts_extra", "", &[]);
        let annotations = file.one("hook.annotations").and_then(|item| item.text.parse().ok());
        Self {
            allow_repository_policy: file.is("hook.allow_repository_policy").unwrap_or(false),
            worker_hosts_extra: hosts.map(|(text, _)| text.to_owned()).collect(),
            summary: file.is("hook.summary").unwrap_or(true),
            annotations: annotations.unwrap_or(ANNOTATIONS),
        }
    }
}
