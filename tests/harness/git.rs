//! A git repository over smart HTTP: git's own `http-backend` as a CGI program (RFC 3875).

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode, body::Incoming};

use crate::{
    site::{self, AnyBody, Site},
    tools,
};

/// The repository's path on every origin; it holds one commit with [`FILE`].
pub const REPOSITORY: &str = "/git/project.git";
pub const FILE: &str = "README";
pub const CONTENT: &str = "cloned through the firewall\n";

pub(crate) async fn respond(site: &Site, request: Request<Incoming>) -> Response<AnyBody> {
    let root = site.files.join("git");
    {
        let _making = site.making.lock().await;
        if !root.exists() {
            let root = root.clone();
            tokio::task::spawn_blocking(move || make(&root)).await.expect("make the repository");
        }
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return site::status("400", StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let answer = tokio::task::spawn_blocking(move || run(&root, &head, &body)).await;
    match answer.expect("run git http-backend") {
        Ok(output) => parse(&output),
        Err(_) => site::status("500", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn make(root: &Path) {
    let work = root.with_extension("work");
    let git = |dir: &Path, args: &[&str]| {
        let mut git = Command::new(tools::require("git"));
        git.env_clear().env("PATH", tools::PATH).env("HOME", dir).current_dir(dir).args(args);
        tools::succeed(&mut git);
    };
    std::fs::create_dir_all(&work).expect("make the working tree");
    git(&work, &["init", "-q", "-b", "main"]);
    std::fs::write(work.join(FILE), CONTENT).expect("write the repository's file");
    git(&work, &["add", FILE]);
    let identity = ["-c", "user.name=lab", "-c", "user.email=lab@allowed.test"];
    git(&work, &[&identity[..], &["commit", "-q", "-m", "One file"]].concat());
    // Cloned beside and renamed: a request sees the whole repository or none.
    let bare = root.with_extension("new").join("project.git");
    std::fs::create_dir_all(bare.parent().expect("it has one")).expect("make the repositories' root");
    git(&work, &["clone", "-q", "--bare", ".", bare.to_str().expect("the lab's paths are UTF-8")]);
    std::fs::rename(root.with_extension("new"), root).expect("put the repository in place");
}

fn backend() -> PathBuf {
    let exec_path = tools::succeed(Command::new(tools::require("git")).arg("--exec-path"));
    [exec_path.trim(), "/usr/lib/git-core"]
        .iter()
        .map(|dir| Path::new(dir).join("git-http-backend"))
        .find(|path| path.is_file())
        .expect("git-http-backend comes with Debian's git")
}

fn run(root: &Path, head: &http::request::Parts, body: &[u8]) -> io::Result<Vec<u8>> {
    let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default());
    let mut child = Command::new(backend())
        .env_clear()
        .env("PATH", tools::PATH)
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path().trim_start_matches("/git"))
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(body)?;
    Ok(child.wait_with_output()?.stdout)
}

/// CGI's answer: header lines, an empty line, the body.
fn parse(output: &[u8]) -> Response<AnyBody> {
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]);
    let content = output.get(end + 4..).unwrap_or_default().to_vec();
    let mut response = site::body("application/octet-stream", content);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = StatusCode::from_bytes(&value.as_bytes()[..3]).unwrap_or_default();
        } else if let (Ok(name), Ok(value)) = (name.parse::<hyper::header::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
