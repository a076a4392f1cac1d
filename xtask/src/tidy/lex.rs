//! Just enough of Rust's lexical grammar to tell code from comments and literals
//! (<https://doc.rust-lang.org/reference/tokens.html>). A parser crate would delay every build of the workspace.

/// A source file with everything but code blanked out; lines stay where they are.
#[derive(Debug)]
pub(super) struct Masked {
    /// Code only: comments and the insides of literals are spaces.
    pub(super) code: Vec<String>,
    /// Comments only.
    pub(super) comments: Vec<String>,
}

/// Which of the two a character goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

pub(super) fn mask(source: &str) -> Masked {
    let mut m =
        Masker { chars: source.chars().collect(), at: 0, code: String::new(), comments: String::new() };
    while let Some(c) = m.peek(0) {
        match c {
            '/' if m.peek(1) == Some('/') => m.line_comment(),
            '/' if m.peek(1) == Some('*') => m.block_comment(),
            '"' => m.string(),
            'r' if !m.in_word() && m.raw_hashes().is_some() => m.raw_string(),
            '\'' => m.char_or_lifetime(),
            _ => m.take(1, Part::Code),
        }
    }
    let lines = |s: &str| s.split('\n').map(str::to_owned).collect();
    Masked { code: lines(&m.code), comments: lines(&m.comments) }
}

struct Masker {
    chars: Vec<char>,
    at: usize,
    code: String,
    comments: String,
}

impl Masker {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Whether the character before this one belongs to an identifier (`for"`, not a raw string). `b` and `c` may
    /// stand before a raw string's `r`.
    fn in_word(&self) -> bool {
        let word = |back: usize| {
            let before = self.at.checked_sub(back).map(|i| self.chars[i]);
            before.filter(|c| c.is_alphanumeric() || *c == '_')
        };
        match word(1) {
            Some('b' | 'c') => word(2).is_some(),
            before => before.is_some(),
        }
    }

    fn take(&mut self, count: usize, part: Part) {
        for _ in 0..count {
            let Some(c) = self.peek(0) else { return };
            let shown = |to| if part == to || c == '\n' { c } else { ' ' };
            self.code.push(shown(Part::Code));
            self.comments.push(shown(Part::Comment));
            self.at += 1;
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.take(1, Part::Comment);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.take(1, Part::Comment);
                    continue;
                }
            }
            self.take(2, Part::Comment);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.take(1, Part::Code);
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => self.take(2, Part::Literal),
                '"' => return self.take(1, Part::Code),
                _ => self.take(1, Part::Literal),
            }
        }
    }

    /// How many `#` stand between this `r` and its quote; `None` if it opens no raw string (`r#type`, `return`).
    fn raw_hashes(&self) -> Option<usize> {
        let hashes = (0..).take_while(|n| self.peek(1 + n) == Some('#')).count();
        (self.peek(1 + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_string(&mut self) {
        let hashes = self.raw_hashes().unwrap_or(0);
        self.take(2 + hashes, Part::Code);
        while let Some(c) = self.peek(0) {
            if c == '"' && (1..=hashes).all(|n| self.peek(n) == Some('#')) {
                return self.take(1 + hashes, Part::Code);
            }
            self.take(1, Part::Literal);
        }
    }

    /// `'a'` and `'\n'` are literals, `'a` is a lifetime.
    fn char_or_lifetime(&mut self) {
        self.take(1, Part::Code);
        if self.peek(0) == Some('\\') {
            self.take(2, Part::Literal);
            while self.peek(0).is_some_and(|c| c != '\'' && c != '\n') {
                self.take(1, Part::Literal);
            }
            self.take(1, Part::Code);
        } else if self.peek(1) == Some('\'') {
            self.take(1, Part::Literal);
            self.take(1, Part::Code);
        }
    }
}

/// A word, or a piece of punctuation (`::` is one), and its line from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

pub(super) fn tokens(code: &[String]) -> Vec<Token> {
    let mut all: Vec<Token> = Vec::new();
    for (line, text) in code.iter().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            all.push(Token { text: token.to_owned(), line });
            rest = after.trim_start();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{mask, tokens};

    fn code(source: &str) -> String {
        mask(source).code.join("\n")
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        assert_eq!(code("a // unsafe\nb"), "a          \nb");
        assert_eq!(code("/* x /* y */ unsafe */ z"), "                       z");
        assert_eq!(code(r#"f("un\"safe", 'u')"#), r#"f("        ", ' ')"#);
        assert_eq!(code(r##"br#"a"b"# c"##), r##"br#"   "# c"##);
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code(r"('\u{1F600}', '\'', x)"), r"('         ', '  ', x)");
        assert_eq!(code("for r in x {}"), "for r in x {}");
    }

    #[test]
    fn comments_keep_their_lines() {
        let m = mask("a\n// SAFETY: x\nunsafe {}\n");
        assert_eq!(m.comments[1], "// SAFETY: x");
        assert_eq!(m.code.len(), m.comments.len());
    }

    #[test]
    fn tokens_are_words_and_punctuation() {
        let words: Vec<_> = tokens(&["a::b{c}".into()]).into_iter().map(|t| t.text).collect();
        assert_eq!(words, ["a", "::", "b", "{", "c", "}"]);
    }
}
