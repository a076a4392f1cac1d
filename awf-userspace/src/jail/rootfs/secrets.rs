//! Where credentials are kept: whole directories where there are any, because a list of files is never complete.
//! `--mount` brings one back.

use std::path::{Path, PathBuf};

use super::wanted::{Home, Wanted};

/// Below HOME.
#[rustfmt::skip]
const IN_HOME: &[&str] = &[
    // Keys, agents, password stores.
    ".ssh", ".gnupg", ".password-store", ".local/share/keyrings", ".local/share/kwalletd", ".vault-token",
    ".step", ".sigstore", ".minisign", ".age", ".putty",
    // Clouds and clusters.
    ".aws", ".azure", ".kube", ".minikube", ".docker", ".oci", ".aliyun", ".bluemix", ".fly", ".terraform.d",
    ".terraformrc", ".pulumi", ".s3cfg", ".boto", ".gsutil", ".databrickscfg", ".snowflake", ".snowsql", ".dbt",
    ".wrangler", ".netlify", ".railway", ".heroku", ".chef", ".vagrant.d/data",
    // Forges, package registries, mail.
    ".netrc", "_netrc", ".git-credentials", ".npmrc", ".yarnrc.yml", ".pypirc", ".pip/pip.conf",
    ".gem/credentials", ".local/share/gem/credentials", ".bundle/config", ".cargo/credentials", ".cargo/credentials.toml",
    ".m2/settings.xml", ".m2/settings-security.xml", ".gradle/gradle.properties", ".composer/auth.json", ".nuget/NuGet",
    ".sentryclirc", ".circleci", ".travis", ".jira.d", ".hex/hex.config", ".kaggle", ".huggingface",
    ".cache/huggingface/token", ".cache/huggingface/stored_tokens", ".msmtprc", ".fetchmailrc", ".mutt",
    // Data bases.
    ".pgpass", ".my.cnf", ".mylogin.cnf", ".mongorc.js", ".rediscli_auth",
    // Browsers and desktops.
    ".mozilla", ".thunderbird", ".Xauthority", ".ICEauthority",
    // Agents' own.
    ".claude/.credentials.json", ".codex/auth.json", ".gemini/oauth_creds.json", ".gemini/google_accounts.json",
    ".gemini/access_tokens.json", ".local/share/opencode/auth.json", ".anthropic",
    // What was typed.
    ".bash_history", ".zsh_history", ".histfile", ".psql_history", ".mysql_history", ".rediscli_history",
    ".local/share/fish/fish_history",
    // Vercel's own place.
    ".local/share/com.vercel.cli",
];

/// Below HOME's `.config`, or wherever `XDG_CONFIG_HOME` says.
#[rustfmt::skip]
const IN_CONFIG: &[&str] = &[
    "gcloud", "gh", "hub", "glab-cli", "tea", "op", "1Password", "Bitwarden", "Bitwarden CLI", "keepassxc", "sops", "age",
    "heroku", "doctl", "hcloud", "linode-cli", "flyctl", "netlify", "vercel", "railway", ".wrangler", "configstore",
    "rclone", "containers/auth.json", "pulumi", "helm", "argocd", "scw", "exoscale", "stripe", "ngrok", "cloudflared",
    "github-copilot", "git/credentials", "pip/pip.conf", "pypoetry/auth.toml", "uv/credentials", "composer/auth.json",
    "NuGet", "huggingface", "wandb", "google-chrome", "chromium", "BraveSoftware", "microsoft-edge", "vivaldi", "opera",
    "msmtp", "neomutt", "snowflake", "circleci", "sentry", "kwalletd",
];

/// On the machine, where a careless mode would let CMD's user read them.
#[rustfmt::skip]
const ON_THE_MACHINE: &[&str] = &[
    "/etc/kubernetes", "/etc/rancher", "/etc/docker", "/etc/containers/auth.json", "/etc/ssl/private", "/etc/wireguard",
    "/etc/openvpn", "/etc/letsencrypt", "/etc/krb5.keytab", "/etc/boto.cfg", "/etc/gitlab-runner", "/etc/cni",
    "/etc/NetworkManager/system-connections", "/etc/sudoers.d", "/etc/consul.d", "/etc/vault.d", "/etc/nomad.d",
];

/// Every place to hide, existing or not.
pub(super) fn of(wanted: &Wanted) -> Vec<PathBuf> {
    let below = |base: &Path, names: &[&str]| names.iter().map(|name| base.join(name)).collect::<Vec<_>>();
    let mut all = below(Path::new("/"), ON_THE_MACHINE);
    if let Home::Host(home) = &wanted.home {
        all.extend(below(home, IN_HOME));
        all.extend(below(&home.join(".config"), IN_CONFIG));
    }
    wanted.config_dirs.iter().for_each(|dir| all.extend(below(dir, IN_CONFIG)));
    all.extend(wanted.secrets.iter().cloned());
    all
}
