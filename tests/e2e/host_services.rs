//! Services that a CI job has on its host's loopback, and their own clients.

use std::{process::Command, time::Duration};

use harness::{Lab, Process, tools};

use crate::host_ports::both;

const SOON: Duration = Duration::from_secs(20);

/// On the lab's machine, until dropped.
fn serve(lab: &Lab, command: &mut Command, ready: &str) -> Process {
    let server = lab.machine().within(|| Process::spawn(command, Vec::new()));
    server.wait_for_stdout(ready, SOON);
    server
}

#[test]
fn http_and_connect_through_the_proxy_reach_a_host_port() {
    let lab = Lab::new();
    let www = lab.dir().root().join("www");
    std::fs::create_dir(&www).expect("make a directory");
    std::fs::write(www.join("index.html"), "the host's page\n").expect("write a page");
    let mut server = Command::new("/usr/bin/python3");
    server.args(["-u", "-m", "http.server", "-b", "127.0.0.1", "-d"]).arg(&www).arg("8080");
    let _server = serve(&lab, &mut server, "Serving");
    let script = "for name in localhost 127.0.0.1 '[::1]' host.docker.internal; do\n\
        curl -sSf --noproxy '*' http://$name:8080/\n\
        curl -sSf --noproxy '' http://$name:8080/\n\
        curl -sSf --noproxy '' --proxytunnel http://$name:8080/\n\
        done";
    for run in both(&lab, &["--allow-domains", "http://localhost:8080"]) {
        let out = run.sh(script);
        out.ok().stdout_is(&"the host's page\n".repeat(12));
        // It is HTTP that was allowed.
        run.sh("exec 3<>/dev/tcp/127.0.0.1/8080; printf 'PING\\r\\n' >&3; ! read -r line <&3").ok();
    }
}

/// A real Redis, as a CI job has it.
#[test]
fn redis_cli_reaches_the_hosts_redis() {
    let lab = Lab::new();
    let _ = tools::require("redis-cli");
    // Debian's redis-tools has the server's program under another name; it looks at its own name.
    let mut server = Command::new("bash");
    let start = "exec -a redis-server redis-check-rdb --port 6379 --bind 127.0.0.1 --save '' --dir /";
    server.env("PATH", tools::PATH).args(["-c", start]);
    let _server = serve(&lab, &mut server, "Ready to accept connections");
    let script = "for host in localhost 127.0.0.1 ::1 host.docker.internal; do\n\
        redis-cli -h $host set key $host; redis-cli -h $host get key\n\
        done";
    let expected = "OK\nlocalhost\nOK\n127.0.0.1\nOK\n::1\nOK\nhost.docker.internal\n";
    for run in both(&lab, &["--allow-host-service-ports", "6379"]) {
        run.sh(script).ok().stdout_is(expected);
    }
    for run in both(&lab, &["--allow-host-service-ports", "5432"]) {
        run.sh("redis-cli -h localhost get key").fails().fast();
    }
}

/// So much of PostgreSQL's protocol that psql is content: no encryption, no password, one row.
const POSTGRES: &str = r#"
import socketserver, struct
def message(kind, body): return kind + struct.pack(">I", len(body) + 4) + body
READY = message(b"Z", b"I")
ROW = message(b"T", struct.pack(">H", 1) + b"answer\0" + struct.pack(">IHIHIH", 0, 0, 25, 65535, 0, 0)) \
    + message(b"D", struct.pack(">HI", 1, 2) + b"42") + message(b"C", b"SELECT 1\0") + READY
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            length, code = struct.unpack(">II", self.rfile.read(8))
            self.rfile.read(length - 8)
            if code == 196608: break
            self.wfile.write(b"N")
        self.wfile.write(message(b"R", struct.pack(">I", 0)) + message(b"S", b"client_encoding\0UTF8\0") + READY)
        while (kind := self.rfile.read(1)) == b"Q":
            self.rfile.read(struct.unpack(">I", self.rfile.read(4))[0] - 4)
            self.wfile.write(ROW)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
server = Server(("127.0.0.1", 5432), Handler)
print("serving", flush=True)
server.serve_forever()
"#;

#[test]
fn psql_reaches_the_hosts_postgresql() {
    let lab = Lab::new();
    let _ = tools::require("psql");
    let mut server = Command::new("/usr/bin/python3");
    let _server = serve(&lab, server.args(["-c", POSTGRES]), "serving");
    let script = "for host in localhost 127.0.0.1 ::1 host.docker.internal; do\n\
        psql -h $host -U ci -d ci -Atc 'select answer'\n\
        done";
    for run in both(&lab, &["--allow-host-service-ports", "5432"]) {
        run.sh(script).ok().stdout_is("42\n42\n42\n42\n");
    }
    for run in both(&lab, &["--allow-host-service-ports", "6379"]) {
        run.run(&["psql", "-h", "localhost", "-U", "ci", "-d", "ci", "-Atc", "select 1"]).fails().fast();
    }
}
