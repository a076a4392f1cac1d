//! Language runtimes and build tools in the command's own root: the same versions as outside, and programs built
//! and run there, offline.

use harness::{
    Lab,
    tools::{self, PATH},
};

/// `version` says the same inside and outside, and `script` prints `hello` inside, in an empty directory.
fn check(programs: &[&str], version: &str, script: &str) {
    programs.iter().for_each(|program| drop(tools::require(program)));
    let lab = Lab::new();
    let outside = lab.bare().sh(version);
    let inside = lab.awf().sh(version);
    inside.ok().stdout_is(&outside.ok().stdout());
    assert!(!outside.stdout().trim().is_empty(), "{outside}");
    lab.awf().sh(script).ok().stdout_is("hello\n");
}

#[test]
fn python() {
    let script = "python3 -m venv --without-pip env && env/bin/python -c '
import ctypes, multiprocessing, os, sqlite3, ssl, sys, tempfile
lock = multiprocessing.Lock()
assert multiprocessing.get_context(\"fork\").Pool(2).map(abs, [-1, -2]) == [1, 2]
assert os.path.realpath(\"/proc/self/exe\").startswith(\"/usr/\"), os.readlink(\"/proc/self/exe\")
tempfile.TemporaryFile().write(b\"x\")
print(\"hello\")'";
    check(&["python3"], "python3 --version; python3 -c 'import sys; print(sys.prefix)'", script);
}

#[test]
fn node_and_npm() {
    let script = "npm init -y >/dev/null && node -e '
const os = require(\"os\"), { Worker } = require(\"worker_threads\");
if (require(\"fs\").readlinkSync(\"/proc/self/exe\") !== process.execPath) throw process.execPath;
new Worker(\"require(`worker_threads`).parentPort.postMessage(`hello`)\", { eval: true })
    .on(\"message\", (m) => { if (os.cpus().length) console.log(m); });'";
    check(&["node", "npm"], "node --version; npm --version; node -p process.execPath", script);
}

#[test]
fn java() {
    let script = "cat > H.java <<'E'
public class H { public static void main(String[] a) throws Exception {
    if (Runtime.getRuntime().availableProcessors() < 1) throw new Error();
    if (!System.getProperty(\"user.home\").equals(System.getenv(\"HOME\"))) throw new Error(System.getProperty(\"user.home\"));
    ProcessHandle.current().info().command().orElseThrow();
    System.out.println(\"hello\");
} }
E
javac H.java && java H";
    check(&["java", "javac"], "java -version 2>&1; nproc", script);
}

#[test]
fn gcc_and_make() {
    let script = "printf 'int puts(const char*); int main(void) { puts(\"hello\"); return 0; }\\n' > h.c
printf 'h: h.c\\n\\t@gcc -O1 -o h h.c\\n' > Makefile; make -s && ./h";
    check(&["gcc", "make"], "gcc --version; make --version", script);
}

#[test]
fn rustc_and_cargo() {
    let script = "cargo init --quiet --vcs none --name h . && printf 'fn main() { println!(\"hello\"); }' > src/main.rs
cargo run --quiet --offline";
    check(&["rustc", "cargo", "cc"], "rustc --version --verbose; cargo --version", script);
}

#[test]
fn go() {
    let script = "go mod init h 2>/dev/null && printf 'package main\\nimport \"fmt\"\\nfunc main() { fmt.Println(\"hello\") }\\n' > h.go
export GOTOOLCHAIN=local GOFLAGS=-mod=mod; go run .
printf 'package main\nimport \"runtime\"\nfunc main() { println(runtime.GOROOT()) }\n' > h.go
# Such a program knows of its toolchain by the variable alone, as the runners' own go does.
go build -trimpath -o trimmed . && GOROOT=/opt/go ./trimmed 2>&1 | grep -qx /opt/go";
    check(&["go"], "go version; go env GOROOT", script);
}

#[test]
fn perl() {
    check(&["perl"], "perl -v", "perl -MFile::Temp=tempfile -MPOSIX -e 'tempfile(); print qq(hello\\n)'");
}

#[test]
fn ruby() {
    check(&["ruby"], "ruby --version", "ruby -rjson -ropenssl -e 'puts JSON.parse(%q([\"hello\"]))'");
}

#[test]
fn php() {
    check(&["php"], "php --version", "php -r 'echo json_decode(\"[\\\"hello\\\"]\")[0], \"\\n\";'");
}

#[test]
fn git() {
    let script =
        "git init -q -b main r && cd r && git config user.name u && git config user.email u@example.com
echo hello > f && git add f && git commit -qm m && git clone -q . ../c && cat ../c/f";
    check(&["git"], "git --version", script);
}

/// As a runner's: under /opt, under HOME, and found by variables.
#[test]
fn tool_caches() {
    let lab = Lab::new();
    let cache = lab.dir().home().join("tools");
    std::fs::create_dir_all(cache.join("x/1.0/bin")).expect("make a tool cache");
    let tool = cache.join("x/1.0/bin/tool");
    std::fs::write(&tool, "#!/bin/sh\necho hello\n").expect("write a tool");
    tools::succeed(std::process::Command::new("chmod").arg("755").arg(&tool));
    let path = format!("{}:{PATH}", tool.parent().expect("it has one").display());
    let run = lab.awf().outer_env("RUNNER_TOOL_CACHE", &cache).outer_env("PATH", path);
    run.sh("tool; (echo x > ~/tools/x/1.0/bin/tool) 2>/dev/null || echo kept")
        .ok()
        .stdout_is("hello\nkept\n");
}

/// As on a runner: steps before this one added to PATH and set variables in files, and sudo passes nothing on.
#[test]
fn path_and_toolchains_are_found_under_sudo() {
    let lab = Lab::new();
    let home = lab.dir().home();
    for (name, says) in [("nvm/bin/one", "one"), ("added/bin/two", "two"), ("jdk 21/bin/three", "three")] {
        let tool = home.join(name);
        std::fs::create_dir_all(tool.parent().expect("it has one")).expect("make its directory");
        std::fs::write(&tool, format!("#!/bin/sh\necho {says}\n")).expect("write a tool");
        tools::succeed(std::process::Command::new("chmod").arg("755").arg(&tool));
    }
    let home = home.display().to_string();
    let added = lab.dir().file("added", format!("{home}/gone/bin\n{home}/added/bin\n"));
    let set =
        lab.dir().file("set", format!("X=1\nJAVA_HOME<<ghadelimiter_1\n{home}/jdk 21\nghadelimiter_1\n"));
    let script = "#!/bin/bash\nexec 2>&1; env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \"SUDO_UID=$AS\" \"SUDO_GID=$AS\" \"$@\"\n";
    let sudo = lab.dir().file("sudo", script);
    tools::succeed(std::process::Command::new("chmod").arg("755").arg(&sudo));
    let run = |owner: u32| {
        for file in [&added, &set] {
            std::os::unix::fs::chown(file, Some(owner), Some(owner)).expect("give it away");
        }
        let wanted = lab.awf().command(&["bash", "-c", "one; two; three; echo \"$JAVA_HOME\"; echo \"$X\""]);
        let mut command = std::process::Command::new(&sudo);
        command.arg(wanted.get_program()).args(wanted.get_args()).current_dir(lab.dir().work()).env_clear();
        command.env("PATH", format!("{home}/nvm/bin:{PATH}")).env("AS", harness::workdir::UID.to_string());
        command.env("GITHUB_PATH", &added).env("GITHUB_ENV", &set);
        let out = lab.machine().within(|| command.output().expect("start it"));
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    let out = run(harness::workdir::UID);
    assert!(out.ends_with(&format!("one\ntwo\nthree\n{home}/jdk 21\n\n")), "{out}");
    let out = run(0);
    assert!(out.contains("$GITHUB_PATH is not used") && out.contains("not a file of sudo's caller"), "{out}");
    assert!(out.contains("two: command not found"), "{out}");
}
