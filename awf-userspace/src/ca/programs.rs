//! What programs read to know whom they trust: one table, for what is said when one does not trust the run's CA, and for
//! `doctor`. Pure. The variables are those of [`super::VARIABLES`].

use crate::audit::ProcessInfo;

/// One program.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// What users call it.
    pub name: &'static str,
    /// Of its executable, or of the script that an interpreter runs; without a version at the end.
    files: &'static [&'static str],
    /// What it reads, the first first.
    pub variables: &'static [&'static str],
    /// Whether it reads the machine's files (for Java: its key store), too.
    pub machine: bool,
    /// Options that name others, or pin.
    pub options: &'static [&'static str],
    /// It runs other people's programs, which may each trust somebody else.
    pub interprets: bool,
}

const fn program(
    name: &'static str,
    files: &'static [&'static str],
    variables: &'static [&'static str],
    machine: bool,
    options: &'static [&'static str],
) -> Program {
    Program { name, files, variables, machine, options, interprets: false }
}

const fn interpreter(
    name: &'static str,
    files: &'static [&'static str],
    variables: &'static [&'static str],
    machine: bool,
    options: &'static [&'static str],
) -> Program {
    Program { interprets: true, ..program(name, files, variables, machine, options) }
}

/// Every program that is known.
#[rustfmt::skip]
pub const PROGRAMS: &[Program] = &[
    program("curl", &["curl"], &["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &["--cacert", "--capath", "--pinnedpubkey"]),
    program("wget", &["wget"], &[], true, &["--ca-certificate", "--ca-directory", "--pinnedpubkey"]),
    program("git", &["git", "git-remote-http", "git-remote-https"], &["GIT_SSL_CAINFO"], true, &[]),
    program("openssl", &["openssl"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &["-CAfile", "-CApath"]),
    program("pip", &["pip"], &["PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], false, &["--cert"]),
    program("aws", &["aws", "aws_completer"], &["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"], false, &["--ca-bundle"]),
    program("az", &["az"], &["REQUESTS_CA_BUNDLE"], false, &[]),
    program("gcloud", &["gcloud"], &["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "REQUESTS_CA_BUNDLE"], false, &[]),
    program("gsutil", &["gsutil"], &["HTTPLIB2_CA_CERTS"], false, &[]),
    program("conda", &["conda", "mamba"], &["CONDA_SSL_VERIFY", "REQUESTS_CA_BUNDLE"], false, &[]),
    interpreter("python", &["python"], &["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], true, &[]),
    program("uv", &["uv", "uvx"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], false, &[]),
    program("npm", &["npm", "npm-cli", "npx", "npx-cli"], &["npm_config_cafile", "NODE_EXTRA_CA_CERTS"], false, &["--cafile", "--ca"]),
    // Once a script for node (9), which reads the first; now a program of its own (12), which reads the others.
    program("pnpm", &["pnpm", "pnpx", "pn", "pnx"], &["npm_config_cafile", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"], false, &["--cafile", "--ca"]),
    program("yarn", &["yarn", "yarnpkg"], &["YARN_HTTPS_CA_FILE_PATH", "npm_config_cafile", "NODE_EXTRA_CA_CERTS"], false, &["--cafile"]),
    interpreter("node", &["node", "nodejs", "electron"], &["NODE_EXTRA_CA_CERTS"], false, &["--use-openssl-ca"]),
    // The machine's files, too, but only of late.
    interpreter("bun", &["bun"], &["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"], false, &[]),
    interpreter("deno", &["deno"], &["DENO_CERT"], false, &["--cert"]),
    interpreter("java", &["java", "javaw"], &[], true, &["-Djavax.net.ssl.trustStore"]),
    program("go", &["go"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("gh", &["gh"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("cargo", &["cargo"], &["CARGO_HTTP_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("bundler", &["bundle", "bundler"], &["BUNDLE_SSL_CA_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    interpreter("ruby", &["ruby"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("composer", &["composer", "composer.phar"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    interpreter("php", &["php"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    interpreter("perl", &["perl"], &["PERL_LWP_SSL_CA_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    interpreter("dotnet", &["dotnet"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    interpreter("julia", &["julia"], &["JULIA_SSL_CA_ROOTS_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("mix", &["mix"], &["HEX_CACERTS_PATH"], true, &[]),
    program("claude", &["claude"], &["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("codex", &["codex"], &["SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("copilot", &["copilot"], &["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("opencode", &["opencode"], &["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"], true, &[]),
    program("chromium", &["chromium", "chromium-browser", "chrome", "google-chrome", "google-chrome-stable", "headless_shell", "chrome-headless-shell", "chromium-headless-shell", "msedge", "brave"], &[], false, &[]),
    program("firefox", &["firefox", "firefox-bin", "firefox-esr"], &[], false, &[]),
];

/// The program that a process is: the script that it runs, or what runs it.
#[must_use]
pub fn program_of(process: &ProcessInfo) -> Option<&'static Program> {
    let exe = process.exe.as_deref().unwrap_or(&process.comm);
    let of = |word: &str| PROGRAMS.iter().find(|program| program.files.contains(&stem(word)));
    let own = of(exe);
    if own.is_some_and(|program| !program.interprets) {
        return own;
    }
    // npm writes its own name and arguments over those it was started with.
    let mut words = process.argv.iter().flatten();
    let title = words.next().and_then(|word| word.split(' ').next()).unwrap_or_default();
    let script = match words.next().map(String::as_str) {
        Some("-m") => words.next().map(String::as_str),
        Some(word) if !word.starts_with('-') => Some(word),
        _ => None,
    };
    script.and_then(of).or_else(|| of(title)).filter(|_| own.is_some()).or(own)
}

/// `python` of `/usr/bin/python3.11`, `npm-cli` of `.../npm-cli.js`.
fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    let file = file.strip_suffix(" (deleted)").unwrap_or(file);
    let file = [".js", ".cjs", ".mjs", ".py", ".rb", ".exe"]
        .iter()
        .find_map(|end| file.strip_suffix(end))
        .unwrap_or(file);
    let bare = file.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if bare.is_empty() { file } else { bare }
}

/// Its option among `argv` that names others than its variables do.
#[must_use]
pub fn option_of(program: &Program, argv: &[String]) -> Option<&'static str> {
    let is = |word: &str, option: &str| {
        word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let words = || argv.iter().flat_map(|word| word.split(' '));
    program.options.iter().find(|option| words().any(|word| is(word, option))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::VARIABLES;

    fn process(exe: &str, argv: &[&str]) -> ProcessInfo {
        let argv = Some(argv.iter().map(|word| (*word).to_owned()).collect());
        ProcessInfo { exe: Some(exe.into()), argv, ..ProcessInfo::default() }
    }

    #[test]
    fn every_variable_is_one_that_is_set() {
        for program in PROGRAMS {
            for name in program.variables {
                assert!(VARIABLES.iter().any(|(known, ..)| known == name), "{} {name}", program.name);
            }
        }
    }

    /// Two programs by one name could not be told apart.
    #[test]
    fn no_file_is_two_programs() {
        let mut files: Vec<_> = PROGRAMS.iter().flat_map(|program| program.files).collect();
        let all = files.len();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), all);
    }

    #[test]
    fn a_process_is_what_it_runs() {
        for (exe, argv, name) in [
            ("/usr/bin/curl", &["curl", "-sS"][..], "curl"),
            ("/usr/bin/curl", &["curl", "node"], "curl"),
            ("/usr/lib/git-core/git-remote-http", &[], "git"),
            ("/usr/bin/python3.11", &["python3", "-c", "pip"], "python"),
            ("/usr/bin/python3.11", &["python3", "-m", "pip", "install"], "pip"),
            ("/usr/bin/python3.11", &["/usr/bin/python3", "/usr/local/bin/pip3.11"], "pip"),
            ("/usr/bin/node", &["npm ping", ""], "npm"),
            ("/usr/bin/node", &["node", "/usr/lib/node_modules/npm/bin/npm-cli.js"], "npm"),
            ("/usr/bin/node", &["node", "agent.js"], "node"),
            ("/usr/bin/php8.2 (deleted)", &[], "php"),
            // As npm installs them, on every system.
            ("/opt/node_modules/bun/bin/bun.exe", &["bun", "agent.ts"], "bun"),
            ("/opt/node_modules/@anthropic-ai/claude-code/bin/claude.exe", &["claude", "-p", "hi"], "claude"),
        ] {
            assert_eq!(program_of(&process(exe, argv)).unwrap().name, name, "{exe} {argv:?}");
        }
        // A name that a program gave itself makes it no other one.
        assert_eq!(program_of(&process("/home/u/agent", &["curl", "npm"])), None);
    }

    #[test]
    fn an_option_is_a_whole_word() {
        let curl = program_of(&process("/usr/bin/curl", &[])).unwrap();
        let of = |words: &[&str]| option_of(curl, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["curl", "--cacert", "x"]), Some("--cacert"));
        assert_eq!(of(&["curl", "--cacert=x"]), Some("--cacert"));
        assert_eq!(of(&["curl", "--cacerts", "https://x.test/--cacert"]), None);
    }
}
