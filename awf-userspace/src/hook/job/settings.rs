//! `[hook]` of the machine's policy file. Pure. The rest of the file is a configuration file as any other.

use serde::Deserialize;

/// What an administrator says of the hooks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Whether a repository's .github/awf-bpf.toml narrows the policy.
    pub(super) allow_repository_policy: bool,
    /// What the runner's Worker itself may reach beside GitHub, in the grammar of `allow_domains`.
    pub(super) worker_hosts_extra: Vec<String>,
    /// Whether a summary is written for GITHUB_STEP_SUMMARY.
    pub(super) summary: bool,
    /// How many warnings the completed hook shows at most.
    pub(super) annotations: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_repository_policy: false,
            worker_hosts_extra: Vec::new(),
            summary: true,
            annotations: 10,
        }
    }
}

/// The runner shows ten of a kind of a step.
const ANNOTATIONS_MAX: usize = 10;

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    hook: Option<Settings>,
}

/// The settings, and the file without them: their lines are empty there, so that all others keep their numbers.
///
/// # Errors
///
/// What is wrong with them. What is wrong with the rest is not.
pub(super) fn split(text: &str) -> Result<(Settings, String), String> {
    // A file that is no TOML is told of by who reads the rest.
    if toml::from_str::<toml::Table>(text).is_err() {
        return Ok((Settings::default(), text.to_owned()));
    }
    let file: File = toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line}: [hook]: {}", e.message().replace('\n', " "))
    })?;
    let Some(settings) = file.hook else { return Ok((Settings::default(), text.to_owned())) };
    if settings.annotations > ANNOTATIONS_MAX {
        return Err(format!("[hook]: annotations = {}: the runner shows at most 10", settings.annotations));
    }
    Ok((settings, without_hook(text)))
}

/// Blanks the table, from its head to the next one's.
fn without_hook(text: &str) -> String {
    let mut inside = false;
    let mut rest = String::new();
    for line in text.split_inclusive('\n') {
        let head = line.trim();
        if head.starts_with('[') {
            let name: String = head.chars().filter(|c| !c.is_whitespace()).collect();
            inside = name.starts_with("[hook]");
        }
        rest.push_str(if inside { "\n" } else { line });
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hooks_table_is_taken_out_and_lines_keep_their_numbers() {
        let text = "[policy]\nallow_domains = [\n  \"a.test\"]\n[ hook ] # x\nallow_repository_policy = true\n\
            worker_hosts_extra = [\n  \"b.test\",\n]\n[filesystem]\nallow_write = []\n";
        let (settings, rest) = split(text).unwrap();
        assert!(settings.allow_repository_policy && settings.summary);
        assert_eq!(settings.worker_hosts_extra, ["b.test"]);
        assert_eq!(rest.lines().count(), text.lines().count());
        assert_eq!(rest.lines().nth(8), Some("[filesystem]"));
        assert!(!rest.contains("b.test") && rest.contains("a.test"));
        assert_eq!(split("x = 1\n").unwrap(), (Settings::default(), "x = 1\n".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("[hook]\nallow_repo = true\n", "allow_repo"),
            ("[hook]\nsummary = 1\n", "line 2: [hook]: invalid type"),
            ("[hook]\nannotations = 11\n", "at most 10"),
        ] {
            let error = split(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
