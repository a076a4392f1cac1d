//! RFC 9112 read as narrowly as it may be, by a parser made for comparison: whatever it cannot read in exactly one
//! way is an error.

type Result<T> = std::result::Result<T, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Body {
    Length(u64),
    Chunked,
    Tunnel,
}

#[derive(Debug)]
pub(in crate::proxy) struct RequestHead {
    pub(in crate::proxy) method: String,
    pub(in crate::proxy) target: String,
    pub(in crate::proxy) host: Option<String>,
    pub(in crate::proxy) body: Body,
    /// Names in lower case.
    pub(in crate::proxy) headers: Vec<(String, String)>,
    /// Bytes of it, the empty line included.
    pub(in crate::proxy) len: usize,
}

#[derive(Debug)]
pub(in crate::proxy) struct Message {
    pub(in crate::proxy) head: RequestHead,
    /// Without its coding.
    pub(in crate::proxy) content: Vec<u8>,
    pub(in crate::proxy) len: usize,
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Lines that end in CR LF up to the empty one, and the length of all of it. No other CR or LF, no NUL.
fn lines(bytes: &[u8]) -> Result<(Vec<String>, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no end")?;
    let mut lines = Vec::new();
    // One character a byte: nothing is lost, nothing is joined.
    let text: String = bytes[..end].iter().map(|b| char::from(*b)).collect();
    for line in text.split("\r\n") {
        if line.chars().any(|c| c < ' ' && c != '\t' || c == '\x7f') {
            return Err(format!("a control character in {line:?}"));
        }
        lines.push(line.to_owned());
    }
    Ok((lines, end + 4))
}

/// The first request head in `bytes`.
pub(in crate::proxy) fn head(bytes: &[u8]) -> Result<RequestHead> {
    let (lines, len) = lines(bytes)?;
    let [method, target, version] = lines[0].split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("request line {:?}", lines[0]));
    };
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Err(format!("version {version:?}")),
    };
    if !is_token(method) || target.is_empty() || target.contains('\t') {
        return Err(format!("request line {:?}", lines[0]));
    }
    let headers = headers(&lines[1..])?;
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    };
    let host = match all("host")[..] {
        [] if minor == 0 || method == "CONNECT" => None,
        [host] => Some(host.to_owned()),
        _ => return Err("not one Host".into()),
    };
    let body = match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Body::Length(0),
        ([], [length]) if length.bytes().all(|b| b.is_ascii_digit()) => {
            Body::Length(length.parse().map_err(|_| format!("length {length:?}"))?)
        }
        ([coding], []) if minor == 1 && coding.eq_ignore_ascii_case("chunked") => Body::Chunked,
        other => return Err(format!("framing {other:?}")),
    };
    let has = |name, token: &str| {
        all(name)
            .iter()
            .any(|v| v.split(',').any(|t| t.trim_matches([' ', '\t']).eq_ignore_ascii_case(token)))
    };
    let upgrades: Vec<String> =
        all("upgrade").iter().map(|value| value.trim().to_ascii_lowercase()).collect();
    let websocket =
        method == "GET" && minor == 1 && upgrades == ["websocket"] && has("connection", "upgrade");
    let body = match body {
        Body::Length(0) if method == "CONNECT" || websocket => Body::Tunnel,
        _ if method == "CONNECT" || websocket => return Err("a tunnel with a body".into()),
        body => body,
    };
    Ok(RequestHead { method: method.to_owned(), target: target.to_owned(), host, body, headers, len })
}

fn headers(lines: &[String]) -> Result<Vec<(String, String)>> {
    let header = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
        if !is_token(name) {
            return Err(format!("header name {name:?}"));
        }
        Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
    };
    lines.iter().map(header).collect()
}

/// The first request in `bytes`, with its body.
pub(in crate::proxy) fn message(bytes: &[u8]) -> Result<Message> {
    let head = head(bytes)?;
    let (content, len) = match head.body {
        Body::Tunnel => (Vec::new(), 0),
        Body::Length(length) => {
            let length = usize::try_from(length).map_err(|e| e.to_string())?;
            let body = bytes[head.len..].get(..length).ok_or("a cut body")?;
            (body.to_vec(), length)
        }
        Body::Chunked => chunks(&bytes[head.len..])?,
    };
    Ok(Message { len: head.len + len, head, content })
}

/// The content of a chunked body and its length on the wire.
pub(in crate::proxy) fn chunks(bytes: &[u8]) -> Result<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..].windows(2).position(|two| two == b"\r\n").ok_or("a cut chunk")?;
        let text: String = bytes[at..at + line].iter().map(|b| char::from(*b)).collect();
        let (size, extension) = text.split_once(';').unwrap_or((&text, ""));
        let hex = (1..16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        if !hex || extension.chars().any(|c| c < ' ' && c != '\t' || c == '\x7f') {
            return Err(format!("chunk line {text:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|e| e.to_string())?;
        at += line + 2;
        if size == 0 {
            break;
        }
        content.extend_from_slice(bytes[at..].get(..size).ok_or("a cut chunk")?);
        at += size;
        if bytes[at..].get(..2) != Some(b"\r\n") {
            return Err("no CR LF behind a chunk".into());
        }
        at += 2;
    }
    if bytes[at..].starts_with(b"\r\n") {
        return Ok((content, at + 2));
    }
    let (trailers, len) = lines(&bytes[at..])?;
    headers(&trailers)?;
    Ok((content, at + len))
}
