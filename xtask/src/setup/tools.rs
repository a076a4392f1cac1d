//! What `cargo xtask test` needs beside the builder: real clients to test with, linters, cargo-deny.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{apt, linker::bare_cargo};
use crate::cmd;

/// The directories that tests look for programs in: what the machine's packages install, not what a shell adds.
const SYSTEM_DIRS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CARGO_DENY: &str = "0.20.2";

/// How a package is seen to be there.
enum Sign {
    Program(&'static str),
    /// A program that many machines have from elsewhere (nvm, a runner's tool cache): wherever `PATH` has it will do.
    ProgramAnywhere(&'static str),
    File(&'static str),
    /// A module of the system's Python: a user's own `python3` on `PATH` says nothing about that one.
    PythonModule(&'static str),
}

const PACKAGES: &[(&str, Sign)] = &[
    ("bubblewrap", Sign::Program("bwrap")),
    ("ca-certificates", Sign::File("/etc/ssl/certs/ca-certificates.crt")),
    ("cargo", Sign::Program("cargo")),
    ("chromium-headless-shell", Sign::Program("chromium-headless-shell")),
    ("composer", Sign::Program("composer")),
    ("curl", Sign::Program("curl")),
    ("default-jdk-headless", Sign::Program("javac")),
    ("default-mysql-client-core", Sign::Program("mysql")),
    ("dnsutils", Sign::Program("dig")),
    ("g++", Sign::Program("g++")),
    ("gcc", Sign::Program("gcc")),
    ("gdb", Sign::Program("gdb")),
    ("gh", Sign::Program("gh")),
    ("git", Sign::Program("git")),
    ("golang-go", Sign::Program("go")),
    ("iproute2", Sign::Program("ip")),
    ("less", Sign::Program("less")),
    ("lftp", Sign::Program("lftp")),
    ("liblwp-protocol-https-perl", Sign::File("/usr/share/perl5/LWP/Protocol/https.pm")),
    ("libnss3-tools", Sign::Program("certutil")),
    ("lsof", Sign::Program("lsof")),
    ("make", Sign::Program("make")),
    ("nodejs", Sign::ProgramAnywhere("node")),
    ("nghttp2-client", Sign::Program("nghttp")),
    ("npm", Sign::ProgramAnywhere("npm")),
    ("openssh-client", Sign::Program("ssh")),
    ("perl", Sign::Program("perl")),
    ("php-cli", Sign::Program("php")),
    ("postgresql-client", Sign::Program("psql")),
    ("procps", Sign::Program("top")),
    ("python3", Sign::File("/usr/bin/python3")),
    ("python3-grpcio", Sign::PythonModule("grpc")),
    ("python3-httpx", Sign::PythonModule("httpx")),
    ("python3-pip", Sign::PythonModule("pip")),
    ("python3-requests", Sign::PythonModule("requests")),
    ("python3-websockets", Sign::PythonModule("websockets")),
    // The server's program is in it, too, under another name.
    ("redis-tools", Sign::Program("redis-check-rdb")),
    ("ruby", Sign::Program("gem")),
    ("rustc", Sign::Program("rustc")),
    ("strace", Sign::Program("strace")),
    ("sudo", Sign::Program("sudo")),
    ("systemd", Sign::Program("systemd-run")),
    ("tinyproxy-bin", Sign::Program("tinyproxy")),
    ("vim", Sign::Program("vim")),
    ("wget", Sign::Program("wget")),
];

impl Sign {
    fn is_seen(&self) -> bool {
        match self {
            Self::Program(name) => cmd::which_in(name, SYSTEM_DIRS.as_ref()).is_some(),
            Self::ProgramAnywhere(name) => cmd::which(name).is_some(),
            Self::File(path) => Path::new(path).is_file(),
            Self::PythonModule(name) => {
                let found =
                    format!("import importlib.util as u, sys; sys.exit(u.find_spec('{name}') is None)");
                // -I: neither PYTHONPATH nor a user's site-packages.
                cmd::succeeds(Command::new("/usr/bin/python3").args(["-I", "-c", &found]))
            }
        }
    }
}

/// The `PATH` of tests: cargo's own directories, the system's, and last wherever node and npm are.
pub(crate) fn test_path() -> Result<OsString> {
    let mut dirs: Vec<PathBuf> = ["cargo", "rustc"]
        .into_iter()
        .filter_map(cmd::which)
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    dirs.extend(env::split_paths(SYSTEM_DIRS));
    let anywhere = PACKAGES.iter().filter_map(|(_, sign)| match sign {
        Sign::ProgramAnywhere(name) => cmd::which(name),
        _ => None,
    });
    dirs.extend(anywhere.filter_map(|file| file.parent().map(Path::to_owned)));
    let mut seen = Vec::new();
    dirs.retain(|d| {
        !seen.contains(d) && {
            seen.push(d.clone());
            true
        }
    });
    env::join_paths(dirs).context("a directory on PATH has a colon in its name")
}

/// Installs what is missing of the clients, linters and cargo-deny.
pub(crate) fn ensure_test_tools() -> Result<()> {
    let mut missing: Vec<_> =
        PACKAGES.iter().filter(|(_, sign)| !sign.is_seen()).map(|(name, _)| (*name).to_owned()).collect();
    missing.extend(missing_linters()?);
    if !missing.is_empty() {
        if !apt::is_here() {
            bail!("the tests need what Debian calls {}, and there is no apt here", missing.join(", "));
        }
        cmd::say(&format!("the tests need more: apt-get install {}", missing.join(" ")));
        apt::install(&missing)?;
    }
    if !cmd::succeeds(&mut bare_cargo(&["deny", "--version"])) {
        cmd::say(&format!("the tests need more: cargo install cargo-deny --version {CARGO_DENY}"));
        cmd::run(&mut bare_cargo(&["install", "cargo-deny", "--locked", "--version", CARGO_DENY]))?;
    }
    Ok(())
}

/// Installs the compiler that libFuzzer is built with, if there is none.
pub(crate) fn ensure_cxx() -> Result<()> {
    if env::var_os("CXX").is_some() || cmd::which("c++").is_some() {
        return Ok(());
    }
    if !apt::is_here() {
        bail!("libFuzzer is built with a C++ compiler (c++ on PATH), and there is neither one nor apt here");
    }
    cmd::say("libFuzzer is built with a C++ compiler: apt-get install g++");
    apt::install(&["g++".to_owned()])
}

/// Debian's packages of the linters that cargo lacks; rustup's are added at once.
fn missing_linters() -> Result<Vec<String>> {
    let all = [("fmt", "rustfmt", "rustfmt-web"), ("clippy", "clippy", "rust-web-clippy")];
    let missing: Vec<_> =
        all.into_iter().filter(|(verb, ..)| !cmd::succeeds(&mut bare_cargo(&[verb, "--version"]))).collect();
    let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN").filter(|_| cmd::which("rustup").is_some()) else {
        return Ok(missing.into_iter().map(|(.., package)| package.to_owned()).collect());
    };
    if !missing.is_empty() {
        let mut add = Command::new("rustup");
        add.args(["component", "add", "--toolchain"]).arg(toolchain);
        add.args(missing.iter().map(|(_, component, _)| component));
        cmd::say(&format!("the tests need more: {}", cmd::line(&add)));
        cmd::run(&mut add)?;
    }
    Ok(Vec::new())
}
