//! Services on the machine's loopback, reached through `--allow-host-ports`, and only so.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
};

use harness::{Lab, Output, Run, hosts, tools};

/// On the machine's loopback: says hello to whoever connects, and echoes one line.
fn greeter(lab: &Lab, at: &str, hello: &'static str) {
    let listener = lab.machine().within(|| TcpListener::bind(at)).unwrap_or_else(|e| panic!("{at}: {e}"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut line = [0; 64];
                // A client that leaves is the test's business.
                let _ = writeln!(stream, "{hello}");
                let read = stream.read(&mut line).unwrap_or(0);
                let _ = stream.write_all(&line[..read]);
            });
        }
    });
}

/// Asks each `host port` for its first line, within one run: `HOST PORT: LINE`, or nothing behind the colon.
fn ask(run: &Run<'_>, places: &[(&str, u16)]) -> Output {
    let script = r#"
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(" ", 1)
    line = b""
    try:
        with socket.create_connection((host, int(port)), 10) as s:
            line = s.makefile("rb").readline().strip()
    except OSError as e:
        print(e, file=sys.stderr)
    print(f"{host} {port}: {line.decode()}", flush=True)
"#;
    let places: Vec<_> = places.iter().map(|(host, port)| format!("{host} {port}")).collect();
    let mut argv = vec!["/usr/bin/python3", "-c", script];
    argv.extend(places.iter().map(String::as_str));
    run.clone().run(&argv)
}

fn lines(places: &[(&str, u16)], hello: &str) -> String {
    let line = |(host, port): &(&str, u16)| format!("{host} {port}: {hello}\n");
    places.iter().map(line).collect()
}

const NAMES: [&str; 6] =
    ["localhost", "127.0.0.1", "::1", "host.docker.internal", "0.0.0.0", "::ffff:127.0.0.1"];

/// In both networks.
pub(crate) fn both<'lab>(lab: &'lab Lab, flags: &[&str]) -> [Run<'lab>; 2] {
    [lab.awf().args(flags), lab.awf().args(flags).host_network()]
}

#[test]
fn a_host_port_is_reached_by_every_name_of_the_host() {
    let lab = Lab::new();
    greeter(&lab, "127.0.0.1:8000", "hello from four");
    let places = NAMES.map(|name| (name, 8000));
    for run in both(&lab, &["--allow-host-ports", "8000-8010"]) {
        let out = ask(&run, &places);
        out.ok().stdout_is(&lines(&places, "hello from four"));
        let record = [("host", "localhost".into()), ("rule", "--allow-host-ports 8000-8010".into())];
        let found = out.records(&record);
        out.check(found.len() == places.len(), || "a record of each".into());
        out.check(found.iter().all(|r| r["port"] == 8000 && r["ip"] == "127.0.0.1"), || {
            "to 127.0.0.1".into()
        });
    }
    assert!(lab.queries().all().is_empty(), "the names of the host are asked of nobody");
}

#[test]
fn a_service_of_one_family_is_reached_through_the_other() {
    let lab = Lab::new();
    greeter(&lab, "127.0.0.1:8000", "four");
    greeter(&lab, "[::1]:8001", "six");
    greeter(&lab, "127.0.0.1:8002", "four of two");
    greeter(&lab, "[::1]:8002", "six of two");
    let places = [("::1", 8000), ("127.0.0.1", 8001), ("127.0.0.1", 8002), ("::1", 8002), ("::", 8002)];
    let expected = "::1 8000: four\n127.0.0.1 8001: six\n127.0.0.1 8002: four of two\n::1 8002: six of two\n:: 8002: six of two\n";
    for run in both(&lab, &["--allow-host-ports", "8000,8001", "--allow-host-ports", "8002"]) {
        ask(&run, &places).ok().stdout_is(expected);
    }
}

/// The attack: scanning the host's loopback, from the edges of a range on.
#[test]
fn every_other_port_of_the_host_stays_shut() {
    let lab = Lab::new();
    for port in [22, 7999, 8000, 8010, 8011, 5432] {
        greeter(&lab, &format!("127.0.0.1:{port}"), "four");
        greeter(&lab, &format!("[::1]:{port}"), "six");
    }
    greeter(&lab, "127.0.0.53:8000", "another loopback address");
    greeter(&lab, "198.51.100.1:8000", "the machine's own address");
    let shut = [
        ("127.0.0.1", 22),
        ("localhost", 7999),
        ("::1", 7999),
        ("127.0.0.1", 8011),
        ("host.docker.internal", 8011),
        ("0.0.0.0", 5432),
        ("::ffff:127.0.0.1", 5432),
        ("127.0.0.53", 8000),
        ("::ffff:127.0.0.53", 8000),
        ("198.51.100.1", 8000),
        ("2001:db8:1::1", 8000),
    ];
    let open = [("127.0.0.1", 8000), ("127.0.0.1", 8010)];
    for run in both(&lab, &["--allow-host-ports", "8000-8010"]) {
        let out = ask(&run, &[&shut[..], &open[..]].concat());
        out.ok().fast().stdout_is(&(lines(&shut, "") + &lines(&open, "four")));
    }
    // In the host's namespace the kernel refuses, and says which flag would open it.
    let out = ask(
        &lab.awf().host_network().args(["--allow-host-ports", "8000"]),
        &[("127.0.0.1", 5432), ("::1", 7999)],
    );
    out.stderr_contains("--allow-host-ports 7999").stderr_contains("--allow-host-service-ports 5432");
    for port in [5432, 7999] {
        let found = out.records(&[("reason", "host_port_refused".into()), ("port", port.into())]);
        out.check(found.len() == 1, || format!("one refusal of port {port}"));
    }
}

/// The attack: the proxy as a way around the kernel, in every spelling of a loopback address.
#[test]
fn the_proxy_reaches_no_other_port_or_address_of_the_host() {
    let lab = Lab::new();
    for address in ["127.0.0.1:7999", "[::1]:7999", "127.0.0.1:8000", "127.0.0.53:8000", "198.51.100.1:8000"]
    {
        greeter(&lab, address, "reached");
    }
    let script = r#"
import os, socket, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
for target in sys.argv[1:]:
    for head in (f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n", f"GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"):
        with socket.create_connection((proxy.hostname, proxy.port), 10) as s:
            s.settimeout(10)
            s.sendall(head.encode())
            answer = b""
            try:
                while b"reached" not in answer and (more := s.recv(65536)):
                    answer += more
            except OSError:
                pass
            if b"reached" in answer:
                print(target, head.split()[0])
"#;
    let shut = [
        "localhost:7999",
        "127.0.0.1:7999",
        "[::1]:7999",
        "127.0.0.53:8000",
        "[::ffff:127.0.0.53]:8000",
        "[::ffff:7f00:35]:8000",
        "127.1:8000",
        "0x7f.1:8000",
        "0x7f000001:8000",
        "2130706433:8000",
        "017700000001:8000",
        "0177.0.0.1:8000",
        "127.0.0.1.:8000",
        "%31%32%37.0.0.1:8000",
        "[::1%25lo]:8000",
        "[::127.0.0.1]:8000",
        "[64:ff9b::7f00:1]:8000",
        "198.51.100.1:8000",
        "[2001:db8:1::1]:8000",
        "machine.test:8000",
        "loopback.test:8000",
        "127.0.0.1:8000@allowed.test:80",
        "allowed.test:8000",
    ];
    for run in both(
        &lab,
        &[
            "--allow-host-ports",
            "8000",
            "--allow-domains",
            "allowed.test,loopback.test:8000,machine.test:8000",
        ],
    ) {
        let mut argv = vec!["/usr/bin/python3", "-c", script];
        argv.extend(shut);
        run.clone().run(&argv).ok().stdout_is("");
        // And that the attack would be seen.
        run.run(&["/usr/bin/python3", "-c", script, "127.0.0.1:8000", "host.docker.internal:8000"])
            .ok()
            .stdout_is("127.0.0.1:8000 CONNECT\nhost.docker.internal:8000 CONNECT\n");
    }
}

#[test]
fn the_commands_own_servers_work_beside_host_ports_and_the_hosts_wins_on_one() {
    let lab = Lab::new();
    greeter(&lab, "127.0.0.1:8000", "the host's");
    let script = r#"
import socket, threading
def serve(at, port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((at, port)); s.listen()
    def loop():
        while True:
            c, _ = s.accept(); c.sendall(b"the command's\n"); c.close()
    threading.Thread(target=loop, daemon=True).start()
def ask(at, port):
    with socket.create_connection((at, port), 10) as s: print(at, port, s.makefile().readline().strip())
for at, port in [("127.0.0.1", 8000), ("127.0.0.1", 8001), ("127.0.0.2", 8000)]:
    serve(at, port)
for at, port in [("127.0.0.1", 8000), ("127.0.0.1", 8001), ("127.0.0.2", 8000)]:
    ask(at, port)
"#;
    let run = lab.awf().args(["--allow-host-ports", "8000"]);
    run.run(&["/usr/bin/python3", "-c", script])
        .ok()
        .stdout_is("127.0.0.1 8000 the host's\n127.0.0.1 8001 the command's\n127.0.0.2 8000 the command's\n");
}

#[test]
fn udp_to_a_host_port_reaches_nothing() {
    let lab = Lab::new();
    let bind = || std::net::UdpSocket::bind("127.0.0.1:8000").expect("bind on the machine");
    let socket = lab.machine().within(bind);
    socket.set_nonblocking(true).expect("make it non-blocking");
    for run in both(&lab, &["--allow-host-ports", "8000"]) {
        run.sh("echo leak > /dev/udp/127.0.0.1/8000 || true; echo leak > /dev/udp/localhost/8000 || true")
            .ok();
        assert!(socket.recv(&mut [0; 16]).is_err(), "a datagram came through");
    }
}

/// The attack: a range that covers the listeners of another run, which in the host's namespace are on its loopback.
#[test]
fn another_runs_proxy_and_resolver_are_no_host_services() {
    let lab = Lab::new();
    let other = lab.awf().allow("denied.test").host_network();
    let script = "echo $HTTPS_PROXY; grep -h '' /proc/net/tcp; echo ready; sleep 1000";
    let process = other.spawn(&["bash", "-c", script]);
    let said = process.wait_for_stdout("ready", std::time::Duration::from_secs(20));
    let proxy: SocketAddr = said
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("http://")?.trim_end_matches('/').parse().ok())
        .expect("an address");
    // Listening sockets of the machine's loopback: the other run's proxy and resolver.
    let listening: Vec<u16> = said
        .lines()
        .filter(|line| line.contains(" 0100007F:") && line.contains(" 0A "))
        .filter_map(|line| u16::from_str_radix(line.split_whitespace().nth(1)?.split(':').nth(1)?, 16).ok())
        .collect();
    assert!(listening.contains(&proxy.port()) && listening.len() >= 2, "{listening:?}");
    let attack = r#"
import socket, struct, sys
query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x06denied\x04test\0" + struct.pack(">HH", 1, 1)
for port in map(int, sys.argv[1:]):
    for bytes in (b"GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n", struct.pack(">H", len(query)) + query):
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as s:
                s.sendall(bytes)
                answer = s.recv(1024)
        except OSError:
            answer = b""
        if answer: print(port, answer[:200])
"#;
    let ports: Vec<String> = listening.iter().map(ToString::to_string).collect();
    let mut argv = vec!["/usr/bin/python3", "-c", attack];
    argv.extend(ports.iter().map(String::as_str));
    for run in both(&lab, &["--allow-host-ports", &ports.join(",")]) {
        let before = lab.queries().all().len();
        let out = run.run(&argv);
        out.ok().fast();
        // 502 of our own proxy says that nobody answered; what denied.test or the other resolver says would differ.
        out.check(!out.stdout().contains("hello from"), || "no page of denied.test".into());
        assert_eq!(lab.queries().all().len(), before, "a name was asked for");
    }
    lab.assert_not_dialled("denied.test");
}

#[test]
fn a_mistake_in_the_ports_is_said_and_nothing_runs() {
    let lab = Lab::new();
    for (flags, said) in [
        (["--allow-host-ports", "6379"], "--allow-host-service-ports 6379"),
        (["--allow-host-ports", "3000-10000"], "port 3306 (MySQL)"),
        (["--allow-host-ports", "080"], "without leading zeros"),
        (["--allow-host-ports", "53"], "awf-bpf itself"),
        (["--allow-host-service-ports", "1-2"], "--allow-host-ports"),
        (["--allow-domains", "localhost"], "--allow-host-ports 3000"),
        (["--allow-domains", "localhost:22"], "--allow-host-service-ports 22"),
    ] {
        lab.awf().args(flags).run(&["echo", "it ran"]).code(125).stdout_is("").stderr_contains(said);
    }
    lab.awf().args(["--enable-host-access"]).run(&["echo", "it ran"]).ok().stdout_is("it ran\n");
}

/// The attack: an address that this host did not have when the run began, as it is or through a NAT64.
#[test]
fn an_address_that_the_host_gets_later_is_its_own() {
    let lab = Lab::new();
    let go = lab.dir().work().join("go");
    let script = "fetch() { for n in allowed.test v6only.test nat64.test; do curl -sS -m 10 http://$n/; done; true; }\n\
        fetch; mkfifo go; echo waiting; read -r _ < go; fetch";
    let run = lab.awf().allow("allowed.test,v6only.test,nat64.test").no_proxy_env();
    let process = run.spawn(&["bash", "-c", script]);
    let said = process.wait_for_stdout("waiting", std::time::Duration::from_secs(20));
    assert_eq!(said.matches("hello from").count(), 3, "{said}");
    let embedded = std::net::IpAddr::from([203, 0, 113, 44]);
    let mut listeners = Vec::new();
    lab.machine().within(|| {
        let (both, six) = (hosts::host("allowed.test"), hosts::host("v6only.test"));
        for addr in both.addrs().chain(six.addrs()).chain([embedded]) {
            let mut ip = std::process::Command::new(tools::require("ip"));
            let nodad = if addr.is_ipv6() { &["nodad"][..] } else { &[] };
            tools::succeed(ip.args(["addr", "add", &addr.to_string(), "dev", "lo"]).args(nodad));
            listeners.push(TcpListener::bind((addr, 80)).expect("listen on the new address"));
        }
    });
    std::fs::write(&go, "go\n").expect("write to the fifo");
    let out = run.finish(process);
    out.ok().check(out.stdout().matches("hello from").count() == 3, || "no answer afterwards".into());
    for host in ["allowed.test", "v6only.test", "nat64.test"] {
        let refused =
            [("event", "request".into()), ("host", host.into()), ("reason", "forbidden_address".into())];
        out.check(out.records(&refused).len() == 1, || format!("one refusal of {host}"));
    }
    for listener in listeners {
        listener.set_nonblocking(true).expect("make it non-blocking");
        assert!(listener.accept().is_err(), "the new address was dialled");
    }
}
