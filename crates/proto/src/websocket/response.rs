//! The server's answer to an opening handshake, as the client reads it. RFC 6455, section 4.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::handshake::accept_key;

/// The head of the answer, as far as it concerns the handshake.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHeaders<'a> {
    /// The status.
    pub status: u16,
    /// `Upgrade`.
    pub upgrade: Option<&'a [u8]>,
    /// `Connection`.
    pub connection: Option<&'a [u8]>,
    /// `Sec-WebSocket-Accept`.
    pub accept: Option<&'a [u8]>,
}

/// Why an answer makes no WebSocket.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The server has not computed the answer from the key: it knows nothing of WebSocket.
    #[error("the answer has no or a wrong Sec-WebSocket-Accept")]
    Accept,
    /// `Connection` does not say `upgrade`.
    #[error("the answer has no Connection: Upgrade")]
    Connection,
    /// The status is not 101.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// `Upgrade` does not say `websocket`.
    #[error("the answer has no Upgrade: websocket")]
    Upgrade,
}

/// Gives `Sec-WebSocket-Key` for 16 bytes that the caller has drawn at random.
pub fn client_key(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    STANDARD
        .encode_slice(nonce, &mut key)
        .expect("16 bytes are 24 characters of base64");
    key
}

/// Checks the server's answer to a handshake with this key.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn check_response(headers: &ResponseHeaders<'_>, key: &[u8]) -> Result<(), ResponseError> {
    if headers.status != 101 {
        return Err(ResponseError::Status(headers.status));
    }
    let is = |value: &[u8], word: &[u8]| value.trim_ascii().eq_ignore_ascii_case(word);
    if !headers.upgrade.is_some_and(|value| is(value, b"websocket")) {
        return Err(ResponseError::Upgrade);
    }
    let mut tokens = headers
        .connection
        .unwrap_or_default()
        .split(|&byte| byte == b',');
    if !tokens.any(|token| is(token, b"upgrade")) {
        return Err(ResponseError::Connection);
    }
    match headers.accept {
        Some(accept) if accept.trim_ascii() == accept_key(key) => Ok(()),
        _ => Err(ResponseError::Accept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    const GOOD: ResponseHeaders<'_> = ResponseHeaders {
        status: 101,
        upgrade: Some(b"WebSocket"),
        connection: Some(b"keep-alive, Upgrade"),
        accept: Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    };

    // RFC 6455, section 1.3.
    #[test]
    fn the_specification_s_example_is_understood() {
        assert_eq!(&client_key(*b"the sample nonce"), KEY);
        assert_eq!(check_response(&GOOD, KEY), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |change: fn(&mut ResponseHeaders<'_>)| {
            let mut headers = GOOD;
            change(&mut headers);
            check_response(&headers, KEY).expect_err("wrong")
        };
        assert_eq!(error(|h| h.status = 200), ResponseError::Status(200));
        assert_eq!(error(|h| h.upgrade = None), ResponseError::Upgrade);
        assert_eq!(
            error(|h| h.connection = Some(b"close")),
            ResponseError::Connection
        );
        assert_eq!(
            error(|h| h.accept = Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOp=")),
            ResponseError::Accept
        );
        assert_eq!(error(|h| h.accept = None), ResponseError::Accept);
    }
}
