//! `cargo xtask run`: builds and becomes `awf-bpf exec`; with no arguments, the demonstration.

use anyhow::{Result, bail};

use crate::{build, cmd};

/// `args` is what followed the verb: nothing, or `-- [FLAGS] -- CMD [ARGS…]`.
///
/// # Errors
/// Whatever kept the command from being started; once it is, we are it, and its exit code is ours.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let Some(exec_args) = exec_args(args)? else { return demo() };
    let awf_bpf = build::awf_bpf("run")?;
    let mut exec = cmd::as_root_in_our_env(&awf_bpf)?;
    exec.arg("exec").args(exec_args);
    cmd::forget_cargo_and_rustup(&mut exec);
    Err(cmd::become_command(&mut exec))
}

/// The arguments of `awf-bpf exec`, `None` for the demonstration.
fn exec_args(args: &[String]) -> Result<Option<&[String]>> {
    match args {
        [] => Ok(None),
        [first, rest @ ..] if first == "--" && !rest.is_empty() => Ok(Some(rest)),
        _ => bail!("usage: cargo xtask run -- [FLAGS OF awf-bpf exec] -- CMD [ARGS…]"),
    }
}

/// A private network with an allowed and a denied origin; `curl` against both (`tests/demo`).
fn demo() -> Result<()> {
    let awf_bpf = build::awf_bpf("the demonstration")?;
    let demo = build::release("awf-tests", "demo")?;
    let mut cmd = cmd::as_root_in_our_env(&demo)?;
    cmd::forget_cargo_and_rustup(cmd.env(build::BIN_VAR, awf_bpf));
    Err(cmd::become_command(&mut cmd))
}

#[cfg(test)]
mod tests {
    use super::exec_args;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_follows_the_first_dashes_is_passed_on_whole() {
        let args = words("-- --allow-domains example.com -- curl -- x");
        assert_eq!(exec_args(&args).unwrap().unwrap(), words("--allow-domains example.com -- curl -- x"));
    }

    #[test]
    fn nothing_is_the_demonstration_and_half_a_line_is_refused() {
        assert_eq!(exec_args(&[]).unwrap(), None);
        assert!(exec_args(&words("--")).is_err());
        assert!(exec_args(&words("--allow-domains example.com -- curl")).is_err());
    }
}
