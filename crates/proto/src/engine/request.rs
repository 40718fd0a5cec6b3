//! Requests: what their query says, and whether they may pass.
//!
//! The order of the checks is the reference's, so that a request with several faults gets the same
//! answer. Middlewares come before, `allow_request` and the protocol's revision
//! ([`verify_protocol`]) after; all three are the caller's to run.
//!
//! Spec: Engine.IO v4, "Handshake"; the error codes are the reference's.

use super::config::Config;
use super::packet::Transport;
use super::query::Query;
use super::request_error::RequestError;

/// The revision of the Engine.IO protocol that a client speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Revision {
    /// Socket.IO 1 and 2.
    V3,
    /// Socket.IO 3 and 4.
    V4,
}

impl Revision {
    /// Returns its number.
    pub fn number(self) -> u8 {
        match self {
            Revision::V3 => 3,
            Revision::V4 => 4,
        }
    }
}

/// What the query of a request says about the session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Request<'a> {
    /// The name of the transport.
    pub transport: Option<&'a str>,
    /// The id of the session that the request belongs to; an empty one counts as none.
    pub sid: Option<&'a str>,
    /// The protocol's revision.
    #[doc(alias = "EIO")]
    pub eio: Option<&'a str>,
    /// The index of the callback of a JSONP request.
    pub j: Option<&'a str>,
    /// Asks for base64 instead of binary; an empty value counts as none.
    pub b64: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Takes what matters out of a query.
    pub fn from_query(query: &'a Query<'a>) -> Request<'a> {
        let mut request = Request::default();
        // The last of equal names counts.
        for (name, value) in query.iter() {
            match name {
                "transport" => request.transport = Some(value),
                "sid" => request.sid = Some(value).filter(|sid| !sid.is_empty()),
                "EIO" => request.eio = Some(value),
                "j" => request.j = Some(value),
                "b64" => request.b64 = Some(value).filter(|b64| !b64.is_empty()),
                _ => {}
            }
        }
        request
    }

    /// Returns the revision of the protocol: every value but "4" means 3.
    pub fn revision(&self) -> Revision {
        match self.eio {
            Some("4") => Revision::V4,
            Some(_) | None => Revision::V3,
        }
    }
}

/// What the rest of the request says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestMeta<'a> {
    /// The method.
    pub method: &'a str,
    /// Whether it is a WebSocket handshake.
    pub is_upgrade: bool,
    /// The value of the header `Origin`.
    pub origin: Option<&'a [u8]>,
}

/// What has to be known of the session that a request names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionView {
    /// The transport that carries its messages.
    pub transport: Transport,
    /// The revision of the protocol it was opened with.
    pub revision: Revision,
}

/// A request that may pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verified {
    /// It asks for a new session.
    Handshake {
        /// The transport in its query.
        transport: Transport,
    },
    /// It belongs to the session that it names.
    Session {
        /// The transport in its query.
        transport: Transport,
    },
}

/// Checks a request; `lookup` finds the session with an id.
///
/// # Errors
/// Fails with the first check that fails, in the reference's order: transport, origin, then with an
/// id the session, its transport and its revision, without one the method and the upgrade. Last comes
/// an upgrade that names polling, which the reference answers with 101 and a close frame.
pub fn verify(
    request: &Request<'_>,
    meta: &RequestMeta<'_>,
    config: &Config,
    lookup: impl FnOnce(&str) -> Option<SessionView>,
) -> Result<Verified, RequestError> {
    let name = request.transport;
    let known = name
        .and_then(Transport::from_name)
        .filter(|transport| config.allows(*transport));
    let Some(transport) = known else {
        return Err(RequestError::UnknownTransport {
            transport: name.map(str::to_owned),
        });
    };
    // Without the WebSocket transport nobody listens for upgrades: it is a plain request.
    let is_upgrade = meta.is_upgrade && config.allows(Transport::WebSocket);
    if let Some(origin) = meta
        .origin
        .filter(|origin| !origin.iter().all(|&b| is_legal(b)))
    {
        let origin = origin.iter().copied().map(char::from).collect();
        return Err(RequestError::InvalidOrigin { origin });
    }
    let Some(sid) = request.sid else {
        if meta.method != "GET" {
            return Err(RequestError::BadHandshakeMethod {
                method: meta.method.to_owned(),
            });
        }
        if transport == Transport::WebSocket && !is_upgrade {
            return Err(RequestError::TransportHandshakeError);
        }
        if transport == Transport::Polling && is_upgrade {
            return Err(RequestError::UpgradeOfPolling);
        }
        return Ok(Verified::Handshake { transport });
    };
    let Some(session) = lookup(sid) else {
        return Err(RequestError::UnknownSid {
            sid: sid.to_owned(),
        });
    };
    if !is_upgrade && session.transport != transport {
        return Err(RequestError::TransportMismatch {
            transport,
            previous_transport: session.transport,
        });
    }
    if request.revision() != session.revision {
        return Err(RequestError::ProtocolMismatch {
            protocol: request.revision().number(),
            previous_protocol: session.revision.number(),
        });
    }
    if transport == Transport::Polling && is_upgrade {
        return Err(RequestError::UpgradeOfPolling);
    }
    Ok(Verified::Session { transport })
}

/// Checks the revision of the protocol that a handshake asks for.
///
/// The reference does this last, when `allow_request` has agreed.
///
/// # Errors
/// Fails for every revision but 4, unless the configuration allows revision 3.
pub fn verify_protocol(request: &Request<'_>, config: &Config) -> Result<Revision, RequestError> {
    match request.revision() {
        Revision::V3 if !config.allow_eio3 => {
            Err(RequestError::UnsupportedProtocol { protocol: 3 })
        }
        revision => Ok(revision),
    }
}

/// Says whether a byte may stand in the value of a header.
fn is_legal(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLLING: SessionView = SessionView {
        transport: Transport::Polling,
        revision: Revision::V4,
    };
    const WEBSOCKET: SessionView = SessionView {
        transport: Transport::WebSocket,
        revision: Revision::V4,
    };
    const GET: RequestMeta<'_> = RequestMeta {
        method: "GET",
        is_upgrade: false,
        origin: None,
    };
    const UPGRADE: RequestMeta<'_> = RequestMeta {
        method: "GET",
        is_upgrade: true,
        origin: None,
    };

    fn with(
        query: &str,
        meta: &RequestMeta<'_>,
        config: &Config,
        session: Option<SessionView>,
    ) -> Result<Verified, RequestError> {
        let query = Query::parse(query);
        verify(&Request::from_query(&query), meta, config, |_| session)
    }

    fn check(
        query: &str,
        meta: &RequestMeta<'_>,
        session: Option<SessionView>,
    ) -> Result<Verified, RequestError> {
        with(query, meta, &Config::default(), session)
    }

    #[test]
    fn good_requests_pass() {
        let handshake = |transport| Ok(Verified::Handshake { transport });
        let session = |transport| Ok(Verified::Session { transport });
        let (polling, websocket) = (Transport::Polling, Transport::WebSocket);
        assert_eq!(
            check("EIO=4&transport=polling", &GET, None),
            handshake(polling)
        );
        assert_eq!(
            check("EIO=4&transport=polling&sid=", &GET, None),
            handshake(polling)
        );
        assert_eq!(
            check("EIO=4&transport=websocket", &UPGRADE, None),
            handshake(websocket)
        );
        assert_eq!(
            check("EIO=4&transport=polling&sid=a", &GET, Some(POLLING)),
            session(polling)
        );
        let upgrade = check("EIO=4&transport=websocket&sid=a", &UPGRADE, Some(POLLING));
        assert_eq!(upgrade, session(websocket));
        let poll = check("EIO=4&transport=polling&sid=a", &GET, Some(POLLING));
        assert_eq!(poll, session(polling));
    }

    #[test]
    fn an_upgrade_that_names_polling_is_refused_after_all_else() {
        let upgrade = |query, session| check(query, &UPGRADE, session).unwrap_err();
        let polling = "EIO=4&transport=polling";
        assert_eq!(upgrade(polling, None), RequestError::UpgradeOfPolling);
        for session in [POLLING, WEBSOCKET] {
            let with_id = upgrade("EIO=4&transport=polling&sid=a", Some(session));
            assert_eq!(with_id, RequestError::UpgradeOfPolling);
        }
        let unknown = upgrade("EIO=4&transport=polling&sid=a", None);
        assert_eq!(unknown.code(), 1);
        let revision = upgrade("EIO=3&transport=polling&sid=a", Some(POLLING));
        assert!(matches!(revision, RequestError::ProtocolMismatch { .. }));
    }

    #[test]
    fn lookup_gets_the_decoded_id() {
        let query = Query::parse("EIO=4&transport=polling&sid=a%2Bb");
        let request = Request::from_query(&query);
        let verified = verify(&request, &GET, &Config::default(), |sid| {
            assert_eq!(sid, "a+b");
            Some(POLLING)
        });
        assert_eq!(
            verified,
            Ok(Verified::Session {
                transport: Transport::Polling
            })
        );
    }

    // E004
    #[test]
    fn unknown_transport_is_code_0() {
        for (query, transport) in [
            ("EIO=4&transport=foo", Some("foo")),
            ("EIO=4", None),
            ("EIO=4&transport=__proto__", Some("__proto__")),
            ("EIO=4&transport=webtransport&sid=a", Some("webtransport")),
            ("EIO=4&transport=", Some("")),
        ] {
            let error = check(query, &GET, None).unwrap_err();
            let transport = transport.map(str::to_owned);
            assert_eq!(error, RequestError::UnknownTransport { transport });
        }
    }

    // E053
    #[test]
    fn disabled_transport_is_code_0() {
        let mut config = Config::default();
        config.set_transports([Transport::WebSocket]);
        assert_eq!(
            with("EIO=4&transport=polling", &GET, &config, None)
                .unwrap_err()
                .code(),
            0
        );
        config.set_transports([Transport::Polling]);
        assert_eq!(
            with("EIO=4&transport=websocket", &UPGRADE, &config, None)
                .unwrap_err()
                .code(),
            0
        );
    }

    #[test]
    fn upgrade_is_a_plain_request_where_websocket_is_disabled() {
        let mut config = Config::default();
        config.set_transports([Transport::Polling]);
        let verified = with(
            "EIO=4&transport=polling&sid=a",
            &UPGRADE,
            &config,
            Some(WEBSOCKET),
        );
        assert!(matches!(
            verified,
            Err(RequestError::TransportMismatch { .. })
        ));
    }

    // E005
    #[test]
    fn unknown_sid_is_code_1() {
        let error = check("EIO=4&transport=polling&sid=abc", &GET, None).unwrap_err();
        assert_eq!(
            error,
            RequestError::UnknownSid {
                sid: "abc".to_owned()
            }
        );
    }

    // E006
    #[test]
    fn handshake_by_another_method_is_code_2() {
        for method in ["POST", "PUT", "OPTIONS", "get"] {
            let meta = RequestMeta { method, ..GET };
            let error = check("EIO=4&transport=polling", &meta, None).unwrap_err();
            assert_eq!(
                error,
                RequestError::BadHandshakeMethod {
                    method: method.to_owned()
                }
            );
        }
    }

    // E007
    #[test]
    fn websocket_without_an_upgrade_is_code_3() {
        let error = check("EIO=4&transport=websocket", &GET, None).unwrap_err();
        assert_eq!(error, RequestError::TransportHandshakeError);
    }

    // E008, E051
    #[test]
    fn wrong_transport_for_the_session_is_code_3() {
        let error = check("EIO=4&transport=websocket&sid=a", &GET, Some(POLLING)).unwrap_err();
        let expected = RequestError::TransportMismatch {
            transport: Transport::WebSocket,
            previous_transport: Transport::Polling,
        };
        assert_eq!(error, expected);
        let error = check("EIO=4&transport=polling&sid=a", &GET, Some(WEBSOCKET)).unwrap_err();
        let expected = RequestError::TransportMismatch {
            transport: Transport::Polling,
            previous_transport: Transport::WebSocket,
        };
        assert_eq!(error, expected);
    }

    // E009
    #[test]
    fn wrong_revision_for_the_session_is_code_3() {
        for query in ["EIO=3&transport=polling&sid=a", "transport=polling&sid=a"] {
            let error = check(query, &GET, Some(POLLING)).unwrap_err();
            let expected = RequestError::ProtocolMismatch {
                protocol: 3,
                previous_protocol: 4,
            };
            assert_eq!(error, expected);
        }
    }

    // E012
    #[test]
    fn every_revision_but_4_is_code_5() {
        for query in ["EIO=3", "EIO=5", "", "EIO=", "EIO=04", "EIO=4&EIO=3"] {
            let query = Query::parse(query);
            let request = Request::from_query(&query);
            let error = RequestError::UnsupportedProtocol { protocol: 3 };
            let mut config = Config::default();
            assert_eq!(verify_protocol(&request, &config), Err(error));
            config.allow_eio3 = true;
            assert_eq!(verify_protocol(&request, &config), Ok(Revision::V3));
        }
        let query = Query::parse("EIO=4");
        let request = Request::from_query(&query);
        let result = verify_protocol(&request, &Config::default());
        assert_eq!(result, Ok(Revision::V4));
    }

    #[test]
    fn origin_with_illegal_bytes_is_code_3() {
        let meta = RequestMeta {
            origin: Some(b"http://a\x01\xe9"),
            ..GET
        };
        let error = check("EIO=4&transport=polling&sid=gone", &meta, None).unwrap_err();
        let origin = "http://a\u{1}\u{e9}".to_owned();
        assert_eq!(error, RequestError::InvalidOrigin { origin });
        for origin in [&b"http://a.example"[..], b"", b"\t \xe9~"] {
            let meta = RequestMeta {
                origin: Some(origin),
                ..GET
            };
            assert!(check("EIO=4&transport=polling", &meta, None).is_ok());
        }
    }

    #[test]
    fn first_fault_in_order_is_the_answer() {
        let bad_origin = Some(&b"\x7f"[..]);
        let post = RequestMeta {
            method: "POST",
            is_upgrade: false,
            origin: bad_origin,
        };
        assert_eq!(
            check("transport=x&sid=y", &post, None).unwrap_err().code(),
            0
        );
        let error = check("transport=polling&sid=y", &post, None).unwrap_err();
        assert!(matches!(error, RequestError::InvalidOrigin { .. }));
        let post = RequestMeta {
            origin: None,
            ..post
        };
        assert_eq!(
            check("transport=polling&sid=y", &post, None)
                .unwrap_err()
                .code(),
            1
        );
        let error = check("transport=websocket&sid=y", &post, Some(POLLING)).unwrap_err();
        assert!(matches!(error, RequestError::TransportMismatch { .. }));
        assert_eq!(
            check("transport=websocket", &post, None)
                .unwrap_err()
                .code(),
            2
        );
    }
}
