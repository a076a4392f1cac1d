//! Package registries with one package each: PyPI's simple index (PEP 503) and an npm registry.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hyper::{Response, StatusCode};

use crate::{
    site::{self, AnyBody, Site},
    tools,
};

/// The Python package; `import labwheel; labwheel.WORD`.
pub const WHEEL: &str = "labwheel-1.0-py3-none-any.whl";
/// The npm package; `require('labpkg')`.
pub const TARBALL: &str = "labpkg-1.0.0.tgz";
/// What both packages hold.
pub const WORD: &str = "installed-through-the-firewall";

pub(crate) async fn respond(site: &Site, path: &str, host: &str) -> Response<AnyBody> {
    match path {
        "/simple/labwheel/" => site::body("text/html", format!("<a href=\"../{WHEEL}\">{WHEEL}</a>")),
        "/npm/labpkg" => site::body("application/json", packument(host)),
        _ if path.ends_with(WHEEL) => file(site, WHEEL, make_wheel).await,
        _ if path.ends_with(TARBALL) => file(site, TARBALL, make_tarball).await,
        _ => site::status("404", StatusCode::NOT_FOUND),
    }
}

fn packument(host: &str) -> String {
    let tarball = format!("https://{host}/npm/{TARBALL}");
    serde_json::json!({
        "name": "labpkg",
        "dist-tags": { "latest": "1.0.0" },
        "versions": { "1.0.0": { "name": "labpkg", "version": "1.0.0", "dist": { "tarball": tarball } } },
    })
    .to_string()
}

async fn file(site: &Site, name: &'static str, make: fn(&Path) -> PathBuf) -> Response<AnyBody> {
    let _making = site.making.lock().await;
    let dir = site.files.join(name).with_extension("made");
    let content = tokio::task::spawn_blocking(move || {
        fs::create_dir_all(&dir).expect("make the package's directory");
        let path = dir.join(name);
        let path = if path.exists() { path } else { make(&dir) };
        fs::read(path).expect("read the package")
    });
    site::body("application/octet-stream", content.await.expect("make the package"))
}

fn make_wheel(dir: &Path) -> PathBuf {
    let script = r#"
import sys, zipfile
path, word = sys.argv[1:]
info = "labwheel-1.0.dist-info"
with zipfile.ZipFile(path, "w") as wheel:
    wheel.writestr("labwheel.py", f"WORD = {word!r}\n")
    wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: labwheel\nVersion: 1.0\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", f"labwheel.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
"#;
    let path = dir.join(WHEEL);
    tools::succeed(Command::new("/usr/bin/python3").args(["-c", script]).arg(&path).arg(WORD));
    path
}

fn make_tarball(dir: &Path) -> PathBuf {
    let package = dir.join("package");
    fs::create_dir_all(&package).expect("make the package's directory");
    fs::write(package.join("package.json"), r#"{"name":"labpkg","version":"1.0.0","main":"index.js"}"#)
        .expect("write package.json");
    fs::write(package.join("index.js"), format!("module.exports = '{WORD}';\n")).expect("write index.js");
    let path = dir.join(TARBALL);
    tools::succeed(Command::new(tools::require("tar")).current_dir(dir).arg("czf").arg(&path).arg("package"));
    path
}
