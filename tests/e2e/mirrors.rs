//! Package managers behind the firewall, each against a registry of its own kind: what is on an allowed host is
//! installed and used, with the proxy variables and without; from another host nothing comes.

use harness::{
    Lab,
    packages::WORD,
    registries::{GO_MODULE, PACKAGE},
    tools,
};

/// Each installs a package from `$HOST` and prints its word; `$CA`, where set, is whom to trust.
pub(crate) const PIP: &str =
    "python3 -m pip install -q --no-cache-dir --disable-pip-version-check --retries 0 --target . \
           --index-url https://$HOST/simple/ labwheel
python3 -c 'import labwheel; print(labwheel.WORD)'";

pub(crate) const NPM: &str = "npm install --no-audit --no-fund --no-update-notifier --fetch-retries 0 --loglevel error ${CA:+--cafile $CA} \
           --registry https://$HOST/npm/ labpkg
node -p \"require('labpkg')\"";

pub(crate) const CARGO: &str =
    "export CARGO_NET_RETRY=0 CARGO_HOME=$PWD/home ${CA:+CARGO_HTTP_CAINFO=$CA}; mkdir home
printf '[source.crates-io]\\nreplace-with = \"lab\"\\n[source.lab]\\nregistry = \"sparse+https://%s/crates/\"\\n' \
  $HOST > home/config.toml
cargo init -q --vcs none --name h p; cd p
printf '%s = \"1\"\\n' $PACKAGE >> Cargo.toml
printf 'fn main() { println!(\"{}\", %s::WORD); }' $PACKAGE > src/main.rs
cargo run -q";

pub(crate) const GO: &str =
    "export GOPATH=$PWD/go GOPROXY=https://$HOST/modules GOSUMDB=off GOFLAGS='-mod=mod -modcacherw' GOTOOLCHAIN=local
go mod init h
printf 'package main\\nimport (\"fmt\"; module \"%s\")\\nfunc main() { fmt.Println(module.Word) }\\n' $MODULE > h.go
go get $MODULE@v1.0.0; go run .";

pub(crate) const GEM: &str =
    "export GEM_HOME=$PWD/gems; gem install --no-document --clear-sources --source https://$HOST/gems/ $PACKAGE
ruby -r $PACKAGE -e 'puts WORD'";

pub(crate) const COMPOSER: &str = "config=${CA:+'\"cafile\": \"'$CA'\"'}
cat > composer.json <<END
{\"repositories\": [{\"type\": \"composer\", \"url\": \"https://$HOST/composer\"}, {\"packagist\": false}],
 \"require\": {\"lab/$PACKAGE\": \"1.0.0\"}, \"config\": {$config}}
END
composer install -q --no-interaction
php -r 'require \"vendor/autoload.php\"; echo WORD, \"\\n\";'";

/// `script` installs a package from `$HOST` and prints its word.
fn check(programs: &[&str], script: &str) {
    programs.iter().for_each(|program| drop(tools::require(program)));
    let lab = Lab::new();
    let run = |host: &str, awf: harness::Run<'_>| {
        let run =
            awf.allow("allowed.test").env("HOST", host).env("PACKAGE", PACKAGE).env("MODULE", GO_MODULE);
        run.env("CA", lab.ca_file().into_os_string()).sh(&format!("cd $(mktemp -d)\n{script}"))
    };
    for awf in [lab.awf(), lab.awf().no_proxy_env()] {
        run("allowed.test", awf.clone()).ok().stdout_contains(WORD);
        let out = run("denied.test", awf);
        out.fails().denied("denied.test", "not_in_allowlist");
        out.check(!out.stdout().contains(WORD), || "nothing installed".to_owned());
    }
    lab.assert_untouched("denied.test");
}

#[test]
fn pip() {
    check(&["python3"], PIP);
}

#[test]
fn npm() {
    check(&["node", "npm"], NPM);
}

#[test]
fn cargo() {
    check(&["cargo", "rustc", "cc"], CARGO);
}

#[test]
fn go() {
    check(&["go"], GO);
}

#[test]
fn gem() {
    check(&["ruby", "gem"], GEM);
}

#[test]
fn composer() {
    check(&["php", "composer"], COMPOSER);
}
