//! What an installation consists of, and what speaks against it. Pure: facts in, pieces or refusals out.

use std::path::{Path, PathBuf};

use super::{
    env_file::{self, Foreign},
    files,
    piece::{Access, Piece, Role, State},
};

/// PATH of a service (systemd.exec(5)).
const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is to be done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The service of the runner; the name in its `.service` if none is given.
    pub unit: Option<String>,
    /// sudo refuses the runner's user everything but the hooks.
    pub disable_sudo: bool,
    /// `.env` becomes root's, in a directory of root's.
    pub protect_env: bool,
    /// A runner that runs as root is taken all the same.
    pub allow_root_runner: bool,
}

/// What was found on this machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Without links.
    pub runner_dir: PathBuf,
    /// Who runs the runner.
    pub user: String,
    pub uid: u32,
    pub gid: u32,
    /// Who owns the directory, were we not there.
    pub dir_owner: u32,
    pub has_listener: bool,
    pub env: State,
    /// What `runsvc.sh` takes PATH from.
    pub path: State,
    pub unit: Option<String>,
    /// Where the unit's file is.
    pub unit_file: Option<PathBuf>,
    /// This program, without links.
    pub binary: PathBuf,
    /// The first of its path that the runner's user can write.
    pub binary_writable: Option<PathBuf>,
    pub sudo: Option<PathBuf>,
    pub visudo: bool,
}

/// Why nothing is installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} has no bin/Runner.Listener: --runner-dir is the directory with config.sh and run.sh")]
    NoListener(PathBuf),
    #[error("{path} belongs to uid {uid}, but its runner to {user}: chown -R {user} {path}")]
    Owner { path: PathBuf, uid: u32, user: String },
    #[error(
        "the runner in {0} runs as root, and nothing holds root: give it a user of its own, or say --allow-root-runner and \
         take the hooks for a report, not for a wall"
    )]
    RootRunner(PathBuf),
    #[error(
        "{what} {path} has characters that the runner or sudo would take apart: use letters, digits and ./_+-"
    )]
    Characters { what: &'static str, path: PathBuf },
    #[error(
        "{user} can write {path}, and so replace {binary}, which sudo is to run as root: install it with install -m 755 -o root, in /usr/local/bin"
    )]
    Writable { user: String, path: PathBuf, binary: PathBuf },
    #[error("{path}: {foreign}")]
    Foreign { path: PathBuf, foreign: Foreign },
    #[error("{0} is a link, has several names, or is no file; make it a file of the runner's user")]
    Odd(PathBuf),
    #[error("{0} belongs to somebody else than the runner's user and root")]
    EnvOwner(PathBuf),
    #[error("{0:?} is not the name of a service: letters, digits and @_.:- that end in .service")]
    UnitName(String),
    #[error("there is no service {0}; systemctl list-units 'actions.runner.*' lists those of runners")]
    NoUnit(String),
    #[error("{0} is not installed, and the hooks need it to become root: install the package sudo")]
    NoSudo(&'static str),
}

/// Everything that speaks against it.
#[must_use]
pub fn refusals(facts: &Facts, options: &Options) -> Vec<Refusal> {
    let mut all = Vec::new();
    let dir = &facts.runner_dir;
    if !facts.has_listener {
        all.push(Refusal::NoListener(dir.clone()));
    }
    if facts.dir_owner != facts.uid {
        all.push(Refusal::Owner { path: dir.clone(), uid: facts.dir_owner, user: facts.user.clone() });
    }
    if facts.uid == 0 && !options.allow_root_runner {
        all.push(Refusal::RootRunner(dir.clone()));
    }
    for (what, path) in [("the runner directory", dir), ("the program", &facts.binary)] {
        if !is_plain(path) {
            all.push(Refusal::Characters { what, path: path.clone() });
        }
    }
    if let Some(path) = facts.binary_writable.as_ref().filter(|_| facts.uid != 0) {
        let (user, binary) = (facts.user.clone(), facts.binary.clone());
        all.push(Refusal::Writable { user, path: path.clone(), binary });
    }
    all.extend(env_refusals(facts));
    if options.protect_env {
        all.extend(path_refusal(facts));
    }
    if let Some(unit) = &facts.unit {
        if !is_unit(unit) {
            all.push(Refusal::UnitName(unit.clone()));
        } else if facts.unit_file.is_none() {
            all.push(Refusal::NoUnit(unit.clone()));
        }
    }
    let tools = [("sudo", facts.sudo.is_some()), ("visudo", facts.visudo)];
    all.extend(tools.iter().filter(|(_, there)| !there).map(|(name, _)| Refusal::NoSudo(name)));
    all
}

fn env_refusals(facts: &Facts) -> Vec<Refusal> {
    let path = facts.runner_dir.join(".env");
    match &facts.env {
        State::Absent => Vec::new(),
        State::File { access, .. } if ![0, facts.uid].contains(&access.uid) => vec![Refusal::EnvOwner(path)],
        State::File { bytes, .. } => {
            let foreign = env_file::with(bytes, hooks()).err().unwrap_or_default();
            foreign.into_iter().map(|foreign| Refusal::Foreign { path: path.clone(), foreign }).collect()
        }
        State::Directory(_) | State::Other => vec![Refusal::Odd(path)],
    }
}

fn path_refusal(facts: &Facts) -> Option<Refusal> {
    let path = facts.runner_dir.join(".path");
    match &facts.path {
        State::File { access, .. } if ![0, facts.uid].contains(&access.uid) => Some(Refusal::EnvOwner(path)),
        State::Absent | State::File { .. } => None,
        State::Directory(_) | State::Other => Some(Refusal::Odd(path)),
    }
}

/// The pieces, in the order in which they are made: until the last one, the runner's `.env`, nothing calls the hooks.
#[must_use]
pub fn pieces(facts: &Facts, options: &Options) -> Vec<Piece> {
    let piece = |role, path: &str, want| Piece { role, path: path.into(), want };
    let directory = |path: &str| piece(Role::Directory, path, State::Directory(Access::root(0o755)));
    let sudo = facts.sudo.clone().unwrap_or_default();
    let mut all = vec![directory(files::ETC), directory("/etc/awf-bpf/hooks")];
    all.extend(files::WRAPPERS.map(|(path, word)| {
        let text = files::wrapper(&sudo, &facts.binary, word);
        piece(Role::Wrapper, path, State::file(Access::root(0o755), text))
    }));
    all.push(piece(Role::Policy, files::POLICY, State::file(Access::root(0o644), files::starter())));
    let rule = files::sudoers(&facts.user, facts.uid, &facts.binary, options.disable_sudo);
    all.push(piece(
        Role::Sudoers,
        &sudoers_path(facts.uid, options.disable_sudo),
        State::file(Access::root(0o440), rule),
    ));
    if let Some(unit) = &facts.unit {
        let dir = format!("/etc/systemd/system/{unit}.d");
        all.push(directory(&dir));
        let file = State::file(Access::root(0o644), files::drop_in());
        all.push(piece(Role::DropIn, &format!("{dir}/awf-bpf.conf"), file));
    }
    all.extend(of_the_runner(facts, options));
    all
}

fn of_the_runner(facts: &Facts, options: &Options) -> Vec<Piece> {
    let own = Access { mode: 0o644, uid: facts.uid, gid: facts.gid };
    let (access, old) = match &facts.env {
        State::File { access, bytes } => (*access, bytes.as_slice()),
        _ => (own, &[][..]),
    };
    let bytes = env_file::with(old, hooks()).unwrap_or_default();
    let path = facts.runner_dir.clone();
    let env =
        |access| Piece { role: Role::Env, path: path.join(".env"), want: State::file(access, bytes.clone()) };
    if !options.protect_env {
        return vec![env(access)];
    }
    // The user may still add files and change his own; those of root he can neither change, rename nor remove.
    let sticky = State::Directory(Access { mode: 0o1775, uid: 0, gid: facts.gid });
    let closed = Access { mode: (access.mode & 0o044) | 0o640, uid: 0, gid: facts.gid };
    // The shell that runs the hooks is looked for in it: a service without one has systemd's.
    let searched = match &facts.path {
        State::File { bytes, .. } => bytes.clone(),
        _ => format!("{SERVICE_PATH}\n").into(),
    };
    let searched = State::file(Access { mode: 0o644, uid: 0, gid: facts.gid }, searched);
    vec![
        Piece { role: Role::RunnerDirectory, path: path.clone(), want: sticky },
        Piece { role: Role::Path, path: path.join(".path"), want: searched },
        env(closed),
    ]
}

/// Rules are read in the order of their files' names, and the last one that matches decides.
#[must_use]
pub fn sudoers_path(uid: u32, disable_sudo: bool) -> String {
    format!("/etc/sudoers.d/{}awf-bpf-{uid}", if disable_sudo { "zzzz-" } else { "" })
}

/// The wrappers, for `.env`.
#[must_use]
pub fn hooks() -> [&'static str; 2] {
    files::WRAPPERS.map(|(path, _)| path)
}

/// Neither bash nor sudoers nor the runner gives a meaning to any of these.
fn is_plain(path: &Path) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"/._+-".contains(&c);
    path.as_os_str().as_encoded_bytes().iter().all(|c| fits(*c))
}

/// The names of systemd.unit(5), without those that would leave the directory.
fn is_unit(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"@_.:-".contains(&c);
    name.ends_with(".service") && !name.starts_with(['.', '-']) && name.len() < 256 && name.bytes().all(fits)
}

#[cfg(test)]
mod tests;
