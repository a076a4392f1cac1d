//! Workflow commands, read as the runner reads them (actions/runner, `src/Runner.Common/ActionCommand.cs`, the second
//! form, and `src/Runner.Worker/ActionCommandManager.cs`).

use serde::{Deserialize, Serialize};

/// What the runner does because of a line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// `error`, `warning` or `notice`.
    pub level: String,
    pub title: String,
    pub file: String,
    pub line: String,
    pub message: String,
}

/// The lines of one process, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What the log shows, masked; commands are in [`Said::annotations`] and [`Said::groups`] instead.
    pub lines: Vec<String>,
    pub annotations: Vec<Annotation>,
    pub groups: Vec<String>,
    /// Every command but those, `name: data`: what else a line has made the runner do.
    pub other: Vec<String>,
    pub masks: Vec<String>,
    #[serde(skip)]
    stopped: Option<String>,
}

impl Said {
    /// Reads one line.
    pub fn line(&mut self, line: &str) {
        let Some(command) = Command::parse(line) else {
            return self.show(line);
        };
        if let Some(token) = &self.stopped {
            if *token == command.name {
                self.stopped = None;
                return;
            }
            return self.show(line);
        }
        match command.name.as_str() {
            "group" => self.groups.push(command.data),
            "endgroup" => {}
            "add-mask" => self.masks.push(command.data),
            "stop-commands" => self.stopped = Some(command.data),
            level @ ("error" | "warning" | "notice") => {
                let property = |name: &str| {
                    let found = command.properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map_or_else(String::new, |(_, value)| value.clone())
                };
                self.annotations.push(Annotation {
                    level: level.into(),
                    title: property("title"),
                    file: property("file"),
                    line: property("line"),
                    message: command.data.clone(),
                });
            }
            "debug" | "echo" | "add-matcher" | "remove-matcher" | "set-output" | "save-state" | "set-env"
            | "add-path" => {
                self.other.push(format!("{}: {}", command.name, command.data));
            }
            _ => self.show(line),
        }
    }

    fn show(&mut self, line: &str) {
        let masked = self.masks.iter().filter(|mask| !mask.is_empty());
        self.lines.push(masked.fold(line.to_owned(), |line, mask| line.replace(mask.as_str(), "***")));
    }

    /// All that the log shows.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

struct Command {
    name: String,
    properties: Vec<(String, String)>,
    data: String,
}

impl Command {
    /// `::name key=value,key=value::data`, after blanks.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.trim_start().strip_prefix("::")?;
        let (head, data) = rest.split_once("::")?;
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let pair = |text: &str| {
            let (key, value) = text.split_once('=')?;
            let value =
                value.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",");
            Some((key.trim().to_owned(), value.replace("%25", "%")))
        };
        let data = data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
        let properties = properties.split(',').filter_map(pair).collect();
        (!name.is_empty()).then(|| Self { name: name.to_ascii_lowercase(), properties, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_where_the_runner_takes_them_for_such() {
        let mut said = Said::default();
        for line in [
            "plain",
            "  ::warning file=a%3Ab,line=3,title=x%2Cy::one%0Atwo%25",
            "text ::error::no command",
            "::group::g",
            "::add-mask::secret",
            "my secret",
            "::unknown::x",
            "::stop-commands::tok",
            "::error::shown",
            "::tok::",
            "::error::e",
        ] {
            said.line(line);
        }
        let [warning, error] = &said.annotations[..] else { panic!("{said:?}") };
        assert_eq!((&*warning.file, &*warning.line, &*warning.title), ("a:b", "3", "x,y"));
        assert_eq!((&*warning.message, &*error.message), ("one\ntwo%", "e"));
        assert_eq!(said.groups, ["g"]);
        let shown = ["plain", "text ::error::no command", "my ***", "::unknown::x", "::error::shown"];
        assert_eq!(said.lines, shown);
    }
}
