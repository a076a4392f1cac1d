//! What programs outside run by themselves, later: whoever can write there has left the jail by the next login.
//! Read-only inside; `--mount` of the same path brings it back. Programs in HOME (`~/.local/bin`, `~/.cargo/bin`) and
//! settings that name programs (`~/.cargo/config.toml`) stay writable: package managers work there.

use std::path::{Path, PathBuf};

/// Below HOME.
#[rustfmt::skip]
const IN_HOME: &[&str] = &[
    // Shells, and what distributions' and tool managers' lines in them read.
    ".profile", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".bash_completion",
    ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".oh-my-zsh/oh-my-zsh.sh", ".kshrc", ".mkshrc", ".cshrc",
    ".tcshrc", ".login", ".logout", ".inputrc", ".cargo/env", ".nvm/nvm.sh", ".sdkman/bin/sdkman-init.sh", ".fzf.bash",
    ".fzf.zsh", ".envrc", ".direnvrc",
    // Sessions.
    ".pam_environment", ".environment", ".xprofile", ".xinitrc", ".xsession", ".xsessionrc", ".xserverrc", ".forward",
    ".procmailrc", ".local/share/systemd", ".local/share/applications", ".local/share/dbus-1", ".local/share/kservices5",
    // Programs that run what their settings say.
    ".gitconfig", ".hgrc", ".vimrc", ".gvimrc", ".vim", ".exrc", ".nexrc", ".emacs", ".emacs.el", ".emacs.d/init.el",
    ".emacs.d/early-init.el", ".tmux.conf", ".screenrc", ".gdbinit", ".lldbinit", ".mailcap", ".lesskey", ".lessfilter",
];

/// Below HOME's `.config`, or wherever `XDG_CONFIG_HOME` says.
#[rustfmt::skip]
const IN_CONFIG: &[&str] = &[
    "systemd", "environment.d", "autostart", "autostart-scripts", "plasma-workspace", "upstart", "fish", "nushell", "git",
    "hg", "nvim", "vim", "emacs", "tmux", "gdb", "direnv", "mise", "starship.toml", "i3", "sway", "hypr", "kitty",
    "alacritty", "wezterm", "ghostty", "Code/User/settings.json", "Code/User/tasks.json",
];

/// Below HOME, in places of credentials. Where such a place is, all of it is covered; where there is none it can be made.
#[rustfmt::skip]
const IN_SECRETS: &[&str] = &[
    // Who may log in, and what ssh and sshd run.
    ".ssh/authorized_keys", ".ssh/authorized_keys2", ".ssh/config", ".ssh/environment", ".ssh/rc",
    // They name programs that give out credentials, ask for passwords, or are plugins.
    ".aws/config", ".docker/cli-plugins", ".docker/config.json", ".gnupg/gpg-agent.conf", ".kube/config",
];

/// All that is to be looked at afterwards, existing or not.
pub fn watched_files(home: &Path, config_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let more = IN_SECRETS.iter().map(|name| home.join(name));
    startup_files(home, config_dirs).into_iter().chain(more).collect()
}

/// Every such place that is kept as it is, existing or not.
pub(super) fn startup_files(home: &Path, config_dirs: &[PathBuf]) -> Vec<PathBuf> {
    let own = home.join(".config");
    let configs = config_dirs.iter().chain([&own]);
    let in_configs = configs.flat_map(|dir| IN_CONFIG.iter().map(move |name| dir.join(name)));
    IN_HOME.iter().map(|name| home.join(name)).chain(in_configs).collect()
}
