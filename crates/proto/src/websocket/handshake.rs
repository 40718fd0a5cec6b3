//! The server's half of the opening handshake, as far as it concerns headers. RFC 6455, section 4.2.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;
use thiserror::Error;

/// The headers of a request that asks for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct UpgradeHeaders<'a> {
    /// The request's method.
    pub method: &'a str,
    /// `Upgrade`.
    pub upgrade: Option<&'a [u8]>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a [u8]>,
    /// `Sec-WebSocket-Key`.
    pub key: Option<&'a [u8]>,
}

/// Why a request cannot become a WebSocket, in the words of the reference's library.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The key is missing or not 16 bytes in base64.
    #[error("Missing or invalid Sec-WebSocket-Key header")]
    Key,
    /// The method is not GET.
    #[error("Invalid HTTP method")]
    Method,
    /// The offered subprotocols are no list of names, or one is offered twice.
    #[error("Invalid Sec-WebSocket-Protocol header")]
    Protocol,
    /// `Upgrade` does not say `websocket`.
    #[error("Invalid Upgrade header")]
    Upgrade,
    /// The version is neither 13 nor 8.
    #[error("Missing or invalid Sec-WebSocket-Version header")]
    Version,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Method => 405,
            HandshakeError::Key
            | HandshakeError::Protocol
            | HandshakeError::Upgrade
            | HandshakeError::Version => 400,
        }
    }

    /// What the answer says in `Sec-WebSocket-Version`, if the version is what is wrong.
    pub fn supported_versions(&self) -> Option<&'static str> {
        match self {
            HandshakeError::Version => Some("13, 8"),
            HandshakeError::Key
            | HandshakeError::Method
            | HandshakeError::Protocol
            | HandshakeError::Upgrade => None,
        }
    }
}

/// Checks the headers in the order of the reference's library.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn check_upgrade(headers: &UpgradeHeaders<'_>) -> Result<(), HandshakeError> {
    if headers.method != "GET" {
        return Err(HandshakeError::Method);
    }
    if !headers
        .upgrade
        .is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    {
        return Err(HandshakeError::Upgrade);
    }
    let is_key = |key: &[u8]| {
        key.len() == 24
            && key.ends_with(b"==")
            && key[..22]
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    if !headers.key.is_some_and(is_key) {
        return Err(HandshakeError::Key);
    }
    check_version(headers.version)
}

/// Checks `Sec-WebSocket-Version`: all that there is to check of a request over HTTP/2, which has
/// neither key nor `Upgrade`. RFC 8441, section 5.
///
/// # Errors
///
/// When the version is neither 13 nor 8.
pub fn check_version(version: Option<&[u8]>) -> Result<(), HandshakeError> {
    let version = version.and_then(|version| str::from_utf8(version).ok()?.parse().ok());
    match version {
        Some(13u32 | 8) => Ok(()),
        _ => Err(HandshakeError::Version),
    }
}

/// Reads the subprotocols that a client offers, from all lines of `Sec-WebSocket-Protocol`; they come
/// in the client's order of preference.
///
/// # Errors
///
/// When a line is empty or no list of tokens, or when a name is offered twice.
pub fn offered_protocols<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<&'a str>, HandshakeError> {
    let (mut offered, mut seen) = (Vec::new(), HashSet::new());
    for name in lines
        .into_iter()
        .flat_map(|line| line.split(|&b| b == b','))
    {
        let name = name.trim_ascii();
        let is_token = !name.is_empty() && name.iter().all(|&b| is_token_byte(b));
        match str::from_utf8(name) {
            Ok(name) if is_token && seen.insert(name) => offered.push(name),
            _ => return Err(HandshakeError::Protocol),
        }
    }
    Ok(offered)
}

/// Says whether a byte may stand in a token. RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Gives `Sec-WebSocket-Accept` for a key.
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; 28];
    STANDARD
        .encode_slice(hash.digest().bytes(), &mut accept)
        .expect("20 bytes are 28 characters of base64");
    accept
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: UpgradeHeaders<'_> = UpgradeHeaders {
        method: "GET",
        upgrade: Some(b"WebSocket"),
        version: Some(b"13"),
        key: Some(b"dGhlIHNhbXBsZSBub25jZQ=="),
    };

    // RFC 6455, section 1.3.
    #[test]
    fn the_specification_s_key_is_accepted() {
        assert_eq!(check_upgrade(&GOOD), Ok(()));
        for version in ["8", "013"].map(|version| Some(version.as_bytes())) {
            assert_eq!(check_upgrade(&UpgradeHeaders { version, ..GOOD }), Ok(()));
        }
        assert_eq!(
            &accept_key(GOOD.key.unwrap()),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (
                UpgradeHeaders {
                    method: "POST",
                    ..GOOD
                },
                HandshakeError::Method,
            ),
            (
                UpgradeHeaders {
                    upgrade: Some(b"h2c"),
                    ..GOOD
                },
                HandshakeError::Upgrade,
            ),
            (UpgradeHeaders { key: None, ..GOOD }, HandshakeError::Key),
            (
                UpgradeHeaders {
                    key: Some(b"short=="),
                    ..GOOD
                },
                HandshakeError::Key,
            ),
            (
                UpgradeHeaders {
                    version: Some(b"12"),
                    ..GOOD
                },
                HandshakeError::Version,
            ),
        ];
        for (headers, error) in cases {
            assert_eq!(check_upgrade(&headers), Err(error));
        }
        assert_eq!(HandshakeError::Version.supported_versions(), Some("13, 8"));
    }

    #[test]
    fn subprotocols_are_read_in_order_from_all_lines() {
        for (lines, names) in [
            (&[][..], &[][..]),
            (&["chat"], &["chat"]),
            (&["chat, v2.example ,x"], &["chat", "v2.example", "x"]),
            (&["a", "b,c"], &["a", "b", "c"]),
            (&["a,A"], &["a", "A"]),
            (&["!#$%&'*+-.^_`|~09"], &["!#$%&'*+-.^_`|~09"]),
        ] {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(offered_protocols(lines), Ok(names.to_vec()));
        }
    }

    #[test]
    fn what_is_no_list_of_different_names_is_refused() {
        let lists = [
            "", " ", ",", "a,", ",a", "a,,b", "a b", "a;b", "a,a", "a/b", "\"a\"", "ä",
        ];
        for lines in lists.iter().map(|list| vec![*list]) {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(offered_protocols(lines), Err(HandshakeError::Protocol));
        }
        for lines in [["a", "a"], ["a", ""], ["a,", "b"]] {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(offered_protocols(lines), Err(HandshakeError::Protocol));
        }
        for byte in (0..=u8::MAX).filter(|&b| !is_token_byte(b) && !b.is_ascii_whitespace()) {
            let list = [b'a', byte, b'a'];
            let refused = offered_protocols([&list[..]]);
            assert_eq!(refused, Err(HandshakeError::Protocol), "{byte}");
        }
    }
}
