//! The file to begin with: every key with what it is for, all but nothing of it in force.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, Kind, TABLES};

/// The text of a configuration file in which everything is a comment but the tables, and one rule that is there to be
/// replaced.
#[must_use]
pub fn starter() -> String {
    let mut text = String::from(
        "# awf-bpf's configuration: `awf-bpf exec -c FILE -- CMD`, `awf-bpf check -c FILE`.\n\
         # What is typed beats what stands here; lists add. Paths are relative to this file's directory.\n\
         # `awf-bpf policy schema` prints the schema, `awf-bpf check -c FILE` says what is wrong.\n",
    );
    for (table, about) in TABLES {
        // Writing into a String does not fail.
        let _ = writeln!(text, "\n# {about}\n[{table}]");
        for key in KEYS.iter().filter(|key| key.table == table) {
            let begin = if key.is("allow_domains") { "" } else { "# " };
            let flag = key.flag.map_or_else(String::new, |flag| format!(" ({flag})"));
            let _ = writeln!(text, "# {}{flag}\n{begin}{} = {}", key.about, key.name, example(key));
        }
    }
    text
}

/// A value that can stand there.
fn example(key: &Key) -> String {
    let text = match (key.table, key.name) {
        (_, "allow_dns") => "[\"TXT:example.com\"]",
        (_, "allow_domains") => "[\"example.com\", \"=api.example.com\"]",
        (_, "allow_host_service_ports") => "[5432]",
        (_, "allow_ip") => "[\"198.51.100.0/24:5432\"]",
        (_, "allow_urls") => {
            "[\"http://example.com/a/**\", {url = \"http://example.com/b\", methods = [\"GET\"]}]"
        }
        (_, "block_domains") => "[\"tracker.example.com\"]",
        (_, "deadline") => "[\"idle=10m\"]",
        (_, "dns_over_https") => "\"https://dns.example.com/dns-query\"",
        (_, "dns_servers") => "[\"198.51.100.53\"]",
        (_, "upstream_no_proxy") => "[\"internal.example.com\"]",
        (_, "upstream_proxy") => "\"http://proxy.example.com:3128\"",
        (_, "allow_write") => "[\"$HOME/out\"]",
        (_, "mount") => "[\"/data:/mnt/data:ro\"]",
        (_, "allow_unix") => "[\"/run/service.sock\"]",
        (_, "worker_hosts_extra") => "[\"ghes.example.com\"]",
        ("tls", "exclude") => "[\"pinned.example.com\"]",
        ("environment", "set") => "[\"CI=true\", \"GITHUB_TOKEN\"]",
        ("environment", "exclude") => "[\"NPM_TOKEN\"]",
        (_, "user") => "\"runner\"",
        (_, "workdir") => "\"/work\"",
        (_, "memory") => "\"6g\"",
        (_, "timeout") => "\"30m\"",
        (_, name) => match key.kind {
            Kind::Bool => "true",
            Kind::Ports => "[3000, \"8000-8010\"]",
            Kind::Paths => return format!("[\"{}.txt\"]", name.trim_end_matches("_file")),
            Kind::Path => return format!("\"{name}\""),
            Kind::Word(words) => return format!("\"{}\"", words[0]),
            Kind::Count(most) => return most.to_string(),
            Kind::Amount => "1000",
            _ => "\"example\"",
        },
    };
    text.to_owned()
}
