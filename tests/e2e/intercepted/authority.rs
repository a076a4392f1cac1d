//! `--ca-cert` and `--ca-key`: an organisation's own CA, whose key the command never sees.

use std::{path::PathBuf, process::Command};

use harness::{Lab, Run, tools};

use super::HELLO;

/// A root, a CA that it signed (RSA, as many are), what is wrong in one way each; all in `$1`.
const MAKE: &str = r#"cd "$1"
new() { openssl req -new -newkey $1 -nodes -keyout $2.key -out $2.csr -subj "/O=Example/CN=Example $2" 2>/dev/null; }
ca='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
EC='ec -pkeyopt ec_paramgen_curve:P-256'
self() { openssl x509 -req -in $1.csr -signkey $1.key -out $1.pem -extfile <(printf "$ca") "${@:2}" 2>/dev/null; }
new "$EC" root; self root -days 30
new rsa:2048 inter
openssl x509 -req -in inter.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out inter.pem \
  -extfile <(printf "$ca") 2>/dev/null
cat inter.pem root.pem > chain.pem
new "$EC" old; self old -days -1
new "$EC" leaf; openssl x509 -req -in leaf.csr -signkey leaf.key -days 30 -out leaf.pem 2>/dev/null
openssl pkcs8 -topk8 -in root.key -passout pass:x -out locked.key
openssl ec -in root.key -out sec1.key 2>/dev/null
openssl ec -in root.key -aes128 -passout pass:x -out locked1.key 2>/dev/null
chmod 644 *.key"#;

/// The directory with the files of [`MAKE`], the command's user's own.
fn authorities(lab: &Lab) -> PathBuf {
    let dir = lab.dir().work().join("ca");
    std::fs::create_dir(&dir).expect("make a directory");
    tools::succeed(Command::new("bash").args(["-ec", MAKE, "make"]).arg(&dir));
    tools::succeed(Command::new("chown").args(["-R", "12345:12345"]).arg(&dir));
    dir
}

fn with<'lab>(lab: &'lab Lab, cert: &str, key: &str) -> Run<'lab> {
    lab.awf().allow("allowed.test").args(["--tls", "on", "--ca-cert", cert, "--ca-key", key])
}

const SHOW: &str =
    "openssl s_client -connect allowed.test:443 -servername allowed.test -showcerts </dev/null 2>/dev/null";

#[test]
fn a_chain_arrives_whole_and_every_client_takes_it() {
    let lab = Lab::new();
    let dir = authorities(&lab);
    lab.trust_in_java();
    lab.dir().file("Fetch.java", crate::clients::JAVA);
    super::build_go_client(&lab);
    for (cert, key, names) in [
        (
            "ca/chain.pem",
            "ca/inter.key",
            &["CN = allowed.test", "CN = Example inter", "CN = Example root"][..],
        ),
        ("ca/root.pem", "ca/sec1.key", &["CN = allowed.test", "CN = Example root"]),
    ] {
        let out = with(&lab, cert, key).sh(SHOW);
        let said = out.ok().stdout();
        let subjects: Vec<_> = said.lines().filter(|line| line.contains(" s:")).collect();
        let right = subjects.len() == names.len()
            && subjects.iter().zip(names).all(|(subject, name)| subject.contains(name));
        out.check(right, || format!("the certificates of {}", names.join(", ")));
        let fingerprint = tools::succeed(
            Command::new("openssl")
                .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
                .arg(dir.join(cert.trim_start_matches("ca/"))),
        );
        out.stderr_contains(fingerprint.trim().split_once('=').expect("NAME=VALUE").1);
        for client in [
            "curl -sS https://allowed.test/",
            "wget -nv -O- https://allowed.test/",
            "node -e 'require(\"https\").get(\"https://allowed.test/\", r => r.pipe(process.stdout))'",
            "/usr/bin/python3 -c 'import urllib.request as r; print(r.urlopen(\"https://allowed.test/\").read())'",
            "java Fetch.java https://allowed.test/",
            "./get https://allowed.test/",
        ] {
            with(&lab, cert, key).sh(client).ok().stdout_contains(HELLO);
        }
        // Who trusts the organisation's root, and nothing of what awf-bpf says.
        let own = "env -i curl -sS --cacert ca/root.pem --capath /nowhere https://allowed.test/";
        with(&lab, cert, key).sh(own).ok().stdout_contains(HELLO);
    }
}

#[test]
fn without_its_root_a_warning_says_who_does_not_take_it() {
    let lab = Lab::new();
    authorities(&lab);
    let out = with(&lab, "ca/inter.pem", "ca/inter.key").sh("curl -sS https://allowed.test/ || true");
    out.ok().stderr_contains("the CA is signed by").stderr_contains("CN=Example root");
    out.stderr_contains("append that certificate");
    // Where the machine has it, all is well.
    let root = std::fs::read_to_string(lab.dir().work().join("ca/root.pem")).expect("read the root");
    std::fs::write(lab.ca_file(), lab.pki().ca_pem().to_owned() + &root).expect("write the bundle");
    let out = with(&lab, "ca/inter.pem", "ca/inter.key").sh("curl -sS https://allowed.test/");
    out.ok().stdout_contains(HELLO).stderr_lacks("the CA is signed by");
}

/// The key is a file that the command's user owns, in the command's own directory, as careless as can be.
#[test]
fn the_command_does_not_see_the_key() {
    let lab = Lab::new();
    let dir = authorities(&lab);
    let key = std::fs::read_to_string(dir.join("root.key")).expect("read the key");
    let secret = key.lines().nth(1).expect("a PEM file has several lines").to_owned();
    std::os::unix::fs::symlink("root.key", dir.join("link.key")).expect("make a link");
    let script = "cat ca/root.key ca/link.key $PWD/ca/../ca/root.key /proc/1/root$PWD/ca/root.key 2>/dev/null
grep -rhs -- \"$SECRET\" ca /run /dev/shm $HOME && exit 3
cat /proc/*/environ /proc/*/cmdline /proc/*/maps 2>/dev/null | grep -ac \"$SECRET\"
mv ca/root.key ca/moved && cat ca/moved; ln ca/root.key ca/hard && cat ca/hard; mv ca caught && cat caught/root.key; mv caught ca
true";
    let script = script.replace("$SECRET", "$0");
    for named in ["ca/root.key", "ca/link.key"] {
        for off in [false, true] {
            let run = with(&lab, "ca/root.pem", named);
            let run = if off { run.machine_files() } else { run };
            let out = run.run(&["bash", "-c", &script, &secret[8..40]]);
            out.check(!out.stdout().contains(&secret) && out.exit_code() == 0, || {
                "nothing of the key".into()
            });
        }
    }
    // By another path to it.
    let mount = format!("{}:/data:ro", dir.display());
    let out =
        with(&lab, "ca/root.pem", "ca/root.key").args(["--mount", &mount]).sh("ls /data; cat /data/root.key");
    out.check(!out.stdout().contains(&secret), || "nothing of the key".into()).stdout_contains("root.pem");
    // The same script finds it where it is not hidden.
    let out = lab.bare().run(&["bash", "-c", "cat ca/root.key"]);
    out.ok().stdout_contains(&secret);
}

/// The attack: a name that an earlier command gave it, where nothing covers it.
#[test]
fn a_key_with_another_name_is_refused() {
    let lab = Lab::new();
    let dir = authorities(&lab);
    std::fs::hard_link(dir.join("root.key"), dir.join("hard.key")).expect("make a link");
    let out = with(&lab, "ca/root.pem", "ca/root.key").run(&["cat", "ca/hard.key"]);
    out.code(125).stderr_contains("--ca-key ca/root.key").stderr_contains("a hard link");
    let key = dir.join("root.key");
    tools::succeed(Command::new("chown").arg("0:0").arg(&key));
    tools::succeed(Command::new("chmod").arg("600").arg(&key));
    with(&lab, "ca/root.pem", "ca/root.key").sh("! cat ca/hard.key").ok();
}

/// Prints of how many processes the memory was read, and in which of them `$1`, reversed hex, is. One of its own has it.
const SEARCH: &str = "import os, re, subprocess, sys
secret = bytes.fromhex(sys.argv[1][::-1])
holder = subprocess.Popen([sys.executable, '-c', 'import sys; s = sys.stdin.buffer.read(32); print(1, flush=True); sys.stdin.read()'],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdin.write(secret); holder.stdin.flush(); holder.stdout.readline()
read, found = 0, []
for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) == os.getpid(): continue
    try:
        maps, mem = open(f'/proc/{pid}/maps').read(), open(f'/proc/{pid}/mem', 'rb')
    except OSError: continue
    read += 1
    for low, high in re.findall('^([0-9a-f]+)-([0-9a-f]+) r', maps, re.M):
        try:
            mem.seek(int(low, 16))
            hit = secret in mem.read(int(high, 16) - int(low, 16))
        except (OSError, ValueError, OverflowError): continue
        if hit: found.append('own' if int(pid) == holder.pid else pid)
print(read > 0, *sorted(set(found)))
holder.kill()";

/// Nor a copy of it in the memory of any process that it can look into.
#[test]
fn no_process_that_the_command_sees_holds_the_key() {
    let lab = Lab::new();
    let dir = authorities(&lab);
    let der = tools::succeed(
        Command::new("bash")
            .args(["-c", "openssl pkey -in $0 -outform DER | xxd -p -c 0 -s 36 -l 32"])
            .arg(dir.join("root.key")),
    );
    let reversed: String = der.trim().chars().rev().collect();
    assert_eq!(reversed.len(), 64);
    for off in [false, true] {
        let run = with(&lab, "ca/root.pem", "ca/root.key");
        let run = if off { run.machine_files() } else { run };
        run.run(&["/usr/bin/python3", "-c", SEARCH, &reversed]).ok().stdout_is("True own\n");
    }
}

#[test]
fn what_cannot_sign_is_said_before_anything_runs() {
    let lab = Lab::new();
    authorities(&lab);
    let ran = lab.dir().work().join("ran");
    let cases = [
        ("ca/root.pem", "ca/inter.key", "--ca-key ca/inter.key", "is not that of the certificate"),
        ("ca/old.pem", "ca/old.key", "--ca-cert ca/old.pem", "which is not now"),
        ("ca/leaf.pem", "ca/leaf.key", "--ca-cert ca/leaf.pem", "is no CA's"),
        ("ca/root.key", "ca/root.key", "--ca-cert ca/root.key", "holds no certificate"),
        ("ca/root.pem", "ca/root.pem", "--ca-key ca/root.pem", "cannot be used"),
        ("ca/root.pem", "ca/locked.key", "--ca-key ca/locked.key", "without a password"),
        ("ca/root.pem", "ca/locked1.key", "--ca-key ca/locked1.key", "without a password"),
        ("ca/gone.pem", "ca/root.key", "--ca-cert ca/gone.pem", "No such file"),
        ("ca/root.pem", "ca/gone.key", "--ca-key ca/gone.key", "No such file"),
    ];
    for (cert, key, named, why) in cases {
        let out = with(&lab, cert, key).run(&["touch", "ran"]);
        out.code(125).stderr_contains(named).stderr_contains(why);
        out.check(!ran.exists(), || "nothing run".into());
    }
    for one in [["--ca-cert", "ca/root.pem"], ["--ca-key", "ca/root.key"]] {
        lab.awf().args(["--tls", "on"]).args(one).run(&["touch", "ran"]).code(125).stderr_contains("--ca-");
    }
    assert!(!ran.exists());
}
