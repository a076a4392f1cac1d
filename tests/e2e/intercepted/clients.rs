//! Every client that is installed takes the run's CA by itself: with `--tls on`, over IPv4 and IPv6, with proxy
//! variables and without, in a root of its own; and with the machine's files, those that read a variable.

use harness::{
    Lab, Output, Run, git,
    packages::WORD,
    registries::{GO_MODULE, PACKAGE},
    tools,
};

use serde_json::Value;

use super::{HELLO, on, over_at_once, seen_inside};
use crate::{clients::JAVA, mirrors};

/// One client.
struct Client {
    programs: &'static [&'static str],
    /// Fetches from `https://$HOST`, by the trust that it finds; in an empty directory.
    script: &'static str,
    /// What it prints when it has been served.
    word: &'static str,
    /// With `--chroot off`: what makes it trust, if it is none of the variables.
    off: Off,
    /// It asks for IPv6 addresses only where a UDP socket can be connected to Google's, which is refused.
    probes: bool,
}

/// What a client does that sees the machine's files.
enum Off {
    /// It reads one of the variables.
    Reads,
    /// It trusts with this variable, and nothing without.
    With(&'static str, &'static str),
    /// It reads none, and has no such variable.
    Refuses,
}

impl Client {
    fn new(programs: &'static [&'static str], script: &'static str) -> Self {
        Self { programs, script, word: HELLO, off: Off::Reads, probes: false }
    }

    fn check(&self) {
        self.check_in(&Lab::new());
    }

    fn check_in(&self, lab: &Lab) {
        self.programs.iter().for_each(|program| drop(tools::require(program)));
        for host in ["v4only.test", "v6only.test"] {
            for proxy_env in ["auto", "none"] {
                if self.probes && host == "v6only.test" && proxy_env == "none" {
                    continue;
                }
                // Each run has records of its own.
                let run = || on(lab, host).args(["--proxy-env", proxy_env]);
                let off = || run().machine_files();
                self.is_served(&self.run(&run(), host), host);
                match self.off {
                    Off::Reads => self.is_served(&self.run(&off(), host), host),
                    Off::With(name, value) => {
                        self.is_served(&self.run(&off().env(name, value), host), host);
                        refuses(&self.run(&off(), host), host);
                    }
                    Off::Refuses => refuses(&self.run(&off(), host), host),
                }
            }
        }
    }

    fn run(&self, run: &Run<'_>, host: &str) -> Output {
        let run = run.clone().env("HOST", host).env("PACKAGE", PACKAGE).env("MODULE", GO_MODULE);
        run.sh(&format!("cd $(mktemp -d)\n{}", self.script))
    }

    #[track_caller]
    fn is_served(&self, out: &Output, host: &str) {
        out.ok().stdout_contains(self.word);
        seen_inside(out, host);
        let refused = out.records(&[("reason", "tls_untrusted".into())]);
        out.check(refused.is_empty(), || "nobody who refuses the CA on the way".into());
    }
}

/// It does not take the CA, and that is on record.
#[track_caller]
fn refuses(out: &Output, host: &str) {
    let refused = out.fails().records(&[("host", host.into()), ("event", "connection".into())]);
    let distrusts = |record: &Value| record["reason"] == "tls_untrusted" && over_at_once(record);
    out.check(refused.iter().any(distrusts), || "a client that does not trust the CA, at once".into());
    let inside = out.records(&[("event", "request".into()), ("host", host.into())]);
    out.check(inside.is_empty(), || "no request".into());
}

#[test]
fn curl() {
    Client::new(&["curl"], "curl -sS https://$HOST/").check();
}

#[test]
fn wget() {
    Client { off: Off::Refuses, ..Client::new(&["wget"], "wget -nv -O- --tries=1 https://$HOST/") }.check();
}

#[test]
fn git_clone() {
    let script = "git clone -q https://$HOST/git/project.git p; cat p/README";
    Client { word: git::CONTENT, ..Client::new(&["git"], script) }.check();
}

#[test]
fn python_ssl() {
    let script =
        "/usr/bin/python3 -c \"from urllib.request import urlopen; print(urlopen('https://$HOST/').read())\"";
    Client::new(&["python3"], script).check();
}

#[test]
fn python_requests() {
    let script = "/usr/bin/python3 -c \"import requests; print(requests.get('https://$HOST/').text)\"";
    Client::new(&["python3"], script).check();
}

#[test]
fn python_httpx() {
    let script = "/usr/bin/python3 -c \"import httpx; print(httpx.get('https://$HOST/').text)\"";
    Client::new(&["python3"], script).check();
}

#[test]
fn pip_install() {
    Client { word: WORD, ..Client::new(&["python3"], mirrors::PIP) }.check();
}

#[test]
fn node_https_and_fetch() {
    let script = "node -e \"require('https').get('https://$HOST/', r => r.pipe(process.stdout))\"
node -e \"fetch('https://$HOST/').then(r => r.text()).then(t => console.log('fetch:', t))\"";
    Client { word: "fetch: hello from ", ..Client::new(&["node"], script) }.check();
}

#[test]
fn npm_install() {
    Client { word: WORD, ..Client::new(&["node", "npm"], mirrors::NPM) }.check();
}

/// JVMs read no variable but this one, and say on stderr that they did.
const JAVA_OFF: Off =
    Off::With("JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/run/awf-bpf/tls/cacerts.jks");

#[test]
fn java_http_client() {
    let lab = Lab::new();
    lab.trust_in_java();
    lab.dir().file("Fetch.java", JAVA);
    let script = "java $OLDPWD/Fetch.java https://$HOST/";
    Client { off: JAVA_OFF, ..Client::new(&["java"], script) }.check_in(&lab);
}

#[test]
fn java_https_url_connection() {
    let lab = Lab::new();
    lab.trust_in_java();
    lab.dir().file(
        "Open.java",
        "public class Open { public static void main(String[] args) throws Exception {
    var connection = (javax.net.ssl.HttpsURLConnection) new java.net.URL(args[0]).openConnection();
    connection.getInputStream().transferTo(System.out);
} }",
    );
    let script = "java $OLDPWD/Open.java https://$HOST/";
    Client { off: JAVA_OFF, ..Client::new(&["java"], script) }.check_in(&lab);
}

#[test]
fn go_program() {
    let lab = Lab::new();
    super::build_go_client(&lab);
    Client::new(&["go"], "$OLDPWD/get https://$HOST/").check_in(&lab);
}

#[test]
fn go_modules() {
    Client { word: WORD, ..Client::new(&["go"], mirrors::GO) }.check();
}

#[test]
fn cargo() {
    Client { word: WORD, ..Client::new(&["cargo", "rustc", "cc"], mirrors::CARGO) }.check();
}

#[test]
fn gem() {
    Client { word: WORD, ..Client::new(&["ruby", "gem"], mirrors::GEM) }.check();
}

#[test]
fn composer() {
    Client { word: WORD, ..Client::new(&["php", "composer"], mirrors::COMPOSER) }.check();
}

#[test]
fn gh() {
    let script = "GH_ENTERPRISE_TOKEN=x gh api --hostname $HOST greeting";
    Client::new(&["gh"], script).check();
}

#[test]
fn perl_lwp() {
    let script = "perl -MLWP::UserAgent -MLWP::Protocol::https -e '
my $answer = LWP::UserAgent->new(env_proxy => 1)->get(qq(https://$ENV{HOST}/));
die $answer->status_line unless $answer->is_success;
print $answer->content'";
    Client::new(&["perl"], script).check();
}

#[test]
fn openssl_s_client() {
    let script = "set -o pipefail
printf 'GET / HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' $HOST |
openssl s_client -quiet -verify_return_error -verify_hostname $HOST -servername $HOST -connect $HOST:443";
    Client::new(&["openssl"], script).check();
}

/// By the data base of NSS, to which the command adds the CA, as docs/trust.md says.
#[test]
fn chromium_headless_by_its_data_base() {
    // In one HOME again and again: a data base that is there, and the CA of a run before.
    let script = "db=$HOME/.pki/nssdb; mkdir -p $db
[ -e $db/cert9.db ] || certutil -d sql:$db -N --empty-password
certutil -d sql:$db -D -n awf-bpf 2>/dev/null || true
certutil -d sql:$db -A -n awf-bpf -t C,, -i /run/awf-bpf/tls/ca.pem
chromium-headless-shell --no-sandbox --disable-gpu --dump-dom https://$HOST/ 2>log || { cat log >&2; exit 1; }";
    Client { probes: true, ..Client::new(&["chromium-headless-shell", "certutil"], script) }.check();
}

/// As with the pin that awf-bpf says with `--chroot off`.
#[test]
fn chromium_headless_by_the_pin() {
    let script = "pin=$(openssl x509 -in /run/awf-bpf/tls/ca.pem -noout -pubkey | openssl pkey -pubin -outform der |
  openssl dgst -sha256 -binary | base64)
chromium-headless-shell --no-sandbox --disable-gpu --ignore-certificate-errors-spki-list=$pin --user-data-dir=$PWD/p \\
  --dump-dom https://$HOST/ 2>log || { cat log >&2; exit 1; }";
    Client { probes: true, ..Client::new(&["chromium-headless-shell"], script) }.check();
}
