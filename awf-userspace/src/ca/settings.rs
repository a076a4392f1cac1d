//! Files of settings that name whom a program trusts and beat its variables: what is in them keeps it from trusting the
//! run's CA. Those of npm, pip, git and cargo do not: their variables beat them.
//!
//! They are the user's, who need not be who runs awf-bpf: of what they hold no more is ever told than the line and the name
//! of a setting.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{gather::file, variables::PLACE};

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Home,
    /// Below HOME, where credentials are kept: with a root of its own the command does not see it.
    Hidden,
    /// The working directory.
    Here,
}

/// Debian's curl has a directory beside its file, and reads what of them is not replaced: it takes both.
const DEBIAN: &str = "/etc/debian_version";
const OTHER_OF_CURL: &str = "capath";

/// Place, file, settings, whose.
#[rustfmt::skip]
const SETTINGS: &[(At, &str, &[&str], &str)] = &[
    (At::Home, ".curlrc", &["pinnedpubkey", "cacert"], "curl"),
    (At::Home, ".config/curlrc", &["pinnedpubkey", "cacert"], "curl"),
    (At::Home, ".condarc", &["ssl_verify"], "conda"),
    (At::Here, ".bundle/config", &["BUNDLE_SSL_CA_CERT"], "bundler"),
    (At::Hidden, ".gradle/gradle.properties", &["systemProp.javax.net.ssl.trustStore"], "java"),
    (At::Here, "gradle.properties", &["systemProp.javax.net.ssl.trustStore"], "java"),
    (At::Here, ".mvn/jvm.config", &["-Djavax.net.ssl.trustStore"], "java"),
    (At::Home, ".mavenrc", &["-Djavax.net.ssl.trustStore"], "java"),
];

/// A setting that beats what awf-bpf does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    pub name: &'static str,
    /// One of [`super::PROGRAMS`].
    pub program: &'static str,
}

/// With what to do.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, name, program } = self;
        let path = path.display();
        if *name == "pinnedpubkey" {
            return write!(f, "{path}:{line}: {name} makes {program} refuse every other key: take it out");
        }
        write!(
            f,
            "{path}:{line}: {name} is all that {program} trusts, whatever its variables say: take it out, and let \
             SSL_CERT_FILE name that file where awf-bpf is started (its certificates are added then)"
        )
    }
}

/// Those in `home` and `here`. `covered`: files that awf-bpf lays its own over. `hidden`: the command does not see places
/// of credentials.
#[must_use]
pub fn settings(home: &Path, here: &Path, covered: &[PathBuf], hidden: bool) -> Vec<Setting> {
    look(home, here, covered, hidden, Path::new(DEBIAN).exists())
}

fn look(home: &Path, here: &Path, covered: &[PathBuf], hidden: bool, debian: bool) -> Vec<Setting> {
    let mut found = Vec::new();
    for (at, name, keys, program) in SETTINGS {
        let path = match at {
            At::Home => home.join(name),
            At::Hidden if hidden => continue,
            At::Hidden => home.join(name),
            At::Here => here.join(name),
        };
        let Ok(bytes) = file(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let other = |line: &str, key| value(line, key).is_some_and(|value| is_other(value, covered));
        let line_of = |key| text.lines().position(|line| other(line, key));
        let half = |key: &str| key == "cacert" && debian && line_of(OTHER_OF_CURL).is_none();
        let hit = keys.iter().find_map(|key| Some((line_of(key)? + 1, *key)).filter(|_| !half(key)));
        if let Some((line, name)) = hit {
            found.push(Setting { path, line, name, program });
        }
    }
    found
}

/// What `line` sets `key` to.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let line = line.trim();
    if line.starts_with(['#', ';', '!']) {
        return None;
    }
    let rest = match key.starts_with('-') {
        true => line.split_once(key)?.1,
        false => line.trim_start_matches('-').strip_prefix(key)?,
    };
    let value = rest.strip_prefix(|c: char| c.is_whitespace() || c == '=' || c == ':')?;
    let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=' || c == ':');
    Some(value.trim_matches(['"', '\'', ' ']))
}

/// Whether it is none of ours, nor a switch.
fn is_other(value: &str, covered: &[PathBuf]) -> bool {
    let path = Path::new(value.split_whitespace().next().unwrap_or_default());
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let is_ours = |known: &PathBuf| std::fs::canonicalize(known).is_ok_and(|known| known == real);
    let switch = ["", "true", "false", "null", "truststore"].contains(&value.to_ascii_lowercase().as_str());
    !switch && !path.starts_with(PLACE) && !covered.iter().any(is_ours)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_setting_is_found_by_its_line_unless_it_is_ours() {
        let base = std::env::temp_dir().join(format!("awf-settings-{}", std::process::id()));
        fs::create_dir_all(base.join("here/.bundle")).unwrap();
        fs::write(base.join("bundle.crt"), "x").unwrap();
        let covered = [base.join("bundle.crt")];
        let found = |hidden| look(&base, &base.join("here"), &covered, hidden, false);
        let ours = format!("cacert = \"{}\"\n", base.join("bundle.crt").display());
        for text in ["# cacert = /x\n", "cacerts = /x\n", &ours, "cacert = /run/awf-bpf/tls/bundle.pem"] {
            fs::write(base.join(".curlrc"), text).unwrap();
            assert_eq!(found(true), [], "{text}");
        }
        for text in ["cacert = /x\n", "--cacert /x", "cacert: \"/x y\"", " pinnedpubkey=/x"] {
            fs::write(base.join(".curlrc"), format!("-s\n{text}")).unwrap();
            let found = found(true);
            assert_eq!((found.len(), found[0].line, found[0].program), (1, 2, "curl"), "{text}");
        }
        let on_debian = |text: &str| {
            fs::write(base.join(".curlrc"), text).unwrap();
            look(&base, &base.join("here"), &covered, true, true).len()
        };
        let both = "capath /x\ncacert /x\n";
        assert_eq!((on_debian("cacert /x\n"), on_debian("capath /x\n"), on_debian(both)), (0, 0, 1));
        fs::create_dir_all(base.join(".gradle")).unwrap();
        let store = "org.gradle.x=1\nsystemProp.javax.net.ssl.trustStore=/x\n";
        fs::write(base.join(".gradle/gradle.properties"), store).unwrap();
        fs::write(base.join(".condarc"), "ssl_verify: True\n").unwrap();
        assert_eq!((found(true).len(), found(false).len()), (1, 2));
        fs::write(base.join("here/.bundle/config"), "---\nBUNDLE_SSL_CA_CERT: \"/x\"\n").unwrap();
        let said = found(true)[1].to_string();
        assert!(said.contains("/here/.bundle/config:2: BUNDLE_SSL_CA_CERT is all that bundler"), "{said}");
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn whose_they_are_is_known() {
        for (_, path, _, program) in SETTINGS {
            assert!(super::super::PROGRAMS.iter().any(|known| known.name == *program), "{path}");
        }
    }
}
