//! The runner's `.env`, which Runner.Listener reads when it starts (`src/Runner.Listener/Program.cs`, `LoadAndSetEnv`): a line is
//! `NAME=VALUE` as it stands, without quotes or comments; of two lines the later one counts. Pure: bytes in, bytes out.

/// The variables that name the hooks (`src/Runner.Common/Constants.cs`).
pub const VARIABLES: [&str; 2] = ["ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_RUNNER_HOOK_JOB_COMPLETED"];

/// A line that sets a hook of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} sets {name} to {value:?}: a runner has one such hook; remove the line, and call that script from the \
     workflow or from a hook of your own that calls awf-bpf's"
)]
pub struct Foreign {
    pub line: usize,
    pub name: &'static str,
    pub value: String,
}

/// `old` with a line for each of `hooks` (paths, in the order of [`VARIABLES`]), everything else kept as it is.
///
/// # Errors
///
/// For each line that sets another hook.
pub fn with(old: &[u8], hooks: [&str; 2]) -> Result<Vec<u8>, Vec<Foreign>> {
    let (mut new, mut foreign) = (old.to_vec(), Vec::new());
    for (name, hook) in VARIABLES.into_iter().zip(hooks) {
        let found: Vec<_> = values(old, name).collect();
        foreign.extend(found.iter().filter(|(_, value)| *value != hook.as_bytes()).map(|(line, value)| {
            Foreign { line: *line, name, value: String::from_utf8_lossy(value).into_owned() }
        }));
        if found.is_empty() {
            append(&mut new, format!("{name}={hook}").as_bytes());
        }
    }
    if foreign.is_empty() { Ok(new) } else { Err(foreign) }
}

/// `now` without the lines that set exactly `hooks`; `None` if there is none of them.
#[must_use]
pub fn without(now: &[u8], hooks: [&str; 2]) -> Option<Vec<u8>> {
    let ours = VARIABLES.into_iter().zip(hooks).map(|(name, hook)| format!("{name}={hook}"));
    let ours: Vec<String> = ours.collect();
    let is_ours = |line: &&[u8]| ours.iter().any(|own| bare(line) == own.as_bytes());
    let lines: Vec<&[u8]> = now.split_inclusive(|byte| *byte == b'\n').collect();
    lines
        .iter()
        .any(is_ours)
        .then(|| lines.into_iter().filter(|line| !is_ours(line)).collect::<Vec<_>>().concat())
}

/// The numbers, from 1, and values of the lines that set `name`.
fn values<'a>(text: &'a [u8], name: &'static str) -> impl Iterator<Item = (usize, &'a [u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(bare).enumerate();
    lines.filter_map(move |(at, line)| {
        let rest = line.strip_prefix(name.as_bytes())?;
        Some((at + 1, rest.strip_prefix(b"=")?))
    })
}

/// A line without its end.
fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A last line without an end stays one.
fn append(text: &mut Vec<u8>, line: &[u8]) {
    match text.last() {
        None | Some(b'\n') => text.extend([line, b"\n"].concat()),
        Some(_) => text.extend([b"\n", line].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOKS: [&str; 2] = ["/h/a.sh", "/h/b.sh"];
    const LINES: &str =
        "ACTIONS_RUNNER_HOOK_JOB_STARTED=/h/a.sh\nACTIONS_RUNNER_HOOK_JOB_COMPLETED=/h/b.sh\n";

    fn with_text(old: &str) -> String {
        String::from_utf8(with(old.as_bytes(), HOOKS).unwrap()).unwrap()
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        assert_eq!(with_text(""), LINES);
        for old in ["LANG=C\n", "A=1\n\nB==2\n#c\n", "X=1\r\nY=2\r\n"] {
            assert_eq!(with_text(old), format!("{old}{LINES}"));
            assert_eq!(without(with_text(old).as_bytes(), HOOKS).unwrap(), old.as_bytes());
        }
        assert_eq!(with_text("LANG=C"), format!("LANG=C\n{}", LINES.trim_end()));
    }

    #[test]
    fn what_is_there_is_not_written_twice() {
        for old in [LINES.to_owned(), format!("A=1\n{LINES}B=2"), LINES.replace('\n', "\r\n")] {
            assert_eq!(with_text(&old), old);
        }
        let half = "ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/h/b.sh\n";
        assert_eq!(with_text(half), format!("{half}ACTIONS_RUNNER_HOOK_JOB_STARTED=/h/a.sh\n"));
    }

    #[test]
    fn hooks_of_others_are_named_and_not_overwritten() {
        let old = "A=1\nACTIONS_RUNNER_HOOK_JOB_STARTED=/own.sh\nACTIONS_RUNNER_HOOK_JOB_COMPLETED=\n";
        let foreign = with(old.as_bytes(), HOOKS).unwrap_err();
        assert_eq!(
            foreign.iter().map(|f| (f.line, &*f.value)).collect::<Vec<_>>(),
            [(2, "/own.sh"), (3, "")]
        );
        // A later line would win over ours.
        assert!(with(format!("{LINES}ACTIONS_RUNNER_HOOK_JOB_STARTED=/x\n").as_bytes(), HOOKS).is_err());
        // These are other variables to the runner.
        for other in [
            "#ACTIONS_RUNNER_HOOK_JOB_STARTED=/x",
            " ACTIONS_RUNNER_HOOK_JOB_STARTED=/x",
            "ACTIONS_RUNNER_HOOK_JOB_STARTED =/x",
        ] {
            assert!(with(other.as_bytes(), HOOKS).is_ok(), "{other}");
        }
    }

    #[test]
    fn only_our_lines_are_taken_away() {
        assert_eq!(without(b"A=1\n", HOOKS), None);
        let theirs = format!("A=1\n{LINES}ACTIONS_RUNNER_HOOK_JOB_STARTED=/x\n");
        assert_eq!(without(theirs.as_bytes(), HOOKS).unwrap(), b"A=1\nACTIONS_RUNNER_HOOK_JOB_STARTED=/x\n");
    }
}
