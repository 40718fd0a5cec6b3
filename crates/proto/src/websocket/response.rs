//! The client's half of the opening handshake, as far as it concerns headers. RFC 6455, section 4.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::deflate::{DeflateOffer, ExtensionError, Negotiated};
use super::handshake::accept_key;

/// The head of the response to a request for a WebSocket.
///
/// A header that is there several times is given as one, joined by commas. RFC 9110, section 5.3.
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
    /// `Sec-WebSocket-Extensions`.
    pub extensions: Option<&'a [u8]>,
    /// `Sec-WebSocket-Protocol`.
    pub protocol: Option<&'a [u8]>,
}

/// Why a response does not open a WebSocket; the connection has to be closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ResponseError {
    /// `Sec-WebSocket-Accept` is missing or does not belong to the key.
    ///
    /// This is not the answer to this request: something between has stored or made it.
    #[error("the answer has no or a wrong Sec-WebSocket-Accept")]
    Accept,
    /// `Connection` does not name `upgrade`.
    ///
    /// Mostly a proxy that does not pass the header on: it has to be set up for WebSocket.
    #[error("the answer has no Connection: Upgrade")]
    Connection,
    /// `Sec-WebSocket-Extensions` is not an answer to what was offered.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// The server has chosen a subprotocol, for which it was not asked.
    #[error("the answer has a subprotocol that was not asked for")]
    Protocol,
    /// The status is not 101: the server does not speak WebSocket here, or has refused the request.
    /// Then the body of the response tells why.
    #[error("the server answered {0} instead of 101")]
    Status(u16),
    /// `Upgrade` does not say `websocket`.
    ///
    /// Mostly a proxy that does not pass the header on: it has to be set up for WebSocket.
    #[error("the answer has no Upgrade: websocket")]
    Upgrade,
}

/// Gives `Sec-WebSocket-Key` for 16 bytes that the caller has drawn at random for this request.
pub fn client_key(nonce: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    STANDARD
        .encode_slice(nonce, &mut key)
        .expect("16 bytes are 24 characters of base64");
    key
}

/// Checks the response to a request with this `Sec-WebSocket-Key`, with this offer in
/// `Sec-WebSocket-Extensions` if there was any, and with these subprotocols in
/// `Sec-WebSocket-Protocol`. The server may choose none of them.
///
/// `None` means that the connection goes without compression.
///
/// # Errors
///
/// The first thing that is wrong, in the order of the specification.
pub fn check_response(
    headers: &ResponseHeaders<'_>,
    key: &[u8; 24],
    offer: Option<&DeflateOffer>,
    protocols: &[impl AsRef<str>],
) -> Result<Option<Negotiated>, ResponseError> {
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
    if headers.accept.map(<[u8]>::trim_ascii) != Some(&accept_key(key)) {
        return Err(ResponseError::Accept);
    }
    // An empty one is none; here as below.
    let extensions = headers
        .extensions
        .filter(|value| !value.trim_ascii().is_empty());
    let negotiated = match offer {
        Some(offer) => offer.accept(extensions)?,
        None if extensions.is_some() => return Err(ExtensionError::NotOffered.into()),
        None => None,
    };
    let chosen = headers.protocol.map(<[u8]>::trim_ascii).unwrap_or_default();
    let mut offered = protocols
        .iter()
        .map(|protocol| protocol.as_ref().as_bytes());
    if !chosen.is_empty() && !offered.any(|protocol| protocol == chosen) {
        return Err(ResponseError::Protocol);
    }
    Ok(negotiated)
}

#[cfg(test)]
mod tests {
    use super::super::{DeflateConfig, UpgradeHeaders, check_upgrade, negotiate};
    use super::*;

    const KEY: &[u8; 24] = b"dGhlIHNhbXBsZSBub25jZQ==";

    const GOOD: ResponseHeaders<'_> = ResponseHeaders {
        status: 101,
        upgrade: Some(b"websocket"),
        connection: Some(b"Upgrade"),
        accept: Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        extensions: None,
        protocol: None,
    };

    fn check(
        headers: &ResponseHeaders<'_>,
        key: &[u8; 24],
        offer: Option<&DeflateOffer>,
    ) -> Result<Option<Negotiated>, ResponseError> {
        check_response(headers, key, offer, &[""; 0])
    }

    #[test]
    fn empty_headers_are_none() {
        let headers = ResponseHeaders {
            extensions: Some(b" "),
            protocol: Some(b""),
            ..GOOD
        };
        assert_eq!(check(&headers, KEY, None), Ok(None));
        assert_eq!(
            check(&headers, KEY, Some(&DeflateOffer::default())),
            Ok(None)
        );
    }

    #[test]
    fn a_server_may_choose_a_subprotocol_that_was_offered_or_none() {
        let answer = |protocol, offered: &[&str]| {
            let headers = ResponseHeaders { protocol, ..GOOD };
            check_response(&headers, KEY, None, offered)
        };
        assert_eq!(answer(None, &["a", "b"]), Ok(None));
        assert_eq!(answer(Some(&b""[..]), &[]), Ok(None));
        assert_eq!(answer(Some(&b" b "[..]), &["a", "b"]), Ok(None));
        for other in [&b"c"[..], b"B", b"a, b"] {
            assert_eq!(
                answer(Some(other), &["a", "b"]),
                Err(ResponseError::Protocol)
            );
        }
    }

    // RFC 6455, section 1.3.
    #[test]
    fn the_specification_s_handshake_is_accepted() {
        assert_eq!(&client_key(*b"the sample nonce"), KEY);
        assert_eq!(check(&GOOD, KEY, None), Ok(None));
        let offer = DeflateOffer::default();
        assert_eq!(check(&GOOD, KEY, Some(&offer)), Ok(None));
    }

    #[test]
    fn case_and_further_tokens_do_not_matter() {
        for (upgrade, connection) in [
            ("WebSocket", "upgrade"),
            ("WEBSOCKET", "keep-alive, Upgrade"),
            ("websocket", "UPGRADE ,\tkeep-alive"),
            ("websocket", ",,upgrade"),
        ] {
            let headers = ResponseHeaders {
                upgrade: Some(upgrade.as_bytes()),
                connection: Some(connection.as_bytes()),
                ..GOOD
            };
            assert_eq!(check(&headers, KEY, None), Ok(None), "{connection}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_in_the_specification_s_order() {
        let refused = |headers: &ResponseHeaders<'_>, text: &str| {
            let error = check(headers, KEY, None).expect_err("an error");
            assert_eq!(error.to_string(), text, "{headers:?}");
        };
        let mut headers = ResponseHeaders {
            status: 400,
            upgrade: None,
            connection: None,
            accept: None,
            extensions: Some(b"permessage-deflate"),
            protocol: Some(b"chat"),
        };
        refused(&headers, "the server answered 400 instead of 101");
        headers.status = 200;
        refused(&headers, "the server answered 200 instead of 101");
        headers.status = 101;
        for upgrade in [
            None,
            Some(&b""[..]),
            Some(b"h2c"),
            Some(b"websocket, h2c"),
            Some(b"websocket/13"),
        ] {
            headers.upgrade = upgrade;
            refused(&headers, "the answer has no Upgrade: websocket");
        }
        headers.upgrade = GOOD.upgrade;
        for connection in [
            None,
            Some(&b""[..]),
            Some(b"close"),
            Some(b"upgrades"),
            Some(b"keep-alive upgrade"),
        ] {
            headers.connection = connection;
            refused(&headers, "the answer has no Connection: Upgrade");
        }
        headers.connection = GOOD.connection;
        for accept in [
            None,
            Some(&b""[..]),
            Some(KEY),
            Some(b"S3PPLMBITXAQ9KYGZZHZRBK+XOO="),
            Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo"),
        ] {
            headers.accept = accept;
            refused(
                &headers,
                "the answer has no or a wrong Sec-WebSocket-Accept",
            );
        }
        headers.accept = GOOD.accept;
        refused(&headers, "the answer has an extension that was not offered");
        headers.extensions = None;
        refused(
            &headers,
            "the answer has a subprotocol that was not asked for",
        );
    }

    #[test]
    fn an_extension_that_does_not_fit_the_offer_is_refused() {
        let headers = ResponseHeaders {
            extensions: Some(b"permessage-deflate; client_max_window_bits=10"),
            ..GOOD
        };
        let default = DeflateOffer::default();
        let agreed = check(&headers, KEY, Some(&default)).expect("it fits");
        let agreed = agreed.expect("it is there");
        assert_eq!(agreed.client_max_window_bits(), 10);
        let untold = DeflateOffer {
            client_max_window_bits: None,
            ..default
        };
        let error = ExtensionError::Mismatch("client_max_window_bits");
        assert_eq!(
            check(&headers, KEY, Some(&untold)),
            Err(ResponseError::Extension(error))
        );
    }

    #[test]
    fn both_ends_agree() {
        let key = client_key([7; 16]);
        let request = UpgradeHeaders {
            method: "GET",
            upgrade: Some(b"websocket"),
            version: Some(b"13"),
            key: Some(&key),
        };
        assert_eq!(check_upgrade(&request), Ok(()));
        let offer = DeflateOffer::default();
        let offered = offer.to_header();
        let offers = [offered.as_bytes()].into_iter();
        let (negotiated, answer) =
            negotiate(&DeflateConfig::default(), offers).expect("acceptable");
        let response = ResponseHeaders {
            accept: Some(&accept_key(&key)),
            extensions: Some(answer.as_bytes()),
            ..GOOD
        };
        let agreed = check(&response, &key, Some(&offer));
        assert_eq!(agreed, Ok(Some(negotiated)));
        let other = client_key([8; 16]);
        assert_eq!(
            check(&response, &other, Some(&offer)),
            Err(ResponseError::Accept)
        );
    }
}
