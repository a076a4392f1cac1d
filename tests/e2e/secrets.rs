//! Credentials in every known place, looked for from inside in every way there is.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use harness::{Lab, Run, tools, workdir::UID};

const CANARY: &str = "canary-5f0e2c";
/// In the environment of awf-bpf only.
const TOKEN: &str = "token-canary";

/// Files below HOME; the first that is a directory of credentials, or the file itself, is hidden.
const PLACES: [&str; 48] = [
    ".ssh/id_ed25519",
    ".ssh/keys/deep/id_rsa",
    ".gnupg/private-keys-v1.d/key",
    ".password-store/mail.gpg",
    ".local/share/keyrings/login.keyring",
    ".vault-token",
    ".aws/credentials",
    ".aws/sso/cache/token.json",
    ".azure/msal_token_cache.json",
    ".kube/config",
    ".kube/cache/token",
    ".docker/config.json",
    ".oci/oci_api_key.pem",
    ".fly/config.yml",
    ".terraform.d/credentials.tfrc.json",
    ".pulumi/credentials.json",
    ".s3cfg",
    ".boto",
    ".netrc",
    ".git-credentials",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".gem/credentials",
    ".bundle/config",
    ".cargo/credentials.toml",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".composer/auth.json",
    ".nuget/NuGet/NuGet.Config",
    ".cache/huggingface/token",
    ".pgpass",
    ".my.cnf",
    ".mozilla/firefox/p/logins.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".bash_history",
    ".config/gcloud/credentials.db",
    ".config/gh/hosts.yml",
    ".config/hub",
    ".config/op/config",
    ".config/heroku/token",
    ".config/doctl/config.yaml",
    ".config/rclone/rclone.conf",
    ".config/github-copilot/hosts.json",
    ".config/git/credentials",
    ".config/pip/pip.conf",
    ".config/chromium/Default/Login Data",
];

/// Prints a line for each canary found, by reading and searching, by links to it, by moving what covers it away, and
/// through other processes. `$1`: the places, one a line; `$2`: `all`, or only what is quick on a whole machine.
const SEARCH: &str = r#"
seen() { grep -qs "$CANARY" "$1" && echo "found $2 $1"; }
cd ~
while IFS= read -r place; do
    seen "$place" read
    seen "/proc/self/root$HOME/$place" root
    seen "/proc/self/cwd/$place" cwd
    for pid in 1 2 $PPID $$; do seen "/proc/$pid/root$HOME/$place" proc; seen "/proc/$pid/cwd/$place" proc; done
    ln "$place" "$SCRATCH/hard" 2>/dev/null && seen "$SCRATCH/hard" hard; rm -f "$SCRATCH/hard"
    ln -sf "$HOME/$place" "$SCRATCH/soft" 2>/dev/null && seen "$SCRATCH/soft" soft
done < "$1"
grep -qas "$(printf 'tok%s' en-canary)" /proc/*/environ && echo "found token"
[ "$2" = all ] || exit 0
grep -rs "$CANARY" "$HOME" /etc /tmp /run /var /opt /dev /proc/*/environ /proc/*/cmdline /var/log/awf-bpf /run/awf-bpf \
    2>/dev/null | grep -v 'found ' | sed 's/^/found grep /'
find / -xdev -newer "$1" -type f -size -64k 2>/dev/null -exec grep -ls "$CANARY" {} + | sed 's/^/found find /'
while IFS= read -r place; do
    top=${place%%/*}; first=${place%/*}
    for path in "$top" "$first" "$place"; do
        mv "$path" "$SCRATCH/away" 2>/dev/null && { grep -rqs "$CANARY" "$SCRATCH/away" && echo "found moved $place"
            mv "$SCRATCH/away" "$path"; }
        mv "$path" "$path.away" 2>/dev/null && { grep -rqs "$CANARY" "$path.away" && echo "found renamed $place"
            mv "$path.away" "$path"; }
    done
    mkdir -p "$SCRATCH/over"; mount --bind "$HOME" "$SCRATCH/over" 2>/dev/null && echo "found mount"
    umount "$first" 2>/dev/null && echo "found umount $first"
    umount "$place" 2>/dev/null && echo "found umount $place"
done < "$1"
true
"#;

fn plant(lab: &Lab) {
    for place in PLACES {
        write(&lab.dir().home().join(place));
    }
    write(&lab.dir().home().join("elsewhere/kubeconfig"));
    write(&lab.dir().home().join("dotfiles/sops/keys.txt"));
    symlink("../dotfiles/sops", lab.dir().home().join(".config/sops")).expect("make a link");
    own(lab);
}

fn write(path: &Path) {
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("make its directory");
    fs::write(path, format!("{CANARY}\n")).expect("plant a canary");
}

fn own(lab: &Lab) {
    let user = format!("{UID}:{UID}");
    tools::succeed(Command::new(tools::require("chown")).args(["-hR", &user]).arg(lab.dir().home()));
}

fn search(lab: &Lab, run: Run<'_>, how: &str) -> Vec<String> {
    let others = ["elsewhere/kubeconfig", ".config/sops/keys.txt", "dotfiles/sops/keys.txt"];
    let list = PLACES.iter().chain(&others).fold(String::new(), |list, place| list + place + "\n");
    let list = lab.dir().file("places", list);
    let scratch = lab.dir().work();
    let run = run.env("CANARY", CANARY).env("SCRATCH", scratch.as_os_str());
    let list = list.to_str().expect("the lab's paths are UTF-8");
    let out = run.run(&["bash", "-c", SEARCH, "bash", list, how]);
    out.ok().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn no_credential_is_found_inside_and_every_one_outside() {
    let lab = Lab::new();
    plant(&lab);
    let kubeconfig = lab.dir().home().join("elsewhere/kubeconfig");
    let run = lab.awf().outer_env("KUBECONFIG", kubeconfig).outer_env("GITHUB_TOKEN", TOKEN);
    let found = search(&lab, run, "all");
    // The canary's word itself is the script's own: in its environment and command line.
    let leaks: Vec<_> =
        found.iter().filter(|line| !line.contains("/environ") && !line.contains("/cmdline")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let outside = search(&lab, lab.bare().env("PASSED", TOKEN), "quick");
    for place in PLACES {
        let read = outside.iter().any(|line| line.starts_with("found read") && line.contains(place));
        assert!(read, "{place} is found without awf-bpf, or the search proves nothing");
    }
    assert!(outside.iter().any(|line| line == "found token"), "{outside:#?}");
}

#[test]
fn a_mount_brings_one_back() {
    let lab = Lab::new();
    plant(&lab);
    let back = lab.dir().home().join(".aws").display().to_string();
    let run = lab.awf().args(["--mount", &format!("{back}:{back}:ro")]);
    let out = run.sh(
        "cat ~/.aws/credentials; touch ~/.aws/x 2>/dev/null || echo refused; ls -A ~/.ssh ~/.kube | wc -w",
    );
    out.ok().stdout_is(&format!("{CANARY}\nrefused\n2\n"));
}

#[test]
fn what_covers_credentials_cannot_be_written_to() {
    let lab = Lab::new();
    plant(&lab);
    let out = lab.awf().sh("for p in ~/.ssh/authorized_keys ~/.netrc ~/.config/gh/x; do (echo x > $p) 2>/dev/null && echo $p; done; true");
    out.ok().stdout_is("");
    assert!(!lab.dir().home().join(".ssh/authorized_keys").exists());
}
