//! The certificate is for what the client dialled, whatever that is: five clients check it, none is told not to.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use harness::{Lab, hosts, hosts::LONG_NAME};
use rustls::{ServerConnection, StreamOwned};

use super::HELLO;
use crate::clients::JAVA;

/// Python 3.11 asks for CONNECT to an IPv6 address without brackets, which is no valid target: it is kept from that.
const PYTHON: &str = "/usr/bin/python3 -c 'import sys, urllib.request as r
proxies = r.ProxyHandler({} if \"[\" in sys.argv[1] else None)
print(r.build_opener(proxies).open(sys.argv[1]).read().decode())' $1";

/// Each prints what `$1` answers.
const CLIENTS: [(&str, &str); 5] = [
    ("curl", "curl -sS $1"),
    ("node", "node -e 'require(\"https\").get(process.argv[1], r => r.pipe(process.stdout))' $1"),
    ("python", PYTHON),
    ("java", "java Fetch.java $1"),
    ("go", "./get $1"),
];

fn lab() -> Lab {
    let lab = Lab::new();
    lab.trust_in_java();
    lab.dir().file("Fetch.java", JAVA);
    super::build_go_client(&lab);
    lab
}

/// Every client gets every URL, with proxy variables and without, behind these flags.
fn check(lab: &Lab, flags: &[&str], urls: &[String]) {
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    for proxy_env in ["auto", "none"] {
        for (name, script) in CLIENTS {
            let script = format!("for url; do set -- $url; {script}; done");
            let run = lab.awf().args(["--tls", "on", "--proxy-env", proxy_env]).args(flags.iter().copied());
            let out = run.run(&[&["bash", "-ec", &script, name], &*urls].concat());
            let served = out.ok().stdout().matches(HELLO).count();
            out.check(served == urls.len(), || format!("{name}: {} times {HELLO:?}", urls.len()));
            let records = out.records(&[("event", "request".into()), ("decision", "allow".into())]);
            out.check(records.len() == urls.len(), || format!("{name}: a record of each request"));
        }
    }
}

#[test]
fn names_of_every_length_and_depth() {
    let names = ["allowed.test", "sub.allowed.test", "ALLOWED.Test", LONG_NAME];
    check(&lab(), &["--allow-domains", "allowed.test"], &names.map(|name| format!("https://{name}/")));
}

#[test]
fn addresses_of_both_families() {
    let (v4, v6) = (hosts::v4("allowed.test"), hosts::v6("allowed.test"));
    let urls = [format!("https://{v4}/"), format!("https://[{v6}]/"), format!("https://[{v6}]:8443/")];
    let rules = format!("{v4}:443,[{v6}]:443,[{v6}]:8443");
    check(&lab(), &["--allow-domains", &rules], &urls);
}

/// On the machine's loopback, as a developer's server: TLS that the lab's CA vouches for.
fn serve_on_loopback(lab: &Lab, at: &str) {
    let listener = lab.machine().within(|| TcpListener::bind(at)).unwrap_or_else(|e| panic!("{at}: {e}"));
    let config = lab.pki().server_config(&[]);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), config) = (stream, Arc::clone(&config)) else { return };
            thread::spawn(move || {
                let connection = ServerConnection::new(config).expect("the configuration is complete");
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                let mut line = String::new();
                // A client that leaves is the test's business.
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let body = format!("{HELLO}localhost\n");
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let stream = stream.get_mut();
                let _ = stream.write_all((head + &body).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
}

#[test]
fn localhost_by_its_name_and_its_addresses() {
    let lab = lab();
    serve_on_loopback(&lab, "127.0.0.1:9443");
    serve_on_loopback(&lab, "[::1]:9443");
    let urls = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("https://{host}:9443/"));
    check(&lab, &["--allow-host-ports", "9443"], &urls);
}
