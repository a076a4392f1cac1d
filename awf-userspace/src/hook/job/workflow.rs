//! Lines for the runner: workflow commands, with whatever somebody else chose escaped as the runner reads it
//! (actions/runner, `src/Runner.Common/ActionCommand.cs`). Pure.

/// Longest message, in characters.
const MESSAGE_MAX: usize = 2000;

/// The text of a command.
#[must_use]
pub fn data(text: &str) -> String {
    let cut: String = text.chars().take(MESSAGE_MAX).collect();
    cut.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value of a command.
#[must_use]
pub fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// `::LEVEL title=awf-bpf::TEXT`
#[must_use]
pub fn annotation(level: &str, text: &str) -> String {
    format!("::{level} title=awf-bpf::{}", data(&plain(text)))
}

/// The same, at a line of a file.
#[must_use]
pub fn annotation_at(level: &str, file: &str, line: Option<usize>, text: &str) -> String {
    let line = line.map_or(String::new(), |line| format!(",line={line}"));
    format!("::{level} file={}{line},title=awf-bpf::{}", property(file), data(&plain(text)))
}

/// A line of the log that is no command, whatever is in it.
#[must_use]
pub fn line(text: &str) -> String {
    // The older form is a command wherever in a line it is (`TryParse`), the newer one only where it begins, after blanks.
    let text = plain(text).replace('\n', " ").replace("##[", "## [");
    if text.trim_start().starts_with("::") { format!("| {text}") } else { text }
}

/// Without what steers a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_command_or_ends_one() {
        let text = annotation("error", "50%\n::set-env name=a::b\r\u{1b}[31m");
        assert_eq!(text, "::error title=awf-bpf::50%25%0A::set-env name=a::b??[31m");
        let at = annotation_at("error", "a,b:c\nd", Some(3), "x");
        assert_eq!(at, "::error file=a%2Cb%3Ac%0Ad,line=3,title=awf-bpf::x");
        assert_eq!(line("  ::error::x\ny"), "|   ::error::x y");
        assert_eq!(line("a ##[add-mask]x ###[[stop-commands]y"), "a ## [add-mask]x ### [[stop-commands]y");
        assert_eq!(line("a ::b::"), "a ::b::");
        assert_eq!(
            annotation("error", &"x".repeat(9999)).len(),
            MESSAGE_MAX + "::error title=awf-bpf::".len()
        );
    }
}
