//! A user and a password for a proxy, kept so that no message can show them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// More than any proxy accepts in one header, in bytes of `user:password`.
const MAX: usize = 4096;

/// Credentials of the Basic scheme (RFC 7617), as the value of a Proxy-Authorization header.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(HeaderValue);

/// Why there are none. Never with the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("the credentials are not `user:password`")]
    Form,
    #[error("the credentials are not UTF-8")]
    NotUtf8,
    #[error("the credentials hold a control character")]
    Control,
    #[error("the credentials are longer than {MAX} bytes")]
    TooLong,
}

impl Credentials {
    /// From the text of a file: one line `user:password` in UTF-8, taken as it stands.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn from_line(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = line.iter().position(|b| *b == b':').ok_or(CredentialsError::Form)?;
        Self::new(&line[..at], &line[at + 1..])
    }

    /// From a user, who has no colon (RFC 7617, 2), and a password.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn new(user: &[u8], password: &[u8]) -> Result<Self, CredentialsError> {
        let whole = [user, b":", password].concat();
        let text = str::from_utf8(&whole).map_err(|_| CredentialsError::NotUtf8)?;
        if user.is_empty() || user.contains(&b':') {
            return Err(CredentialsError::Form);
        }
        if text.chars().any(char::is_control) {
            return Err(CredentialsError::Control);
        }
        if whole.len() > MAX {
            return Err(CredentialsError::TooLong);
        }
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(&whole)))
            .map_err(|_| CredentialsError::Control)?;
        // HTTP libraries leave such a value out of their own debug output.
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the Proxy-Authorization header. Only for the proxy.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}
