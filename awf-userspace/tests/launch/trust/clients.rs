//! Programs of this machine against a server whose certificate the run's CA signed: with the machine's files alone,
//! with variables alone, on both address families; and without any of it, where each must refuse.

use std::path::Path;
use std::process::Command;

use awf_userspace::ca::{self, Found};
use awf_userspace::jail::rootfs::Wanted;
use awf_userspace::session::trust::{beneath_cover, in_root};

use super::server::{PORT, Server};
use super::{caller, trust};
use crate::root::{Place, jailed, mount};
use crate::support::{Dir, Run, sh};

/// A program, how it fetches `$URL`, and whether it reads the machine's files and the variables.
struct Client {
    program: &'static str,
    script: &'static str,
    files: bool,
    variables: bool,
}

const fn client(program: &'static str, script: &'static str, files: bool, variables: bool) -> Client {
    Client { program, script, files, variables }
}

const CLIENTS: &[Client] = &[
    client("/usr/bin/curl", "curl -fsS $URL", true, true),
    client("/usr/bin/wget", "wget -qO- $URL", true, false),
    // Debian's, with GnuTLS.
    client("/usr/bin/git", "/usr/bin/git ls-remote $URL/x.git", true, true),
    client(
        "/usr/bin/openssl",
        "openssl s_client -verify_return_error -connect ${URL#https://} < /dev/null",
        true,
        true,
    ),
    client(
        "/usr/bin/openssl",
        "openssl s_client -no-CAfile -no-CAstore -CApath /etc/ssl/certs -verify_return_error \
         -connect ${URL#https://} < /dev/null",
        true,
        false,
    ),
    client(
        "/usr/bin/python3",
        "/usr/bin/python3 -c 'import os, urllib.request as u; print(u.urlopen(os.environ[\"URL\"]).status)'",
        true,
        true,
    ),
    client(
        "/usr/lib/python3/dist-packages/requests",
        "/usr/bin/python3 -c 'import os, requests; print(requests.get(os.environ[\"URL\"]))'",
        true,
        true,
    ),
    client(
        "/usr/bin/node",
        "node -e 'require(\"https\").get(process.env.URL, r => console.log(r.statusCode))'",
        false,
        true,
    ),
    client("/usr/bin/node", "node -e 'fetch(process.env.URL).then(r => console.log(r.status))'", false, true),
    client("/usr/bin/npm", "npm ping --registry $URL/ --fetch-retries 0", false, true),
    client("/usr/bin/go", "GOPROXY=$URL GOSUMDB=off go list -m -versions example.test/x", true, true),
    client(
        "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
        "/usr/lib/jvm/java-17*/bin/java -cp /mnt/classes Fetch",
        true,
        false,
    ),
    client(
        "/usr/lib/jvm/temurin-25-jdk-amd64/bin/java",
        "/usr/lib/jvm/temurin-25*/bin/java -cp /mnt/classes Fetch",
        true,
        false,
    ),
];

/// Both of Java's own clients.
const FETCH: &str = r#"
import java.net.*;
import java.net.http.*;
public class Fetch {
    public static void main(String[] a) throws Exception {
        URI uri = URI.create(System.getenv("URL"));
        System.out.println(((HttpURLConnection) uri.toURL().openConnection()).getResponseCode());
        HttpRequest request = HttpRequest.newBuilder(uri).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
    }
}
"#;

struct Lab {
    server: Server,
    place: Place,
    classes: Dir,
}

impl Lab {
    fn new(name: &str) -> Self {
        let classes = Dir::new(&format!("{name}-classes"));
        if Path::new("/usr/bin/javac").exists() {
            let source = classes.file("Fetch.java", FETCH, 0o644);
            let mut javac = Command::new("/usr/bin/javac");
            javac.args(["--release", "17", "-d"]).arg(&classes.0).arg(source);
            assert!(javac.status().unwrap().success());
        }
        Self { server: Server::start(), place: Place::new(name), classes }
    }

    fn run(&self, client: &Client, url: &str) -> Run {
        let mut run = sh(client.script);
        run.netns = Some(self.server.netns());
        let home = self.place.0.0.join("home");
        // What the administrator of this machine told npm is not what is tested.
        let npm = ("npm_config_globalconfig", "/none");
        for (name, value) in [("URL", url), ("HOME", home.to_str().unwrap()), npm] {
            run.init.env.push((name.into(), value.into()));
        }
        run
    }

    fn wanted(&self) -> Wanted {
        let mut wanted = self.place.wanted();
        wanted.etc = vec![("/etc/hosts".into(), b"127.0.0.1 v4.test localhost\n::1 v6.test\n".to_vec())];
        wanted.mounts = vec![mount(&self.classes.0, "/mnt/classes", false)];
        wanted
    }

    /// In a root with the CA, or without.
    fn jailed(&self, run: Run, with_ca: bool) -> Run {
        let mut wanted = self.wanted();
        if with_ca {
            wanted.trust = in_root(&trust(&self.server.authority, &self.place));
        }
        jailed(run, &wanted)
    }
}

fn clients() -> impl Iterator<Item = &'static Client> {
    CLIENTS.iter().filter(|client| Path::new(client.program).exists())
}

fn urls() -> [String; 4] {
    ["v4.test", "v6.test", "127.0.0.1", "[::1]"].map(|host| format!("https://{host}:{PORT}"))
}

#[test]
fn the_machines_files_are_enough_for_who_reads_them() {
    let lab = Lab::new("trust-files");
    for client in clients() {
        for url in &urls()[..2] {
            let ran = lab.jailed(lab.run(client, url), true).run();
            assert_eq!(ran.code() == 0, client.files, "{} {url}: {ran:?}", client.script);
        }
        // It was the CA's files: without them nobody is content.
        let ran = lab.jailed(lab.run(client, &urls()[0]), false).run();
        assert_ne!(ran.code(), 0, "{}: {ran:?}", client.script);
    }
}

#[test]
fn with_variables_too_every_client_trusts_it() {
    let lab = Lab::new("trust-both");
    let variables = trust(&lab.server.authority, &lab.place).variables;
    for client in clients() {
        for url in urls() {
            // npm 11 takes the brackets for a part of the name.
            if url.contains('[') && client.script.starts_with("npm") {
                continue;
            }
            let mut run = lab.jailed(lab.run(client, &url), true);
            run.init.env.extend(variables.clone());
            let ran = run.run();
            assert_eq!(ran.code(), 0, "{} {url}: {ran:?}", client.script);
        }
    }
}

/// `--chroot off`: and just those are left out of whom it is said.
#[test]
fn variables_alone_are_enough_for_who_reads_them() {
    std::fs::create_dir_all("/run/awf-bpf").unwrap();
    let lab = Lab::new("trust-variables");
    let trust = trust(&lab.server.authority, &lab.place);
    for client in clients() {
        let script = client.script.replace("/mnt/classes", lab.classes.0.to_str().unwrap());
        let url = &urls()[2];
        let mut run = lab.run(client, url);
        run.init.argv[2] = script.into();
        run.init.hide = vec!["/run/awf-bpf".into()];
        run.init.trust = beneath_cover(&trust);
        run.init.env.extend(trust.variables.clone());
        let ran = run.run();
        assert_eq!(ran.code() == 0, client.variables, "{}: {ran:?}", client.script);
    }
    let said = trust.of_environment_alone();
    assert!(["wget", "Java", "Chromium"].iter().all(|name| said.contains(name)), "{said}");
}

/// One path is taken away: whoever reads it, and nobody else, refuses.
#[test]
fn each_path_is_what_its_readers_need() {
    type Take = fn(&mut ca::Trust);
    let cases: [(&str, Take); 4] = [
        ("wget ", |trust| trust.over.retain(|over| over.optional)),
        ("/usr/lib/jvm/java-17", |trust| trust.over.retain(|over| !over.optional)),
        ("node -e 'fetch", |trust| trust.variables.retain(|(name, _)| name != "NODE_EXTRA_CA_CERTS")),
        ("openssl s_client -no-CAfile", |trust| trust.directories.clear()),
    ];
    let lab = Lab::new("trust-one");
    let all = trust(&lab.server.authority, &lab.place);
    for (number, (_, take)) in cases.iter().enumerate() {
        let mut trust = all.clone();
        take(&mut trust);
        for (other, (script, _)) in cases.iter().enumerate() {
            let Some(client) = clients().find(|client| client.script.starts_with(script)) else { continue };
            let mut wanted = lab.wanted();
            wanted.trust = in_root(&trust);
            let mut run = jailed(lab.run(client, &urls()[0]), &wanted);
            run.init.env.extend(trust.variables.clone());
            assert_eq!(run.run().code() == 0, other != number, "{script}: without {}", cases[number].0);
        }
    }
}

/// A JVM that was told of another store reads that one, which is added to where it lies, under its password.
#[test]
fn java_options_that_name_a_store_are_no_way_around() {
    let lab = Lab::new("trust-options");
    let script = "/usr/lib/jvm/java-17*/bin/java -cp /mnt/classes Fetch";
    let Some(client) = clients().find(|client| client.script == script) else { return };
    let store = lab.place.0.0.join("home/corp.jks");
    let store = store.to_str().unwrap();
    let made = Command::new("keytool")
        .args(["-genkeypair", "-alias", "x", "-keyalg", "EC", "-dname", "CN=x", "-storetype", "JKS"])
        .args(["-storepass", "secret", "-keypass", "secret", "-keystore", store])
        .output();
    assert!(made.unwrap().status.success());
    let options = format!("-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=secret");
    crate::support::set_mode(Path::new(store), 0o644);
    let before = std::fs::read(store).unwrap();
    let mut caller = caller(&lab.place);
    let run = |trust: &ca::Trust| {
        let mut wanted = lab.wanted();
        wanted.trust = in_root(trust);
        let mut run = jailed(lab.run(client, &urls()[0]), &wanted);
        run.init.env.push(("JAVA_TOOL_OPTIONS".into(), options.clone().into()));
        run.run()
    };
    let ran = run(&ca::Trust::new(&lab.server.authority, &Found::look(&caller)));
    assert_ne!(ran.code(), 0, "without it the test would show nothing: {ran:?}");
    caller.variables.insert("JAVA_TOOL_OPTIONS".into(), options.clone().into());
    let ran = run(&ca::Trust::new(&lab.server.authority, &Found::look(&caller)));
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(std::fs::read(store).unwrap(), before);
}
