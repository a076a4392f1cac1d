//! What `awf-bpf check` says and what the proxy does: the same, for random policies and requests.

use super::{super::sni::build::hello, *};
use crate::{
    audit::Decision,
    cli::check::{answer, parse},
    policy::{Reason, tests::random::Random},
};

const NAMES: [&str; 6] = ["x.test", "a.x.test", "b.a.x.test", "y.test", "ax.test", "a.y.test"];
const ADDRESSES: [&str; 3] = ["127.0.0.1", "10.0.0.1", "203.0.113.9"];

/// What a client may do.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tls,
    Http,
    Proxied,
    Connect,
}

fn rule(random: &mut Random) -> String {
    let before = random.one(&["", "", "=", "*.", "https://", "http://", "a*."]);
    let after = random.one(&["", "", ":$P", ":$P", ":443"]);
    match random.below(12) {
        0 => "10.0.0.0/8:$P".to_owned(),
        1 => "203.0.113.9".to_owned(),
        _ => format!("{before}{}{after}", random.one(&NAMES)),
    }
}

/// Answers whatever is sent with an empty response, and closes.
async fn serve(server: TcpListener) {
    while let Ok((mut stream, _)) = server.accept().await {
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        });
    }
}

async fn request(lab: &Lab, way: Way, host: &str, port: u16) {
    let name = host.parse::<IpAddr>().is_err().then_some(host);
    let mut client = match way {
        Way::Tls | Way::Http => lab.transparent(port).await,
        Way::Proxied | Way::Connect => lab.explicit().await,
    };
    let fields = format!("HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    let first = match way {
        Way::Tls => hello(name),
        Way::Http => format!("GET / {fields}").into_bytes(),
        Way::Proxied => format!("GET http://{host}:{port}/ {fields}").into_bytes(),
        // Some clients do not wait for the answer.
        Way::Connect => [format!("CONNECT {host}:{port} {fields}").as_bytes(), &hello(name)].concat(),
    };
    // A connection to a closed port may be reset before anything is sent.
    let _ = client.write_all(&first).await;
    let _ = client.shutdown().await;
    let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
}

/// The refusal that `check` foretells.
/// `served`: whether the server is dialled, so that a CONNECT gets so far as to speak.
fn foretold(policy: &Policy, way: Way, host: &str, port: u16, served: bool) -> Option<Reason> {
    let ask = |target: &str| {
        let question = parse(target).unwrap().remove(0);
        answer(policy, &question, "GET").verdict.err().map(|denied| denied.reason)
    };
    let (tls, http) = (format!("https://{host}:{port}"), format!("http://{host}:{port}"));
    // What is decided before anything was spoken is asked without a protocol.
    let unspoken = || {
        let mut question = parse(&tls).unwrap().remove(0);
        question.protocol = None;
        answer(policy, &question, "GET").verdict.err().map(|denied| denied.reason)
    };
    match way {
        Way::Connect => unspoken().or_else(|| ask(&tls).filter(|_| served)),
        Way::Tls => ask(&tls),
        Way::Http | Way::Proxied => ask(&http),
    }
}

#[tokio::test]
async fn check_and_the_proxy_agree() {
    let mut random = Random(11);
    let mut seen = HashMap::new();
    for _ in 0..60 {
        let (server, port) = listener().await;
        let serving = tokio::spawn(serve(server));
        let parsed =
            |text: &String| Rule::parse(&text.replace("$P", "1"), List::Allow, Place::Flag("-d")).is_ok();
        let mut rules = |most| {
            let count = random.below(most);
            (0..count).map(|_| rule(&mut random)).filter(parsed).collect::<Vec<_>>()
        };
        let (allow, block) = (rules(7), rules(3));
        let allowed: Vec<&str> = allow.iter().map(String::as_str).collect();
        let blocked: Vec<&str> = block.iter().map(String::as_str).collect();
        let lab = Lab::with(port, &allowed, &blocked, Limits::default()).await;
        let policy = policy_of(port, &allowed, &blocked);
        for number in 1..=12 {
            let way = [Way::Tls, Way::Http, Way::Proxied, Way::Connect][random.below(4)];
            let asked_port = [port, port, 443, 80, 9][random.below(5)];
            let explicit = matches!(way, Way::Proxied | Way::Connect);
            let host =
                if explicit && random.below(4) == 0 { random.one(&ADDRESSES) } else { random.one(&NAMES) };
            if host.parse::<IpAddr>().is_err() {
                lab.given(&[host]);
            }
            request(&lab, way, host, asked_port).await;
            let record = lab.records(number).await.remove(number - 1);
            let context = format!("{way:?} {host}:{asked_port} {allow:?} {block:?} {record:#?}");
            let expected = foretold(&policy, way, host, asked_port, asked_port == port);
            match (expected, record.decision) {
                (None, Decision::Allow) => {}
                // Names lead to loopback here, of which one port may be dialled: a judgement that check leaves open.
                (None, Decision::Deny) => {
                    assert!(asked_port != port && record.reason == Reason::ForbiddenAddress, "{context}");
                }
                (Some(reason), decision) => {
                    assert_eq!((decision, record.reason), (Decision::Deny, reason), "{context}");
                }
                (None, Decision::WouldDeny) => panic!("{context}"),
            }
            *seen.entry(expected).or_insert(0) += 1;
        }
        serving.abort();
    }
    assert!(seen.len() >= 6 && seen[&None] > 50, "{seen:?}");
}

/// The policy that [`Lab::with`] makes of the same words.
fn policy_of(port: u16, allow: &[&str], block: &[&str]) -> Policy {
    let rule = |text: &str, list| {
        Rule::parse(&text.replace("$P", &port.to_string()), list, Place::Flag("--allow-domains")).unwrap()
    };
    let allow = allow.iter().chain(&["127.0.0.1:$P", "[::1]:$P"]).map(|text| rule(text, List::Allow));
    let block = block.iter().map(|text| rule(text, List::Block));
    Policy::new(allow.chain(block).collect::<Vec<_>>())
}
