//! One path of trust removed on purpose: the client fails at once, nothing was requested, and the record says who did
//! not trust whom.

use std::process::Command;

use harness::{Lab, Output, tools};
use serde_json::Value;

use super::{on, over_at_once};
use crate::clients::JAVA;

const HOST: &str = "allowed.test";

/// It refused the certificate of `allowed.test`, is `exe`, and left with one of these alerts.
#[track_caller]
fn distrusts(out: &Output, exe: &str, alerts: &[&str]) {
    out.fails();
    let fields = [("host", HOST.into()), ("reason", "tls_untrusted".into())];
    let records = out.records(&fields);
    let is_exe = |record: &Value| record["exe"].as_str().is_some_and(|path| path.contains(exe));
    let left = |record: &Value| record["tls_alert"].as_str().is_some_and(|alert| alerts.contains(&alert));
    out.check(records.iter().any(|r| is_exe(r) && left(r) && over_at_once(r)), || {
        format!("{exe} does not trust the CA ({})", alerts.join(", "))
    });
    out.check(out.records(&[("event", "request".into())]).is_empty(), || "no request".into());
    out.stderr_contains(exe);
}

/// Scripts that are told of another CA alone, as `$OWN`.
const SCRIPTS: &[(&str, &str, &[&str])] = &[
    // GnuTLS looks when the handshake is over, and says nothing.
    (
        "git",
        "GIT_SSL_CAINFO=$OWN GIT_SSL_CAPATH=/nowhere git clone -q https://$HOST/git/project.git p",
        &["closed", "unknown_ca"],
    ),
    (
        "wget",
        "wget -nv --tries=1 --ca-certificate=$OWN --ca-directory=/nowhere https://$HOST/",
        &["closed", "unknown_ca"],
    ),
    ("curl", "curl -sS --cacert $OWN --capath /nowhere https://$HOST/", &["unknown_ca"]),
    ("curl", "env -i curl -sS --cacert $OWN --capath /nowhere https://$HOST/", &["unknown_ca"]),
    (
        "node",
        "env -u NODE_EXTRA_CA_CERTS node -e 'require(\"https\").get(\"https://allowed.test/\")'",
        &["closed", "unknown_ca"],
    ),
    (
        "node",
        "NODE_EXTRA_CA_CERTS=$OWN node -e 'fetch(\"https://allowed.test/\").catch(() => process.exit(1))'",
        &["closed", "unknown_ca"],
    ),
    (
        "python",
        "/usr/bin/python3 -c 'import os, requests; requests.get(\"https://allowed.test/\", verify=os.environ[\"OWN\"])'",
        &["unknown_ca"],
    ),
    (
        "python",
        "SSL_CERT_FILE=$OWN SSL_CERT_DIR=/nowhere /usr/bin/python3 -c 'import urllib.request as r; r.urlopen(\"https://allowed.test/\")'",
        &["unknown_ca"],
    ),
    (
        "python",
        "SSL_CERT_FILE=$OWN /usr/bin/python3 -c 'import httpx; httpx.get(\"https://allowed.test/\")'",
        &["unknown_ca"],
    ),
    (
        "openssl",
        "openssl s_client -CAfile $OWN -no-CApath -verify_return_error -connect $HOST:443 </dev/null",
        &["unknown_ca"],
    ),
    (
        "node",
        "env -u NODE_EXTRA_CA_CERTS npm --cafile $OWN --fetch-retries 0 view --registry https://$HOST/npm/ labpkg",
        &["closed", "unknown_ca"],
    ),
    (
        "gh",
        "SSL_CERT_FILE=$OWN SSL_CERT_DIR=/nowhere GH_ENTERPRISE_TOKEN=x gh api --hostname $HOST greeting",
        &["bad_certificate", "unknown_ca"],
    ),
    (
        "java",
        "java -Djavax.net.ssl.trustStore=$STORE Fetch.java https://$HOST/",
        &["certificate_unknown", "unknown_ca", "closed"],
    ),
    (
        "java",
        "env -i java -Djavax.net.ssl.trustStore=$STORE Fetch.java https://$HOST/",
        &["certificate_unknown", "unknown_ca", "closed"],
    ),
];

#[test]
fn who_trusts_another_ca_alone_is_told_apart_and_fails_at_once() {
    let lab = Lab::new();
    lab.trust_in_java();
    lab.dir().file("Fetch.java", JAVA);
    let own = lab.dir().file("own.pem", lab.pki().peculiar().stranger_pem());
    let store = lab.dir().work().join("own.jks");
    let mut keytool = Command::new(tools::require("keytool"));
    keytool.args(["-importcert", "-noprompt", "-alias", "own", "-storepass", "changeit", "-keystore"]);
    tools::succeed(keytool.arg(&store).arg("-file").arg(&own));
    for (exe, script, alerts) in SCRIPTS {
        for proxy_env in ["auto", "none"] {
            let run = on(&lab, HOST).args(["--proxy-env", proxy_env]).env("HOST", HOST);
            let run = run.env("OWN", &own).env("STORE", &store);
            distrusts(&run.sh(script), exe, alerts);
        }
    }
}
