//! Package registries with one package each, in their own protocols: a sparse index of cargo's, a Go module proxy,
//! RubyGems' compact index, a Composer repository. Each is made by the tools it is for, when first asked for.
//!
//! <https://doc.rust-lang.org/cargo/reference/registry-index.html>, <https://go.dev/ref/mod#goproxy-protocol>,
//! RubyGems' guide to the compact index API, Composer's documentation of repositories of type "composer".

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hyper::{Response, StatusCode};

use crate::{
    packages::WORD,
    site::{self, AnyBody, Site},
    tools,
};

/// The crate, the Ruby gem and the last part of the Composer package; each has a function or constant that is [`WORD`].
pub const PACKAGE: &str = "labpackage";
/// The Go module; `module.Word`.
pub const GO_MODULE: &str = "lab.test/module";

pub(crate) async fn respond(site: &Site, path: &str, host: &str) -> Response<AnyBody> {
    let (registry, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let make: fn(&Path) = match registry {
        "crates" => crates,
        "modules" => modules,
        "gems" => gems,
        _ => composer,
    };
    let dir = site.files.join(registry);
    {
        let _making = site.making.lock().await;
        if !dir.exists() {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || make(&dir)).await.expect("make the registry");
        }
    }
    // Its files are the paths; what a mirror says of itself depends on its name.
    match fs::read(dir.join(rest)) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => site::body("text/plain", text.replace("@HOST@", host)),
            Err(binary) => site::body("application/octet-stream", binary.into_bytes()),
        },
        Err(_) => site::status("404", StatusCode::NOT_FOUND),
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("make a directory of the registry");
    fs::write(path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}

/// Runs a script in a directory beside the registry, in which nothing is served.
fn run(program: &str, script: &str, dir: &Path) -> PathBuf {
    let work = dir.with_extension("work");
    fs::create_dir_all(&work).expect("make a working directory");
    let mut command = Command::new(tools::require(program));
    command.env_clear().env("PATH", tools::PATH).env("HOME", &work).env("LANG", "C.UTF-8").current_dir(&work);
    command.env("PACKAGE", PACKAGE).env("WORD", WORD).env("MODULE", GO_MODULE);
    tools::succeed(command.args(if program == "bash" { ["-ec", script] } else { ["-e", script] }));
    work
}

fn crates(dir: &Path) {
    let script = r#"
mkdir -p $PACKAGE-1.0.0/src
printf '[package]\nname = "%s"\nversion = "1.0.0"\nedition = "2018"\n' $PACKAGE > $PACKAGE-1.0.0/Cargo.toml
printf 'pub const WORD: &str = "%s";\n' $WORD > $PACKAGE-1.0.0/src/lib.rs
tar czf crate $PACKAGE-1.0.0
sha256sum crate | cut -d' ' -f1 | tr -d '\n' > sum"#;
    let work = run("bash", script, dir);
    let sum = fs::read_to_string(work.join("sum")).expect("read the checksum");
    let line = format!(
        "{{\"name\":\"{PACKAGE}\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{sum}\",\"features\":{{}},\"yanked\":false}}\n"
    );
    write(&dir.join(&PACKAGE[..2]).join(&PACKAGE[2..4]).join(PACKAGE), line);
    write(&dir.join(format!("{PACKAGE}.crate")), fs::read(work.join("crate")).expect("read the crate"));
    write(&dir.join("config.json"), r#"{"dl":"https://@HOST@/crates/{crate}.crate"}"#);
}

fn modules(dir: &Path) {
    let script = r#"
at="$MODULE@v1.0.0"; mkdir -p "$at"
printf 'module %s\n' "$MODULE" > "$at/go.mod"
printf 'package module\n\nconst Word = "%s"\n' "$WORD" > "$at/module.go"
python3 -c 'import sys, zipfile
with zipfile.ZipFile("zip", "w") as file:
    for name in ["go.mod", "module.go"]: file.write(f"{sys.argv[1]}/{name}")' "$at""#;
    let work = run("bash", script, dir);
    let versions = dir.join(GO_MODULE).join("@v");
    write(&versions.join("list"), "v1.0.0\n");
    write(&versions.join("v1.0.0.info"), r#"{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}"#);
    write(&versions.join("v1.0.0.mod"), format!("module {GO_MODULE}\n"));
    write(&versions.join("v1.0.0.zip"), fs::read(work.join("zip")).expect("read the module"));
}

fn gems(dir: &Path) {
    let script = r#"
require "rubygems/package"; require "digest"; require "zlib"
name, word = ENV.values_at("PACKAGE", "WORD")
Dir.mkdir("lib"); File.write("lib/#{name}.rb", "WORD = #{word.inspect}\n")
spec = Gem::Specification.new do |s|
  s.name, s.version, s.summary, s.authors, s.files = name, "1.0.0", "lab", ["lab"], ["lib/#{name}.rb"]
end
Gem::DefaultUserInteraction.use_ui(Gem::SilentUI.new) { Gem::Package.build(spec, true, false, "gem") }
spec.files = []
File.binwrite("spec", Zlib::Deflate.deflate(Marshal.dump(spec)))
list = ->(specs) { Zlib.gzip(Marshal.dump(specs)) }
File.binwrite("all", list.([[name, spec.version, "ruby"]])); File.binwrite("none", list.([]))
File.write("sum", Digest::SHA256.file("gem").hexdigest)"#;
    let work = run("ruby", script, dir);
    let read = |name: &str| fs::read(work.join(name)).expect("read what ruby made");
    let sum = String::from_utf8(read("sum")).expect("hexadecimal digits");
    write(&dir.join("versions"), format!("created_at: 2020-01-01T00:00:00Z\n---\n{PACKAGE} 1.0.0 {sum}\n"));
    write(&dir.join("info").join(PACKAGE), format!("---\n1.0.0 |checksum:{sum}\n"));
    // The older index is asked for by older clients.
    for (index, content) in [("specs", "all"), ("latest_specs", "all"), ("prerelease_specs", "none")] {
        write(&dir.join(format!("{index}.4.8.gz")), read(content));
    }
    write(&dir.join(format!("gems/{PACKAGE}-1.0.0.gem")), read("gem"));
    write(&dir.join(format!("quick/Marshal.4.8/{PACKAGE}-1.0.0.gemspec.rz")), read("spec"));
}

fn composer(dir: &Path) {
    let script = r#"
printf '<?php const WORD = "%s";\n' "$WORD" > lab.php
printf '{"name":"lab/%s","autoload":{"files":["lab.php"]}}' "$PACKAGE" > composer.json
python3 -c 'import zipfile
with zipfile.ZipFile("zip", "w") as file:
    for name in ["lab.php", "composer.json"]: file.write(name)'"#;
    let work = run("bash", script, dir);
    let package = serde_json::json!({ "packages": { format!("lab/{PACKAGE}"): { "1.0.0": {
        "name": format!("lab/{PACKAGE}"), "version": "1.0.0", "autoload": { "files": ["lab.php"] },
        "dist": { "type": "zip", "url": "https://@HOST@/composer/package.zip" },
    } } } });
    write(&dir.join("package.zip"), fs::read(work.join("zip")).expect("read the package"));
    write(&dir.join("packages.json"), package.to_string());
}
