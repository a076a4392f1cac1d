//! The failures this firewall was founded on, each a test by name: what broke elsewhere cannot break here.

use harness::{Lab, hosts};

use crate::clients::JAVA;

/// Elsewhere: a redirected IPv6 connection met a proxy that expected CONNECT; the ClientHello was garbage to it.
#[test]
fn ipv6_reaches_the_proxy_as_raw_bytes_on_loopback_and_is_understood() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    for url in ["https://allowed.test/", "http://allowed.test/"] {
        run.run(&["curl", "-sS", "-6", url]).ok().stdout_is("hello from allowed.test\n");
    }
    let v6 = hosts::v6("allowed.test");
    // A ClientHello in pieces of a few bytes, as a TCP stream may always come.
    let script = format!(
        "import socket, ssl\n\
         raw = socket.create_connection(('{v6}', 443)); raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n\
         into, out = ssl.MemoryBIO(), ssl.MemoryBIO()\n\
         tls = ssl.create_default_context().wrap_bio(into, out, server_hostname='allowed.test')\n\
         while True:\n\
         \x20   try: tls.do_handshake(); done = True\n\
         \x20   except ssl.SSLWantReadError: done = False\n\
         \x20   data = out.read()\n\
         \x20   for i in range(0, len(data), 7): raw.sendall(data[i:i+7])\n\
         \x20   if done: break\n\
         \x20   into.write(raw.recv(65536))\n\
         print(tls.version())"
    );
    run.run(&["/usr/bin/python3", "-c", &script]).ok().stdout_is("TLSv1.3\n").allowed("allowed.test");
}

/// Elsewhere: rules for IPv4 alone, and IPv6 went around them.
#[test]
fn ipv6_bypasses_nothing() {
    let lab = Lab::new();
    let v6 = hosts::v6("denied.test");
    let attempts = [
        format!("curl -sS -m 8 --noproxy '*' --resolve 'denied.test:443:[{v6}]' https://denied.test/"),
        format!("curl -sS -m 8 --noproxy '*' --resolve 'denied.test:80:[{v6}]' -f http://denied.test/"),
        format!("curl -sS -m 8 --noproxy '*' -k 'https://[{v6}]:8443/'"),
        format!("curl -sS -m 8 --noproxy '*' -f 'http://[{v6}]/'"),
        format!("curl -sS -m 8 --noproxy '*' -f 'http://[::ffff:{}]/'", hosts::v4("denied.test")),
        format!("exec 3<>/dev/tcp/{v6}/5432; echo marker >&3; timeout 20 cat <&3 | grep marker"),
    ];
    for attempt in &attempts {
        let out = lab.awf().allow("allowed.test").sh(attempt);
        out.fails()
            .check(!out.records(&[("decision", "deny".into())]).is_empty(), || "a denial on record".into());
    }
    lab.assert_not_dialled("denied.test");
    // The same without the firewall gets through, or the silence above proves nothing.
    for attempt in &attempts[..2] {
        lab.bare().sh(attempt).ok();
    }
}

/// Elsewhere: sudo, cron, a shell with `env -i` or a program that ignores them dropped the proxy variables.
#[test]
fn proxy_variables_lost_change_nothing() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    for prefix in
        ["env -i", "env -u https_proxy -u HTTPS_PROXY", "https_proxy= HTTPS_PROXY= no_proxy='*' NO_PROXY='*'"]
    {
        let fetch = |host: &str| format!("{prefix} /usr/bin/curl -sS https://{host}/");
        run.sh(&fetch("allowed.test")).ok().stdout_is("hello from allowed.test\n");
        run.sh(&fetch("denied.test")).fails().fast().denied("denied.test", "not_in_allowlist");
    }
    lab.assert_untouched("denied.test");
}

/// The sentence upstream cannot say.
#[test]
fn node_fetch_and_java_work_without_one_environment_variable() {
    let lab = Lab::new();
    lab.trust_in_java();
    lab.dir().file("Fetch.java", JAVA);
    lab.dir().file("fetch.mjs", "console.log(await (await fetch(process.argv[2])).text())");
    let run = lab.awf().allow("allowed.test");
    let clients =
        [["/usr/bin/java", "Fetch.java"].as_slice(), &["/usr/bin/node", "--use-openssl-ca", "fetch.mjs"]];
    for client in clients {
        let fetch = |run: &harness::Run<'_>, url| run.run(&[&["env", "-i"], client, &[url]].concat());
        fetch(&lab.bare(), "https://allowed.test/").ok();
        for url in ["https://allowed.test/", "http://allowed.test/"] {
            fetch(&run, url).ok().stdout_is("hello from allowed.test\n\n").allowed("allowed.test");
        }
        fetch(&run, "https://denied.test/").fails().denied("denied.test", "not_in_allowlist");
    }
    lab.assert_not_dialled("denied.test");
}
