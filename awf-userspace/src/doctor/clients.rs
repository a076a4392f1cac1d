//! The clients that are tried: how each says that it is there, and how it fetches. Scripts for bash; `$URL` has an address,
//! `$NAMED` localhost, `$T` is a directory of its own.

/// One client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Prints its version, and fails or prints none if it is not installed.
    pub(super) version: &'static str,
    pub(super) fetch: &'static str,
}

const fn client(name: &'static str, version: &'static str, fetch: &'static str) -> Client {
    Client { name, version, fetch }
}

/// What it makes of the answer does not matter: it is the request that shows its trust.
#[rustfmt::skip]
pub(super) const CLIENTS: &[Client] = &[
    client("curl", "curl --version", r#"curl -sS -o /dev/null "$URL/""#),
    client("wget", "wget --version", r#"wget -nv -O /dev/null --tries=1 "$URL/""#),
    client("git", "git --version", r#"GIT_TERMINAL_PROMPT=0 git ls-remote "$URL/x.git""#),
    client("openssl", "openssl version",
        r#"printf 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "${URL#https://}" | openssl s_client -quiet -verify_return_error -connect "${URL#https://}""#),
    client("python ssl", "python3 --version",
        r#"python3 -c 'import os, urllib.request as u; u.urlopen(os.environ["URL"] + "/").read()'"#),
    client("requests", "python3 -c 'import requests; print(requests.__version__)'",
        r#"python3 -c 'import os, requests; requests.get(os.environ["URL"] + "/")'"#),
    client("httpx", "python3 -c 'import httpx; print(httpx.__version__)'",
        r#"python3 -c 'import os, httpx; httpx.get(os.environ["URL"] + "/")'"#),
    client("pip", "python3 -m pip --version",
        r#"python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check --retries 0 -d "$T" --index-url "$URL/simple/" awf-bpf-probe"#),
    client("uv", "uv --version",
        r#"uv pip install -q --no-cache --target "$T" --index-url "$URL/simple/" awf-bpf-probe"#),
    client("aws", "aws --version",
        // Version 1 has no pager, and no option against one.
        r#"AWS_PAGER= AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_MAX_ATTEMPTS=1 AWS_EC2_METADATA_DISABLED=true aws s3api list-buckets --region us-east-1 --endpoint-url "$URL""#),
    client("node https", "node --version",
        r#"node -e 'require("https").get(process.env.URL + "/", r => r.resume())'"#),
    client("node fetch", "node -e 'if (fetch) console.log(process.version)'",
        r#"node -e 'fetch(process.env.URL + "/").then(r => r.text())'"#),
    // npm 11 takes the brackets of an IPv6 address for a part of the name.
    client("npm", "npm --version",
        r#"NODE_OPTIONS="--dns-result-order=ipv${FAMILY}first --no-network-family-autoselection" npm ping --registry "$NAMED/" --fetch-retries 0 --no-update-notifier"#),
    client("bun", "bun --version", r#"bun -e 'await (await fetch(process.env.URL + "/")).text()'"#),
    client("deno", "deno --version", r#"deno eval 'await (await fetch(Deno.env.get("URL") + "/")).text()'"#),
    client("java", "java -version && java --list-modules | grep -q jdk.compiler",
        r#"cat > "$T/Fetch.java" <<'END'
import java.net.URI;
import java.net.http.*;
public class Fetch {
    public static void main(String[] a) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(System.getenv("URL") + "/")).build();
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
    }
}
END
java "$T/Fetch.java""#),
    client("go", "go version",
        r#"cd "$T" && GOPATH="$T/go" GOCACHE="$T/cache" GOTOOLCHAIN=local GOPROXY="$URL" GOSUMDB=off go list -m -versions example.com/x"#),
    client("cargo", "cargo --version", r#"cd "$T" && CARGO_NET_RETRY=0 cargo search --index "sparse+$URL/" x"#),
    client("gh", "gh --version", r#"GH_TOKEN=x GH_NO_UPDATE_NOTIFIER=1 gh api "$URL/""#),
    client("ruby", "ruby --version", r#"ruby -ropen-uri -e 'URI.open(ENV["URL"] + "/").read'"#),
    // It takes the brackets for a part of the name, too.
    client("php", "php --version",
        r#"php -r '$from = ["bindto" => getenv("FAMILY") == 6 ? "[::]:0" : "0:0"];
file_get_contents(getenv("NAMED") . "/", false, stream_context_create(["socket" => $from]));'"#),
    client("perl LWP", "perl -MLWP::UserAgent -MLWP::Protocol::https -e 'print LWP::UserAgent->VERSION'",
        r#"perl -MLWP::UserAgent -e '$r = LWP::UserAgent->new->get("$ENV{URL}/"); die $r->status_line unless $r->is_success'"#),
    client("dotnet", "dotnet --version", r#"dotnet package search x --source "$NAMED/index.json""#),
    client("chromium", "b=$(command -v chromium chromium-browser google-chrome google-chrome-stable chromium-headless-shell | head -n 1); \"${b:-false}\" --version",
        r#"b=$(command -v chromium chromium-browser google-chrome google-chrome-stable chromium-headless-shell | head -n 1)
"$b" --headless --no-sandbox --disable-gpu --disable-features=EncryptedClientHello --user-data-dir="$T" --dump-dom "$URL/""#),
];

/// Where doctor is called there may be anybody's files, and some clients run those: Python any `ssl.py`, uv a `.venv`, bun
/// what `bunfig.toml` says.
const APART: &str = "T=$(mktemp -d) && export T && cd \"$T\" && trap 'rm -rf \"$T\"' EXIT || exit\n";

/// Prints `NUMBER VERSION` of those that are there.
pub(super) fn look() -> String {
    let one = |(number, client): (usize, &Client)| {
        // Its first number with a dot: programs introduce themselves in many ways.
        format!(
            "v=$(timeout 15 bash -o pipefail -c {} 2>&1 < /dev/null) && echo {number} $(grep -Eo '[0-9]+(\\.[0-9]+)+' <<< \"$v\" | head -n 1)\n",
            quoted(client.version)
        )
    };
    APART.to_owned() + &CLIENTS.iter().enumerate().map(one).collect::<String>() + "true"
}

/// Fetches.
pub(super) fn fetch(client: &Client) -> String {
    format!("{APART}{}\n", client.fetch)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_script_is_bash() {
        for script in CLIENTS.iter().map(fetch).chain([look()]) {
            let out = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
            assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
        }
    }

    /// That awf-bpf has a remedy for it.
    #[test]
    fn what_each_reads_is_known() {
        for client in CLIENTS {
            let name = match client.name {
                "requests" | "httpx" => "python",
                name => name.split(' ').next().unwrap(),
            };
            assert!(crate::ca::PROGRAMS.iter().any(|program| program.name == name), "{name}");
        }
    }
}
