//! Secrets as they really stand in command lines and URLs, and what must stay readable.

use super::*;

fn line(args: &[&str]) -> String {
    argv(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()).join(" ")
}

#[test]
fn urls_lose_their_secrets_and_nothing_else() {
    for (given, kept) in [
        ("https://example.com/a?b=c#d", "https://example.com/a?b=c#d"),
        ("https://user:pw@example.com/", "https://***@example.com/"),
        ("https://token@example.com", "https://***@example.com"),
        ("https://u:p@ss@example.com/x", "https://***@example.com/x"),
        ("https://example.com/@scope/pkg", "https://example.com/@scope/pkg"),
        ("https://example.com/?a=1&access_token=s3cret&b=2", "https://example.com/?a=1&access_token=***&b=2"),
        ("https://example.com/?%74oken=s3cret", "https://example.com/?%74oken=***"),
        ("https://example.com/?TOKEN=s;key=t", "https://example.com/?TOKEN=***;key=***"),
        ("https://example.com/?X-Amz-Signature=abc", "https://example.com/?X-Amz-Signature=***"),
        ("https://example.com/?X-Amz-Security-Token=abc", "https://example.com/?X-Amz-Security-Token=***"),
        ("https://example.com/cb#access_token=abc", "https://example.com/cb#access_token=***"),
        ("https://example.com/?token=a=b=c&x", "https://example.com/?token=***&x"),
        ("/relative?password=x", "/relative?password=***"),
        ("https://example.com/ghp_0123456789abcdef0123/x", "https://example.com/ghp_***/x"),
        ("https://example.com/?q=%zz%", "https://example.com/?q=%zz%"),
    ] {
        assert_eq!(url(given), kept, "{given}");
    }
}

#[test]
fn command_lines_lose_their_secrets_and_nothing_else() {
    for (given, kept) in [
        (&["curl", "-sS", "https://example.com"][..], "curl -sS https://example.com"),
        (&["curl", "--oauth2-bearer", "s3cret"], "curl --oauth2-bearer ***"),
        (&["x", "--password=s3cret", "--verbose"], "x --password=*** --verbose"),
        (&["x", "--api-key", "s3cret", "y"], "x --api-key *** y"),
        (&["x", "--token-file", "/run/t"], "x --token-file /run/t"),
        (&["mysql", "-ps3cret", "db"], "mysql -p*** db"),
        (&["mysql", "-p", "s3cret"], "mysql -p ***"),
        (&["ssh", "-p", "2222", "example.com"], "ssh -p 2222 example.com"),
        (&["/usr/bin/mkdir", "-pv", "d"], "/usr/bin/mkdir -pv d"),
        (&["curl", "-u", "me:s3cret", "u"], "curl -u me:*** u"),
        (&["curl", "-H", "Authorization: Bearer abc.def"], "curl -H Authorization: ***"),
        (&["curl", "-H", "x-api-key:abc"], "curl -H x-api-key:***"),
        (&["curl", "-H", "Accept: text/html"], "curl -H Accept: text/html"),
        (&["curl", "-d", r#"{"password": "a\"b", "n": 1}"#], r#"curl -d {"password": "***", "n": 1}"#),
        (&["env", "GITHUB_TOKEN=abc", "gh"], "env GITHUB_TOKEN=*** gh"),
        (&["env", "URL=https://u:p@example.com"], "env URL=https://***@example.com"),
        (&["git", "clone", "https://x:ghp_abc@example.com/r"], "git clone https://***@example.com/r"),
        (&["git", "clone", "git@example.com:org/r"], "git clone git@example.com:org/r"),
        (&["x", "sk-0123456789abcdef0123"], "x sk-***"),
        (&["x", "AKIA0123456789ABCDEF"], "x AKIA***"),
        (&["x", "sk-short"], "x sk-short"),
        (
            &[
                "bash",
                "-c",
                "curl -H 'Authorization: token abc' --token  def 'https://u:p@example.com' -p pw",
            ],
            "bash -c curl -H 'Authorization: ***' --token  *** 'https://***@example.com' -p ***",
        ),
    ] {
        assert_eq!(line(given), kept);
    }
}

/// Whatever the command put into its arguments, masking ends and leaves no part of a character.
#[test]
fn hostile_text_is_survived() {
    for given in
        ["", ":", "://", "%", "=", "-", "é:é=é", "\"':\"'", "token:", "токен:token:é", "\u{1b}[2J://@?#"]
    {
        for cut in (0..=given.len()).filter(|at| given.is_char_boundary(*at)) {
            let _ = (url(&given[cut..]), text(&given[..cut]), line(&[&given[cut..], given]));
        }
    }
    let deep = "token:".repeat(20_000);
    assert!(text(&deep).len() < 100, "one label hides the line after it");
}
