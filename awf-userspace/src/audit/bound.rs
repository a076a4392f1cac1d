//! Bounds on what one record may hold: the command chooses these texts, so it must not choose their size.

/// Longest URL kept, in bytes.
pub(super) const URL: usize = 2048;
/// Most bytes kept of a whole command line.
pub(super) const ARGV: usize = 4096;
/// Longest path of an executable kept, in bytes.
pub(super) const PATH: usize = 1024;
/// Longest of every other text, in bytes; a host name has at most 253.
pub(super) const TEXT: usize = 512;
/// Most ancestors kept.
pub(super) const ANCESTORS: usize = 16;

const CUT: &str = "...[cut]";

/// `text` in at most `max` bytes; one that was cut says so at its end.
pub(super) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let mut end = max.saturating_sub(CUT.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// `args` in at most [`ARGV`] bytes of text; a last element says what is missing.
pub(super) fn cut_argv(args: Vec<String>) -> Vec<String> {
    let mut left = ARGV;
    let total = args.len();
    let mut kept = Vec::new();
    for arg in args {
        if left < CUT.len() {
            kept.push(format!("...[{} more]", total - kept.len()));
            break;
        }
        let arg = cut(arg, left);
        // An empty argument costs one byte, so that their number is bounded too.
        left = left.saturating_sub(arg.len().max(1));
        kept.push(arg);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_texts_say_so_and_end_at_a_character() {
        assert_eq!(cut("short".into(), 5), "short");
        assert_eq!(cut("é".repeat(100), 13), "éé...[cut]");
        assert!(cut("x".repeat(10_000), URL).len() <= URL);
    }

    #[test]
    fn a_command_line_is_bounded_in_bytes_and_in_number() {
        assert_eq!(cut_argv(vec!["a".into(), String::new()]), ["a", ""]);
        let long = cut_argv(vec!["x".repeat(5000), "y".into(), "z".into()]);
        assert_eq!((long[0].len(), long[1].as_str(), long.len()), (ARGV, "...[2 more]", 2));
        let many = cut_argv(vec![String::new(); 1_000_000]);
        assert!(many.len() <= ARGV, "{}", many.len());
        assert!(many.concat().len() < 32);
    }
}
