//! Takes secrets out of what is recorded: URLs, command lines, header values. Pure.
//!
//! It errs on the side of hiding: a value hidden for nothing costs a guess, a value shown for nothing costs
//! a credential. What it cannot know (a password in a path, an unmarked word) it does not hide, which is why
//! the record is not readable by everyone.

#[cfg(test)]
mod tests;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// Parts of a parameter, flag, header or variable name that announce a secret, without `-` and `_`.
const SECRET_PARTS: &[&str] = &[
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "signature",
    "authorization",
    "bearer",
    "cookie",
];

/// Whole names that announce a secret.
const SECRET_NAMES: &[&str] = &["key", "sig", "auth", "pass", "pwd", "pw"];

/// Names that end so point at a secret, they do not hold it.
const POINTERS: &[&str] = &["file", "path", "dir", "url"];

/// How the tokens of well known services begin.
const TOKEN_PREFIXES: &[&str] = &[
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "npm_",
    "pypi-",
    "hf_",
    "dop_v1_",
    "eyJ",
];

/// Shorter words that begin like a token are words.
const TOKEN_MIN: usize = 16;

/// Programs whose `-pSECRET` is a password glued to its flag.
const GLUED_PASSWORD: &[&str] = &["mysql", "mysqldump", "mysqladmin", "mariadb", "sshpass"];

/// What a word says of the one after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Show,
    Hide,
    /// `-p`: a password, a port, or a prompt.
    HideUnlessNumber,
    /// `-u`: `user:password`.
    HideAfterColon,
}

/// A command line without its secrets; as many elements as `args`.
#[must_use]
pub fn argv(args: &[String]) -> Vec<String> {
    let program = args.first().map_or("", |arg| arg.rsplit('/').next().unwrap_or(arg));
    let glued = GLUED_PASSWORD.contains(&program);
    let mut next = Next::Show;
    args.iter()
        .map(|arg| {
            if next == Next::Show && arg.contains(char::is_whitespace) {
                return text(arg);
            }
            match arg.strip_prefix("-p") {
                Some(value) if glued && !value.is_empty() => format!("-p{MASK}"),
                _ => word(arg, &mut next),
            }
        })
        .collect()
}

/// Running text (a shell string, an error message) without its secrets.
#[must_use]
pub fn text(text: &str) -> String {
    let mut next = Next::Show;
    labelled(text)
        .split_inclusive(char::is_whitespace)
        .map(|piece| {
            let bare = piece.trim_end_matches(char::is_whitespace);
            // Two blanks in a row make an empty word: it must not use up what the word before announced.
            if bare.is_empty() { piece.to_owned() } else { word(bare, &mut next) + &piece[bare.len()..] }
        })
        .collect()
}

/// A URL without userinfo, without the values of parameters that are secrets by name, without known tokens.
#[must_use]
pub fn url(url: &str) -> String {
    let (rest, fragment) = split_off(url, '#');
    let (rest, query) = split_off(rest, '?');
    let mut masked = userinfo(rest);
    for (mark, params) in [('?', query), ('#', fragment)] {
        if let Some(params) = params {
            masked.push(mark);
            masked.push_str(&parameters(params));
        }
    }
    tokens(&masked)
}

fn split_off(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// `scheme://userinfo@host/path` without the userinfo, whichever part of it holds the secret.
fn userinfo(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) if start > 0 => format!("{}{MASK}{}", &url[..start], &url[start + at..]),
        _ => url.to_owned(),
    }
}

fn parameters(params: &str) -> String {
    params
        .split_inclusive(['&', ';'])
        .map(|param| match param.split_once('=') {
            Some((name, value)) if is_secret_name(&percent_decoded(name)) => {
                let separator = value.rfind(['&', ';']).map_or("", |at| &value[at..]);
                format!("{name}={MASK}{separator}")
            }
            _ => param.to_owned(),
        })
        .collect()
}

/// `%74oken` is `token` to every server.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One word of a command line; `next` carries what it announces.
fn word(word: &str, next: &mut Next) -> String {
    match std::mem::replace(next, Next::Show) {
        Next::Hide => return MASK.to_owned(),
        Next::HideUnlessNumber if word.parse::<u16>().is_err() => return MASK.to_owned(),
        Next::HideAfterColon => {
            let user = word.split_once(':').map(|(user, _)| format!("{user}:{MASK}"));
            return user.unwrap_or_else(|| word.to_owned());
        }
        Next::HideUnlessNumber | Next::Show => {}
    }
    let bare = word.trim_start_matches(['"', '\'']);
    *next = announced(bare);
    match bare.split_once('=') {
        Some((name, _)) if is_secret_name(name.trim_start_matches('-')) && is_name(name) => {
            format!("{}{name}={MASK}", &word[..word.len() - bare.len()])
        }
        Some((name, value)) if is_name(name) && !value.is_empty() => {
            let kept = word.len() - value.len();
            format!("{}{}", &word[..kept], url_or_label(value))
        }
        _ => url_or_label(word),
    }
}

/// What a whole word without `=` says of the one after it.
fn announced(word: &str) -> Next {
    match word {
        "-p" => Next::HideUnlessNumber,
        "-u" | "--user" | "--proxy-user" | "-U" => Next::HideAfterColon,
        flag if flag.starts_with("--") && !flag.contains('=') && is_secret_name(&flag[2..]) => Next::Hide,
        scheme if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic") => Next::Hide,
        _ => Next::Show,
    }
}

fn url_or_label(word: &str) -> String {
    if word.contains("://") { url(word) } else { tokens(&labelled(word)) }
}

/// Hides what follows `Name:`, as in a header or a JSON body, up to the closing quote or the end of the line.
fn labelled(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        let name = rest[..at].trim_end_matches(['"', '\'']);
        let name = &name[name.rfind(|c| !is_name_char(c)).map_or(0, |i| ceil_char(name, i))..];
        let value = rest[at + 1..].trim_start_matches([' ', '"', '\'']);
        let start = rest.len() - value.len();
        if !is_secret_name(name) || value.starts_with("//") {
            masked.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        }
        masked.push_str(&rest[..start]);
        let end = value_end(value);
        if end > 0 {
            masked.push_str(MASK);
        }
        rest = &value[end..];
    }
    masked + rest
}

/// Where the value of a label ends: an unescaped quote, or the end of the line.
fn value_end(value: &str) -> usize {
    let mut escaped = false;
    for (at, c) in value.char_indices() {
        match c {
            '"' | '\'' | '\n' | '\r' if !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    value.len()
}

/// The position after the character that starts at `at`.
fn ceil_char(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Hides the tokens of well known services wherever they stand, leaving the prefix that tells whose they are.
fn tokens(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    let mut boundary = true;
    while let Some(first) = rest.chars().next() {
        if let Some((prefix, length)) = boundary.then(|| token(rest)).flatten() {
            masked.push_str(prefix);
            masked.push_str(MASK);
            rest = &rest[length..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            boundary = !first.is_ascii_alphanumeric();
        }
    }
    masked
}

/// The prefix and the length of the token `text` begins with.
fn token(text: &str) -> Option<(&'static str, usize)> {
    let prefix = TOKEN_PREFIXES.iter().find(|prefix| text.starts_with(**prefix))?;
    let length = text.find(|c: char| !is_name_char(c) && c != '.').unwrap_or(text.len());
    (length >= TOKEN_MIN).then_some((prefix, length))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_char)
}

fn is_secret_name(name: &str) -> bool {
    let name: String =
        name.chars().filter(|c| !matches!(c, '-' | '_' | '.')).map(|c| c.to_ascii_lowercase()).collect();
    !POINTERS.iter().any(|end| name.ends_with(end))
        && (SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part)))
}
