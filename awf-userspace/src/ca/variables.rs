//! The variables by which programs are told what to trust: one table. Pure.
//!
//! What a variable adds to is given ours and what it had; what a variable replaces is given the machine's, what all of
//! them had, and ours. Of JAVA_TOOL_OPTIONS nothing is set: every JVM says on stderr that it read it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Where all of it lies, as the command sees it: with a root of its own, or on a cover of awf-bpf's state.
pub const PLACE: &str = "/run/awf-bpf/tls";
/// Ours alone.
pub const CA: &str = "/run/awf-bpf/tls/ca.pem";
/// Ours, and what the caller's variables of [`Effect::Adds`] had.
pub const EXTRA: &str = "/run/awf-bpf/tls/extra.pem";
/// The machine's, all that the caller's variables had, and ours.
pub const BUNDLE: &str = "/run/awf-bpf/tls/bundle.pem";
/// Ours under the name OpenSSL looks for.
pub const DIRECTORY: &str = "/run/awf-bpf/tls/certs";
/// As [`BUNDLE`], for Java.
pub const STORE: &str = "/run/awf-bpf/tls/cacerts.jks";

/// As [`STORE`], for single JVMs; no variable names them.
pub const OF_JVMS: &str = "/run/awf-bpf/tls/java";

/// What a variable does to a program's own roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They stay.
    Adds,
    /// They are not looked at.
    Replaces,
    /// As `Replaces`; set only where the caller set it, because what it stands for has another variable.
    ReplacesIfSet,
    /// A list of directories with names as OpenSSL looks for them.
    Directories,
}

/// Name, effect, and who reads it.
#[rustfmt::skip]
pub const VARIABLES: &[(&str, Effect, &str)] = &[
    ("NODE_EXTRA_CA_CERTS", Effect::Adds, "node, npm, yarn, pnpm, bun, electron, claude, copilot, opencode"),
    ("DENO_CERT", Effect::Adds, "deno"),
    ("SSL_CERT_FILE", Effect::Replaces, "OpenSSL, Python ssl and httpx, Go, Ruby, .NET, PHP Composer, rustls, uv, codex, pnpm"),
    ("CURL_CA_BUNDLE", Effect::Replaces, "curl, requests, pip"),
    ("REQUESTS_CA_BUNDLE", Effect::Replaces, "requests, pip, az, conda, botocore"),
    ("PIP_CERT", Effect::Replaces, "pip"),
    ("GIT_SSL_CAINFO", Effect::Replaces, "git"),
    ("AWS_CA_BUNDLE", Effect::Replaces, "aws, boto3"),
    ("CARGO_HTTP_CAINFO", Effect::Replaces, "cargo"),
    ("NIX_SSL_CERT_FILE", Effect::Replaces, "programs built by nix"),
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Effect::Replaces, "gcloud"),
    // In the environment it beats every npmrc, one in the project, too.
    ("npm_config_cafile", Effect::Replaces, "npm, pnpm, yarn 1"),
    ("NPM_CONFIG_CAFILE", Effect::ReplacesIfSet, "npm"),
    ("YARN_HTTPS_CA_FILE_PATH", Effect::Replaces, "yarn 2 and later"),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Effect::Replaces, "gRPC's C core"),
    ("HTTPLIB2_CA_CERTS", Effect::Replaces, "httplib2, gsutil"),
    ("BUNDLE_SSL_CA_CERT", Effect::Replaces, "bundler"),
    ("PERL_LWP_SSL_CA_FILE", Effect::Replaces, "perl LWP"),
    ("HTTPS_CA_FILE", Effect::ReplacesIfSet, "perl LWP"),
    ("HEX_CACERTS_PATH", Effect::Replaces, "hex, mix"),
    ("JULIA_SSL_CA_ROOTS_PATH", Effect::Replaces, "julia"),
    ("SYSTEM_CERTIFICATE_PATH", Effect::Replaces, "Haskell"),
    ("CONDA_SSL_VERIFY", Effect::ReplacesIfSet, "conda"),
    ("SSL_CERT_DIR", Effect::Directories, "OpenSSL, Go, uv, bun"),
];

/// What to set. `callers` are the caller's variables, `directories` those that OpenSSL would look into by itself.
#[must_use]
pub fn environment(
    callers: &BTreeMap<OsString, OsString>,
    directories: &[PathBuf],
) -> Vec<(OsString, OsString)> {
    let value = |name: &str, effect| match effect {
        Effect::Adds => Some(EXTRA.into()),
        Effect::Replaces => Some(BUNDLE.into()),
        Effect::ReplacesIfSet => {
            callers.get(OsStr::new(name)).filter(|old| is_path(old)).map(|_| BUNDLE.into())
        }
        Effect::Directories => Some(list(callers.get(OsStr::new(name)), directories)),
    };
    let set = |(name, effect, _): &(&str, _, _)| Some((OsString::from(name), value(name, *effect)?));
    VARIABLES.iter().filter_map(set).collect()
}

/// Ours first, then what was there.
fn list(old: Option<&OsString>, directories: &[PathBuf]) -> OsString {
    let mut value = OsString::from(DIRECTORY);
    let default = directories.iter().map(|dir| dir.as_os_str());
    let old = old.filter(|old| !old.is_empty()).map(|old| vec![old.as_os_str()]);
    for dir in old.unwrap_or_else(|| default.collect()) {
        value.push(":");
        value.push(dir);
    }
    value
}

/// CONDA_SSL_VERIFY may also be `false`.
pub(super) fn is_path(value: &OsStr) -> bool {
    Path::new(value).components().count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(callers: &[(&str, &str)]) -> BTreeMap<String, String> {
        let callers = callers.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let all = environment(&callers, &["/etc/ssl/certs".into()]).into_iter();
        all.map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap())).collect()
    }

    #[test]
    fn every_value_is_a_place_of_ours() {
        let all = set(&[]);
        for (name, value) in &all {
            assert!(value.starts_with(PLACE), "{name}={value}");
        }
        assert_eq!(all["NODE_EXTRA_CA_CERTS"], EXTRA);
        assert_eq!((&*all["SSL_CERT_FILE"], &*all["npm_config_cafile"]), (BUNDLE, BUNDLE));
        assert_eq!(all["SSL_CERT_DIR"], format!("{DIRECTORY}:/etc/ssl/certs"));
        assert!(!all.contains_key("CONDA_SSL_VERIFY") && !all.contains_key("JAVA_TOOL_OPTIONS"));
    }

    #[test]
    fn the_callers_are_replaced_and_directories_kept() {
        let callers = [
            ("SSL_CERT_DIR", "/a:/b"),
            ("SSL_CERT_FILE", "/corp.pem"),
            ("CONDA_SSL_VERIFY", "/corp.pem"),
            ("HTTPS_CA_FILE", "/corp.pem"),
            ("OTHER", "/x"),
        ];
        let all = set(&callers);
        assert_eq!(all["SSL_CERT_DIR"], format!("{DIRECTORY}:/a:/b"));
        for name in ["SSL_CERT_FILE", "CONDA_SSL_VERIFY", "HTTPS_CA_FILE"] {
            assert_eq!(all[name], BUNDLE, "{name}");
        }
        assert!(!all.contains_key("OTHER"));
        assert!(!set(&[("CONDA_SSL_VERIFY", "false")]).contains_key("CONDA_SSL_VERIFY"));
    }

    #[test]
    fn no_name_is_there_twice() {
        let names: std::collections::BTreeSet<_> = VARIABLES.iter().map(|(name, ..)| name).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
