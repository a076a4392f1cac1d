//! The resolver, with dig and with the C library: records, servers, search lists, tunnels.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
};

use harness::{Lab, Output, hosts, machine};

/// The questions the lab's server got: name and type.
fn asked(lab: &Lab) -> Vec<(String, String)> {
    lab.queries().all().into_iter().map(|query| (query.name, query.kind)).collect()
}

#[test]
fn service_records_lose_what_would_lead_around_the_proxy() {
    let lab = Lab::new();
    let address = hosts::v4("allowed.test");
    let run = lab.awf().allow("allowed.test");
    let out = run.run(&["dig", "+short", "allowed.test", "HTTPS"]);
    out.ok().fast().stdout_is(&format!("1 . alpn=\"h2\" ipv4hint={address}\n")).allowed("allowed.test");
    // The other way round: bare, it is all there.
    let bare = lab.bare().run(&["dig", "+short", &format!("@{}", hosts::DNS_V4), "allowed.test", "HTTPS"]);
    bare.ok().stdout_contains("h3").stdout_contains("ech=");
}

#[test]
fn records_are_answered_by_rule_only() {
    let lab = Lab::new();
    let run = lab.awf().args(["--allow-dns", "TXT:allowed.test", "--allow-dns", "MX+SRV:=other.test"]);
    run.run(&["dig", "+short", "sub.allowed.test", "TXT"]).ok().stdout_is("\"text of sub.allowed.test\"\n");
    for (name, kind) in
        [("allowed.test", "A"), ("other.test", "TXT"), ("denied.test", "TXT"), ("allowed.test", "ANY")]
    {
        run.run(&["dig", name, kind]).ok().fast().stdout_contains("EDE").stdout_contains("ANSWER: 0");
    }
    assert_eq!(asked(&lab), [("sub.allowed.test".to_owned(), "TXT".to_owned())]);
    let out = lab.awf().args(["--allow-dns", "ANY:allowed.test"]).run(&["true"]);
    out.code(125).stderr_contains("asks for records of the type \"ANY\", which cannot be allowed");
}

#[test]
fn names_are_asked_for_over_tls_and_never_in_clear_text_instead() {
    let lab = Lab::new();
    let server = hosts::DNS_V4;
    let over_tls = |name: &str| {
        let run = lab.awf().machine_dns().allow("allowed.test").no_proxy_env();
        run.args(["--dns-servers".to_owned(), format!("tls://{server}#{name}")]).run(&[
            "curl",
            "-sS",
            "https://allowed.test/",
        ])
    };
    over_tls("dual.test").ok().allowed("allowed.test");
    let queries = lab.queries().all();
    assert!(!queries.is_empty() && queries.iter().all(|query| query.tcp), "{queries:#?}");
    let before = queries.len();
    // The server has no certificate for this name.
    over_tls("nobody.test").fails().fast().stderr_contains("tls://203.0.113.53:853#nobody.test");
    assert_eq!(lab.queries().all().len(), before, "nothing was asked for, encrypted or not");
}

#[test]
fn one_family_of_servers_is_enough_and_a_dead_one_is_passed_over() {
    let lab = Lab::new();
    for servers in [
        hosts::DNS_V4.to_string(),
        hosts::DNS_V6.to_string(),
        format!("{},{}", hosts::BLACK_HOLE_V6, hosts::DNS_V4),
        format!("tcp://[{}]", hosts::DNS_V6),
    ] {
        let run = lab.awf().machine_dns().allow("v4only.test,v6only.test").no_proxy_env();
        let run = run.args(["--dns-servers", &servers]);
        let out = run.sh("curl -sS http://v4only.test/ && curl -sS http://v6only.test/");
        out.ok().stdout_contains("v4only.test").stdout_contains("v6only.test");
    }
}

/// The machine's resolv.conf is the command's: glibc walks its search list, and what that makes up does not leave.
#[test]
fn names_made_up_by_a_search_list_do_not_leave() {
    let lab = Lab::new();
    let conf = lab.dir().root().join("search.conf");
    let text = format!("nameserver {}\nsearch corp.test denied.test test\noptions ndots:5\n", hosts::DNS_V4);
    fs::write(&conf, text).expect("write a resolv.conf");
    machine::cover(lab.machine(), Path::new("/etc/resolv.conf"), &conf);
    let script = "import socket\n\
        for name in ('allowed.test', 'allowed', 'denied.test', 'nowhere'):\n\
        \x20   try: print(name, len({a[4][0] for a in socket.getaddrinfo(name, 80)}))\n\
        \x20   except socket.gaierror as e: print(name, e.errno == socket.EAI_NONAME)";
    let out = lab.awf().allow("allowed.test").run(&["/usr/bin/python3", "-c", script]);
    out.ok().fast().stdout_is("allowed.test 2\nallowed 2\ndenied.test True\nnowhere True\n");
    let mut asked = asked(&lab);
    asked.sort();
    asked.dedup();
    let expected = ["A", "AAAA"].map(|kind| ("allowed.test".to_owned(), kind.to_owned()));
    assert_eq!(asked, expected, "only what is allowed, whatever the search list makes of it");
}

/// Some name was looked up in vain.
fn unresolved(out: &Output) {
    let failed = out.records(&[("reason", "resolve_failed".into())]);
    out.check(!failed.is_empty(), || "a record with the reason resolve_failed".into());
}

/// A machine whose resolv.conf names nobody.
fn without_servers(lab: &Lab) {
    let conf = lab.dir().root().join("none.conf");
    fs::write(&conf, "search corp.test\nnameserver dns.corp.test\n").expect("write a resolv.conf");
    machine::cover(lab.machine(), Path::new("/etc/resolv.conf"), &conf);
}

#[test]
fn without_a_name_server_the_command_runs_and_only_names_are_refused() {
    let lab = Lab::new();
    without_servers(&lab);
    let script =
        "curl -sS http://203.0.113.10/ && ! curl -sS https://allowed.test/ && ! getent hosts allowed.test";
    for host_network in [false, true] {
        let run = lab.awf().machine_dns().allow("allowed.test,203.0.113.10");
        let run = if host_network { run.host_network() } else { run };
        let out = run.sh(script);
        unresolved(out.ok().fast());
        out.stderr_contains("/etc/resolv.conf names no name server")
            .stderr_contains("line 2 of /etc/resolv.conf");
    }
    // A name server that has a name itself is no better off; by its address it is asked.
    let run = lab.awf().machine_dns().allow("allowed.test").no_proxy_env();
    let fetch = ["curl", "-sS", "https://allowed.test/"];
    let blind = run.clone().args(["--dns-over-https", "https://dual.test/"]);
    unresolved(blind.run(&fetch).fails().fast());
    assert_eq!(asked(&lab), [], "nobody was asked");
    let server = format!("tls://{}#dual.test", hosts::DNS_V4);
    run.args(["--dns-servers", &server]).run(&fetch).ok().allowed("allowed.test");
}

/// libc's default, but not where the command could be what answers on 127.0.0.1.
#[test]
fn the_default_server_is_asked_from_outside_of_the_commands_network_only() {
    let lab = Lab::new();
    without_servers(&lab);
    let fetch = ["curl", "-sS", "https://allowed.test/"];
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).expect("listen on 127.0.0.1");
    let (front, back) = lab.machine().within(|| (bind(), UdpSocket::bind("0.0.0.0:0").expect("a socket")));
    let run = lab.awf().machine_dns().allow("allowed.test");
    unresolved(run.clone().host_network().run(&fetch).fails().fast());
    front.set_nonblocking(true).expect("not wait");
    assert_eq!(front.recv(&mut [0; 512]).map_err(|e| e.kind()), Err(ErrorKind::WouldBlock), "it was asked");

    front.set_nonblocking(false).expect("wait");
    back.connect((hosts::DNS_V4, 53)).expect("towards the server");
    // A server of the machine's own, until this process ends: it asks the lab's.
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let (len, from) = front.recv_from(&mut bytes)?;
            back.send(&bytes[..len])?;
            let len = back.recv(&mut bytes)?;
            front.send_to(&bytes[..len], from)?;
        }
    });
    run.run(&fetch).ok().allowed("allowed.test");
}

/// Data inside of names below an allowed domain, by the resolver and by CONNECT.
#[test]
fn a_tunnel_below_an_allowed_domain_is_refused_as_such() {
    let lab = Lab::new();
    let script = "import hashlib, os, socket, urllib.parse\n\
        label = lambda n: hashlib.sha256(b'%d' % n).hexdigest()[:56]\n\
        for n in range(80):\n\
        \x20   try: socket.getaddrinfo(label(n) + '.allowed.test', 80, socket.AF_INET)\n\
        \x20   except socket.gaierror: pass\n\
        proxy = urllib.parse.urlsplit(os.environ['http_proxy'])\n\
        for n in range(80, 90):\n\
        \x20   s = socket.create_connection((proxy.hostname, proxy.port))\n\
        \x20   h = label(n).encode() + b'.allowed.test:443'\n\
        \x20   s.sendall(b'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' % (h, h))\n\
        \x20   s.makefile('rb').read()";
    let out = lab.awf().allow("allowed.test").run(&["/usr/bin/python3", "-c", script]);
    out.ok().reason("dns_tunnelling");
    let by_proxy = out.records(&[("reason", "dns_tunnelling".into()), ("event", "connection".into())]);
    let by_proxy = by_proxy.len()
        + out.records(&[("reason", "dns_tunnelling".into()), ("event", "request".into())]).len();
    assert!(by_proxy > 0, "{out}");
    let left = asked(&lab).into_iter().filter(|(name, _)| name != "allowed.test").count();
    assert!(left < 60, "{left} of 90 names left");
}

#[test]
fn a_flood_of_equal_questions_is_one_record_with_a_count() {
    let lab = Lab::new();
    let script = "import socket\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.connect(('198.51.100.9', 53))\n\
        q = b'\\x12\\x34\\x01\\x00\\x00\\x01\\0\\0\\0\\0\\0\\0\\x06denied\\x04test\\0\\0\\x01\\0\\x01'\n\
        for n in range(3000): s.send(q); s.recv(512)";
    let out = lab.awf().allow("allowed.test").run(&["/usr/bin/python3", "-c", script]);
    let records = out.ok().records(&[("host", "denied.test".into()), ("event", "dns".into())]);
    let counted: u64 = records.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(counted, 3000);
    assert!(records.len() < 20 && records[0]["count"].is_null(), "{records:#?}");
    assert!(out.stderr().contains("3000"), "the summary counts them all\n{out}");
}

/// What is lost in a burst is asked again after five seconds only, by all of them at once.
#[test]
fn six_hundred_threads_look_a_name_up_at_once() {
    let lab = Lab::new();
    let script = "import socket, threading\n\
        together, found = threading.Barrier(600), []\n\
        def look():\n\
        \x20   together.wait()\n\
        \x20   found.append(socket.getaddrinfo('allowed.test', 80, type=socket.SOCK_STREAM))\n\
        threading.stack_size(128 * 1024)\n\
        threads = [threading.Thread(target=look) for _ in range(600)]\n\
        for thread in threads: thread.start()\n\
        for thread in threads: thread.join()\n\
        print(len(found))";
    lab.awf().allow("allowed.test").run(&["/usr/bin/python3", "-c", script]).ok().stdout_is("600\n").fast();
}

#[test]
fn an_address_is_never_looked_up() {
    let lab = Lab::new();
    let run = lab.awf().allow("203.0.113.10,[2001:db8:2::10]:80").no_proxy_env();
    let script = "curl -sS http://203.0.113.10/ && curl -sS 'http://[2001:db8:2::10]/' && ! curl -sf http://203.0.113.20/ && \
                  ! getent hosts 203.0.113.10 && ! dig +short -x 203.0.113.10 | grep .";
    run.sh(script).ok().reason("dns_type_refused");
    assert_eq!(asked(&lab), [], "neither by the proxy nor for the command");
}
