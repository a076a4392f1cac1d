//! A step of a GitHub Actions job on a runner of one's own: the runner's user, its directories and variables, and real
//! sudo, which passes on next to none of them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use harness::{Lab, Output, Run, machine, tools, workdir::UID};

/// sudo as Debian sets it up, for a user who needs no password.
const SUDOERS: &str = "Defaults env_reset, use_pty\n\
    Defaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\n\
    root ALL=(ALL:ALL) ALL\nrunner ALL=(ALL:ALL) NOPASSWD: ALL\n";
const PAM: &str =
    "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n";

/// A runner in its user's HOME, in the middle of a job.
struct Job {
    lab: Lab,
    runner: PathBuf,
    vars: Vec<(&'static str, String)>,
}

impl Job {
    fn new() -> Self {
        let lab = Lab::new();
        for (path, content) in [("/etc/sudoers", SUDOERS), ("/etc/pam.d/sudo", PAM)] {
            let name = path.trim_start_matches('/').replace('/', "-");
            let file = lab.dir().root().join("etc").join(name);
            fs::write(&file, content).expect("write sudo's settings");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("close them");
            machine::cover(lab.machine(), Path::new(path), &file);
        }
        let runner = lab.dir().home().join("actions-runner");
        let mut job = Self { lab, runner, vars: Vec::new() };
        job.lay_out();
        job
    }

    fn lay_out(&mut self) {
        for dir in [
            "_work/p/p",
            "_work/_tool/go/1.0/x64/bin",
            "_work/_actions/a/b/v1",
            "_work/_temp/_github_workflow",
        ] {
            self.dir(dir);
        }
        self.dir("externals/node20/bin");
        self.dir("bin");
        for name in ["env", "path", "state", "output", "summary"] {
            self.file(&format!("_work/_temp/_runner_file_commands/{name}_1"), "");
        }
        for name in
            [".credentials", ".credentials_rsaparams", ".env", ".runner", "run.sh", "bin/Runner.Listener"]
        {
            self.file(name, "runner's own\n");
        }
        self.file("_work/_actions/a/b/v1/index.js", "action\n");
        self.file("_work/_temp/0a1b.sh", "step\n");
        let (work, temp) = (self.runner.join("_work"), self.runner.join("_work/_temp"));
        let command = |name: &str| temp.join("_runner_file_commands").join(name).display().to_string();
        self.vars = vec![
            ("CI", "true".into()),
            ("GITHUB_WORKSPACE", work.join("p/p").display().to_string()),
            ("RUNNER_TEMP", temp.display().to_string()),
            ("RUNNER_TOOL_CACHE", work.join("_tool").display().to_string()),
            ("GITHUB_ENV", command("env_1")),
            ("GITHUB_PATH", command("path_1")),
            ("GITHUB_STATE", command("state_1")),
            ("GITHUB_OUTPUT", command("output_1")),
            ("GITHUB_STEP_SUMMARY", command("summary_1")),
        ];
    }

    /// A directory of the runner's user's.
    fn dir(&self, name: &str) {
        let home = self.lab.dir().home();
        let dir = self.runner.join(name);
        fs::create_dir_all(&dir).expect("make a directory");
        for dir in dir.ancestors().take_while(|dir| *dir != home) {
            chown(dir, Some(UID), Some(UID)).expect("give it to the user");
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.runner.join(name);
        self.dir(Path::new(name).parent().and_then(Path::to_str).expect("it has one"));
        fs::write(&path, content).expect("write a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("let it run");
        chown(&path, Some(UID), Some(UID)).expect("give it to the user");
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.runner.join(name)).unwrap_or_default()
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.vars.push((name, value.into()));
    }

    /// A step: `sudo awf-bpf FLAGS -- bash -ec SCRIPT` as the runner's user, in its workspace.
    fn step(&self, flags: &[&str], script: &str) -> Output {
        let awf = self.lab.awf().args(flags.iter().copied()).command(&["bash", "-ec", script]);
        let words = [tools::require("sudo").into_os_string(), awf.get_program().to_owned()].into_iter();
        let words: Vec<_> = words.chain(awf.get_args().map(ToOwned::to_owned)).collect();
        let words: Vec<_> = words.iter().map(|word| word.to_str().expect("UTF-8")).collect();
        let run = self.vars.iter().fold(self.lab.bare(), |run: Run<'_>, (name, value)| run.env(name, value));
        run.cwd(self.runner.join("_work/p/p")).run(&words)
    }
}

#[test]
fn real_sudo_changes_neither_user_nor_directories() {
    let job = Job::new();
    let script = "id -un; id -u; id -G; echo $HOME $USER $LOGNAME $SHELL; pwd; echo $GITHUB_WORKSPACE; echo $CI
echo \"${SUDO_USER-none} ${SUDO_UID-none} ${GITHUB_ENV-none}\"; touch made; cat /proc/self/loginuid >/dev/null || true";
    let out = job.step(&[], script);
    let home = job.lab.dir().home().display().to_string();
    let workspace = job.runner.join("_work/p/p").display().to_string();
    let user = machine::USER;
    out.ok().stdout_is(&format!(
        "{user}\n{UID}\n{UID}\n{home} {user} {user} /bin/bash\n{workspace}\n{workspace}\ntrue\nnone none none\n"
    ));
    assert!(job.runner.join("_work/p/p/made").exists());
}

#[test]
fn a_step_finds_what_the_steps_before_it_set_up() {
    let mut job = Job::new();
    let home = job.lab.dir().home();
    for (name, says) in [
        ("_work/_tool/go/1.0/x64/bin/cached", "cached"),
        ("../.nvm/versions/node/v1/bin/shim", "nvm"),
        ("../.pyenv/shims/shim2", "pyenv"),
        ("../.rbenv/shims/shim3", "rbenv"),
        ("../.cargo/bin/shim4", "cargo"),
        ("../.dotnet/shim5", "dotnet"),
        ("../.bun/bin/shim6", "bun"),
        ("../go root/bin/shim7", "go"),
        ("../jdk/bin/shim8", "java"),
    ] {
        job.file(name, &format!("#!/bin/sh\necho {says}\n"));
    }
    let at = |name: &str| home.join(name).display().to_string();
    let path = format!(
        "{}:{}:{}:{}",
        at(".nvm/versions/node/v1/bin"),
        at(".pyenv/shims"),
        at(".rbenv/shims"),
        tools::PATH
    );
    job.set("PATH", path);
    job.set("CARGO_HOME", at(".cargo"));
    job.set("DOTNET_ROOT", at(".dotnet"));
    job.set("BUN_INSTALL", at(".bun"));
    let cached = job.runner.join("_work/_tool/go/1.0/x64/bin").display().to_string();
    fs::write(job.runner.join("_work/_temp/_runner_file_commands/path_1"), format!("{cached}\n"))
        .expect("add to PATH");
    let set = format!("GOROOT<<ghadelimiter_x\n{}\nghadelimiter_x\nJAVA_HOME={}\n", at("go root"), at("jdk"));
    fs::write(job.runner.join("_work/_temp/_runner_file_commands/env_1"), set).expect("set variables");
    let out = job.step(&[], "cached; shim; for n in 2 3 4 5 6 7 8; do shim$n; done; echo $GOROOT $JAVA_HOME");
    let want = "cached\nnvm\npyenv\nrbenv\ncargo\ndotnet\nbun\ngo\njava\n";
    out.ok().stdout_is(&format!("{want}{} {}\n", at("go root"), at("jdk")));
    let out = job.step(&[], "echo x > $RUNNER_TOOL_CACHE/go/1.0/x64/bin/cached");
    out.fails().stderr_contains("Read-only file system");
}

/// As on GitHub's own machines.
#[test]
fn a_tool_cache_under_opt_is_shown_and_read_only() {
    let mut job = Job::new();
    let opt = job.lab.dir().root().join("opt");
    let bin = opt.join("hostedtoolcache/tool/1.0/x64/bin");
    fs::create_dir_all(&bin).expect("make a tool cache");
    fs::write(bin.join("tool"), "#!/bin/sh\necho cached\n").expect("write a tool");
    fs::set_permissions(bin.join("tool"), fs::Permissions::from_mode(0o755)).expect("let it run");
    chown(bin.join("tool"), Some(UID), Some(UID)).expect("give it to the user");
    machine::cover(job.lab.machine(), Path::new("/opt"), &opt);
    for name in ["RUNNER_TOOL_CACHE", "AGENT_TOOLSDIRECTORY"] {
        job.set(name, "/opt/hostedtoolcache");
    }
    job.set("PATH", format!("/opt/hostedtoolcache/tool/1.0/x64/bin:{}", tools::PATH));
    let out =
        job.step(&[], "tool; echo $RUNNER_TOOL_CACHE; echo x > $RUNNER_TOOL_CACHE/tool/1.0/x64/bin/tool");
    out.fails().stdout_is("cached\n/opt/hostedtoolcache\n").stderr_contains("Read-only file system");
}

#[test]
fn a_step_writes_its_outputs_and_its_summary() {
    let job = Job::new();
    let script = "echo answer=42 >> $GITHUB_OUTPUT; echo '# done' >> $GITHUB_STEP_SUMMARY
mkdir $RUNNER_TEMP/own; echo kept > $RUNNER_TEMP/own/file";
    job.step(&[], script).ok();
    assert_eq!(job.read("_work/_temp/_runner_file_commands/output_1"), "answer=42\n");
    assert_eq!(job.read("_work/_temp/_runner_file_commands/summary_1"), "# done\n");
    assert_eq!(job.read("_work/_temp/own/file"), "kept\n");
}

#[test]
fn what_sudo_removed_is_there_by_name_and_credentials_stay_hidden() {
    let mut job = Job::new();
    job.file("../keys/config.json", "canary\n");
    let keys = job.lab.dir().home().join("keys").display().to_string();
    job.set("DOCKER_CONFIG", keys.clone());
    job.set("MY_TOKEN", "wanted");
    job.set("OTHER_TOKEN", "unwanted");
    let script = format!(
        "echo $MY_TOKEN ${{OTHER_TOKEN-none}}; ls {keys}; cd ../../..; cat .credentials* || echo hidden; ls _work"
    );
    let out = job.step(&["-e", "MY_TOKEN"], &script);
    out.ok().stdout_contains("wanted none\n");
    for text in ["canary", "config.json", "runner's own"] {
        out.check(!out.stdout().contains(text), || format!("nothing of {text:?}"));
    }
}

/// Whoever could change these would be outside by the job's next step, or by the next line of this one.
#[test]
fn what_the_runner_and_later_steps_run_cannot_be_changed() {
    let job = Job::new();
    let kept = [
        "_work/_temp/_runner_file_commands/env_1",
        "_work/_temp/_runner_file_commands/path_1",
        "_work/_temp/_runner_file_commands/state_1",
        "_work/_temp/0a1b.sh",
        "_work/_actions/a/b/v1/index.js",
        "bin/Runner.Listener",
        ".env",
        "run.sh",
    ];
    let before = kept.map(|name| job.read(name));
    let script = "set +e; cd ~/actions-runner; while read -r name; do
    echo evil >> $name; rm -f $name; echo evil > new; mv -f new $name; ln -sf /bin/true $name
    dir=$name; while dir=$(dirname $dir); [ $dir != . ]; do
        mv $dir $dir.gone && mkdir -p $dir && echo evil > $name && break
    done
done 2>errors
mv ~/actions-runner ~/gone && mkdir -p ~/actions-runner/_work/_temp && echo moved; tail -n 99 errors; echo more >> $GITHUB_OUTPUT";
    let script = format!("{}{script}", format_args!("exec < <(printf '%s\\n' {}); ", kept.join(" ")));
    let out = job.step(&[], &script);
    out.ok().stdout_contains("Read-only file system").stdout_contains("Device or resource busy");
    out.check(!out.stdout().contains("moved"), || "no runner in another place".to_owned());
    assert_eq!(kept.map(|name| job.read(name)), before);
    assert_eq!(job.read("_work/_temp/_runner_file_commands/output_1"), "more\n");
    let bare = job.lab.bare().env("GITHUB_OUTPUT", job.lab.dir().work().join("output").into_os_string());
    bare.sh(&script).ok().stdout_contains("moved");
    assert_ne!(kept.map(|name| job.read(name)), before);
}

#[test]
fn a_mount_lets_the_command_set_up_later_steps() {
    let job = Job::new();
    let flags = ["-e", "GITHUB_ENV", "--mount", "$GITHUB_ENV:$GITHUB_ENV"];
    job.step(&flags, "echo MINE=1 >> $GITHUB_ENV").ok();
    assert_eq!(job.read("_work/_temp/_runner_file_commands/env_1"), "MINE=1\n");
}
