//! Headers by which some servers take a request for another one than its request line says. Pure.

use http::{HeaderMap, HeaderName};

/// As in CGI (RFC 3875 section 4.1.18) each other character counts as a hyphen: to those servers `X_Original_URL` is the
/// same header.
const NAMES: &[&str] = &[
    // The path: IIS with URL Rewrite, Symfony, Zend; Helicon; nginx's and Traefik's for their own helpers, which
    // programs behind them believe; Envoy.
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-override-url",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-script-name",
    "x-envoy-original-path",
    "x-http-destinationurl",
    "x-waws-unencoded-url",
    // The method: OData, Google, Rack, Symfony, Spring; IBM; Traefik.
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-forwarded-method",
    // Where COPY and MOVE write to (RFC 4918 section 10.3).
    "destination",
];

/// The first of `headers` that names another path or method.
#[must_use]
pub(super) fn found(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| is_one(name))
}

/// Removes them from the trailers of a request: whoever takes those for headers takes all of them.
pub(super) fn strip(trailers: &mut HeaderMap) {
    let names: Vec<_> = trailers.keys().filter(|name| is_one(name)).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

fn is_one(name: &HeaderName) -> bool {
    let same = |known: &&str| {
        let hyphen = |b: u8| if b.is_ascii_alphanumeric() { b } else { b'-' };
        known.len() == name.as_str().len() && known.bytes().eq(name.as_str().bytes().map(hyphen))
    };
    NAMES.iter().any(same)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", HeaderValue::from_static("1"));
        headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("/secret"));
        headers
    }

    #[test]
    fn every_spelling_of_an_override_is_found_and_nothing_else() {
        for name in
            ["X-Original-URL", "x_original_url", "X-HTTP_Method-Override", "X.Rewrite.URL", "Destination"]
        {
            let mut headers = with(name);
            assert!(found(&headers).is_some(), "{name}");
            strip(&mut headers);
            assert_eq!(headers.len(), 1, "{name}");
        }
        for name in ["X-Original-URL-2", "Original-URL", "X-Forwarded-For", "X-Request-Id", "Accept"] {
            assert_eq!(found(&with(name)), None, "{name}");
        }
    }
}
