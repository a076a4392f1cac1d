//! `*` and `**` in paths and queries. Each character is looked at once for each place of the pattern: what a pattern
//! costs grows with its length times that of the text, whatever the text is.

use super::target::Part;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `*`: any bytes of one segment, or of one parameter.
    Within,
    /// `**`: any bytes.
    Across,
    /// The two tokens behind it may be left out: `/**/` is also `/`.
    Maybe,
}

/// A compiled pattern, anchored at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// What comes before the first wildcard.
    prefix: Box<str>,
    tokens: Box<[Token]>,
    part: Part,
}

impl Glob {
    pub(super) fn new(text: &str, part: Part) -> Self {
        let (prefix, rest) = text.split_at(text.find('*').unwrap_or(text.len()));
        // Its slash belongs to what may be left out.
        let optional = part == Part::Path && rest.starts_with("**/") && prefix.ends_with('/');
        let mut tokens = if optional { vec![Token::Maybe] } else { Vec::new() };
        let mut rest = rest.as_bytes();
        while let [first, behind @ ..] = rest {
            if *first != b'*' {
                tokens.push(Token::Byte(*first));
                rest = behind;
                if part == Part::Path && *first == b'/' && rest.starts_with(b"**/") {
                    tokens.push(Token::Maybe);
                }
                continue;
            }
            let stars = rest.iter().take_while(|b| **b == b'*').count();
            tokens.push(if stars == 1 { Token::Within } else { Token::Across });
            rest = &rest[stars..];
        }
        Self { prefix: prefix.into(), tokens: tokens.into(), part }
    }

    /// How much of `text` is what the pattern begins with, in bytes.
    pub(super) fn common(&self, text: &str) -> usize {
        self.prefix.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count()
    }

    pub(super) fn has_wildcard(&self) -> bool {
        !self.tokens.is_empty()
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.prefix) else { return false };
        let mut now = Places::new(self.tokens.len());
        let mut next = Places::new(self.tokens.len());
        now.enter(&self.tokens, 0);
        for byte in rest.bytes() {
            if self.tokens.last() == Some(&Token::Across) && now.at[self.tokens.len() - 1] {
                return true;
            }
            next.at.fill(false);
            for (place, token) in self.tokens.iter().enumerate().filter(|(place, _)| now.at[*place]) {
                match token {
                    Token::Byte(wanted) if *wanted == byte => next.enter(&self.tokens, place + 1),
                    Token::Within if !self.ends_within(byte) => next.enter(&self.tokens, place),
                    Token::Across => next.enter(&self.tokens, place),
                    Token::Byte(_) | Token::Within | Token::Maybe => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.at[self.tokens.len()]
    }

    /// Where `*` ends. Some servers part parameters at semicolons, too.
    fn ends_within(&self, byte: u8) -> bool {
        match self.part {
            Part::Path => byte == b'/',
            Part::Query => matches!(byte, b'&' | b';'),
        }
    }
}

/// Which tokens may be next.
struct Places {
    at: Vec<bool>,
}

impl Places {
    fn new(tokens: usize) -> Self {
        Self { at: vec![false; tokens + 1] }
    }

    fn enter(&mut self, tokens: &[Token], place: usize) {
        if std::mem::replace(&mut self.at[place], true) {
            return;
        }
        match tokens.get(place) {
            Some(Token::Within | Token::Across) => self.enter(tokens, place + 1),
            Some(Token::Maybe) => {
                self.enter(tokens, place + 1);
                self.enter(tokens, place + 3);
            }
            Some(Token::Byte(_)) | None => {}
        }
    }
}
