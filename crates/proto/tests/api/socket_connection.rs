//! A connection's namespaces, through what a client sends.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use socketio_proto::socket::{Connection, ConnectionConfig, Incoming, Invalid, ParseError};

use crate::engine_sessions::start;
use crate::socket_packets::Random;

fn connection() -> Connection<u32> {
    Connection::new(&ConnectionConfig::default(), start())
}

/// A connection that has joined `/`, as 1.
fn joined() -> Connection<u32> {
    let mut connection = connection();
    connect(&mut connection, "0", 1);
    connection
}

/// Sends CONNECT and lets the client join; gives the auth.
fn connect(connection: &mut Connection<u32>, text: &str, socket: u32) -> String {
    let incoming = connection.handle_text(text).unwrap();
    let Some(Incoming::Connect { nsp, auth }) = incoming else {
        panic!("{text}: {incoming:?}")
    };
    assert!(connection.accept(&nsp, socket));
    auth.into_owned()
}

/// What an incoming packet is, in one line.
fn told(incoming: Result<Option<Incoming<'_, u32>>, Invalid>) -> String {
    match incoming {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Incoming::Ack {
            socket,
            id,
            args,
            attachments,
        })) => format!("ack {socket} {id} ({args}) {attachments:?}"),
        Ok(Some(Incoming::Connect { nsp, auth })) => format!("connect {nsp} {auth}"),
        Ok(Some(Incoming::Disconnect { socket })) => format!("disconnect {socket}"),
        Ok(Some(Incoming::Event {
            socket,
            id,
            event,
            attachments,
        })) => match event {
            Some(event) => format!(
                "event {socket} {id:?} {} ({}) {attachments:?}",
                event.name(),
                event.args
            ),
            None => format!("event {socket} {id:?} without payload"),
        },
        Err(Invalid::Parse(error)) => error.to_string(),
        Err(Invalid::State(_)) => "invalid state".to_owned(),
    }
}

// S001, S002.
#[test]
fn each_namespace_is_joined_with_its_own_auth() {
    let mut connection = connection();
    assert_eq!(connect(&mut connection, "0", 1), "");
    assert_eq!(connect(&mut connection, r#"0/a,{"t":1}"#, 2), r#"{"t":1}"#);
    assert_eq!(connection.sockets().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        told(connection.handle_text(r#"2["x"]"#)),
        "event 1 None x () []"
    );
    assert_eq!(
        told(connection.handle_text(r#"2/a,3["x",1]"#)),
        "event 2 Some(3) x (1) []"
    );
}

// P011.
#[test]
fn half_a_surrogate_pair_stays_in_arguments_and_is_replaced_elsewhere() {
    let mut connection = connection();
    let auth = connect(&mut connection, r#"0{"a":"\ud800"}"#, 1);
    assert_eq!(auth, r#"{"a":"\ufffd"}"#);
    assert_eq!(
        told(connection.handle_text(r#"2["\udfff","\ud800"]"#)),
        "event 1 None \u{fffd} (\"\\ud800\") []"
    );
    assert_eq!(
        told(connection.handle_text(r#"30["\ud83e\udd80","\udd80"]"#)),
        r#"ack 1 0 ("\ud83e\udd80","\udd80") []"#
    );
}

// P011.
#[test]
fn large_numbers_and_any_letter_pass_as_they_are() {
    let mut connection = joined();
    let text = r#"2["ünï🦀",9007199254740993,1e400,-0]"#;
    assert_eq!(
        told(connection.handle_text(text)),
        "event 1 None ünï🦀 (9007199254740993,1e400,-0) []"
    );
}

// S003: the connection stays.
#[test]
fn a_refused_namespace_does_not_touch_the_others() {
    let mut connection = joined();
    assert_eq!(told(connection.handle_text("0/x,")), "connect /x ");
    connection.refuse("/x");
    assert_eq!(told(connection.handle_text("2/x,[\"a\"]")), "invalid state");
    assert_eq!(told(connection.handle_text("0/x,")), "connect /x ");
    assert_eq!(connection.sockets().count(), 1);
    connection.refuse("/");
    assert_eq!(connection.sockets().count(), 1, "who has joined stays");
}

// S004.
#[test]
fn who_joins_nothing_is_late_once() {
    let now = start();
    let mut config = ConnectionConfig::default();
    config.connect_timeout = Duration::from_secs(3);
    let mut connection = Connection::<u32>::new(&config, now);
    let deadline = now + Duration::from_secs(3);
    assert_eq!(connection.poll_timeout(), Some(deadline));
    // To ask is not to join.
    connection.handle_text("0").unwrap();
    assert!(!connection.handle_timeout(now));
    assert!(!connection.handle_timeout(deadline - Duration::from_nanos(1)));
    assert!(connection.handle_timeout(deadline));
    assert!(!connection.handle_timeout(deadline + Duration::from_secs(1)));
    assert_eq!(connection.poll_timeout(), None);
}

// S004: once is enough.
#[test]
fn who_has_joined_once_may_stay_without_a_namespace() {
    let mut connection = joined();
    assert_eq!(connection.poll_timeout(), None);
    assert_eq!(told(connection.handle_text("1")), "disconnect 1");
    assert!(!connection.handle_timeout(start() + Duration::from_secs(1000)));
}

// S005, S006, S007.
#[test]
fn packets_that_do_not_fit_the_state_are_invalid() {
    for (before, text) in [
        (&[][..], "2[\"a\"]"),
        (&[], "30[]"),
        (&[], "1"),
        (&[], "4{}"),
        (&["0"], "0"),
        (&["0"], "2[\"a\"]"),
        (&["0"], "30[]"),
        (&["0"], "1"),
        (&["0", "accept"], "0"),
        (&["0", "accept"], "4{}"),
        (&["0", "accept"], "0/"),
        (&["0", "accept"], "2/a,[\"a\"]"),
        (&["0", "accept"], "1/a"),
        (&["0", "accept", "1"], "1"),
        (&["0", "accept", "1"], "2[\"a\"]"),
    ] {
        let mut connection = connection();
        for step in before {
            match *step {
                "accept" => assert!(connection.accept("/", 1)),
                text => assert!(connection.handle_text(text).is_ok()),
            }
        }
        let found = told(connection.handle_text(text));
        assert_eq!(found, "invalid state", "{text} after {before:?}");
    }
}

// S071: the payload is looked at before the state, as in the reference.
#[test]
fn a_malformed_packet_is_malformed_in_any_state() {
    for text in ["2{}", "2/other,[\"connect\"]", "3x", "0[]", "4[]"] {
        let found = connection().handle_text(text).map(drop);
        assert_eq!(found, Err(Invalid::Parse(ParseError::Payload)), "{text}");
    }
}

// S008.
#[test]
fn who_has_left_keeps_the_other_namespaces_and_may_come_back() {
    let mut connection = joined();
    connect(&mut connection, "0/a", 2);
    assert_eq!(told(connection.handle_text("1/a,")), "disconnect 2");
    assert_eq!(
        told(connection.handle_text("2[\"x\"]")),
        "event 1 None x () []"
    );
    connect(&mut connection, "0/a", 3);
    assert_eq!(connection.sockets().copied().collect::<Vec<_>>(), [1, 3]);
}

// S009: the server lets a client leave.
#[test]
fn a_namespace_is_left_once() {
    let mut connection = joined();
    assert_eq!(connection.leave("/"), Some(1));
    assert_eq!(connection.leave("/"), None);
    connection.handle_text("0").unwrap();
    assert_eq!(connection.leave("/"), None, "it is only being joined");
    assert!(connection.accept("/", 2));
    assert!(!connection.accept("/", 3), "once");
    assert_eq!(connection.close(), [2]);
    assert!(connection.close().is_empty());
}

// S020, S021.
#[test]
fn odd_packets_reach_their_socket() {
    for (text, expected) in [
        ("2", "event 1 None without payload"),
        ("2[1]", "event 1 None 1 () []"),
        ("2 [\"x\"]", "event 1 Some(0) x () []"),
        ("2[\"\\u0061\",{}]", "event 1 None a ({}) []"),
        ("2[\"\"]", "event 1 None  () []"),
        ("3", "nothing"),
        ("3[1]", "nothing"),
        ("39", "ack 1 9 () []"),
        ("39[ 1 , [2] ]", "ack 1 9 (1 , [2]) []"),
    ] {
        assert_eq!(told(joined().handle_text(text)), expected, "{text}");
    }
}

// S072, S074.
#[test]
fn attachments_complete_a_packet_in_their_order() {
    let mut connection = joined();
    let text = r#"52-4["b",{"_placeholder":true,"num":1},{"x":{"_placeholder":true,"num":0}}]"#;
    assert_eq!(told(connection.handle_text(text)), "nothing");
    assert_eq!(told(connection.handle_binary(b"one"[..].into())), "nothing");
    assert_eq!(
        told(connection.handle_binary(Cow::Owned(b"two".to_vec()))),
        r#"event 1 Some(4) b ({"_placeholder":true,"num":1},{"x":{"_placeholder":true,"num":0}}) [b"one", b"two"]"#
    );
    assert_eq!(
        told(connection.handle_binary(b"three"[..].into())),
        "got binary data when not reconstructing a packet"
    );
}

// S073.
#[test]
fn the_bounds_of_attachments_are_the_configuration_s() {
    let mut config = ConnectionConfig::default();
    config.max_attachments = 2;
    config.max_payload = 4;
    let mut connection = Connection::<u32>::new(&config, start());
    connect(&mut connection, "0", 1);
    assert_eq!(
        told(connection.handle_text("53-[\"a\"]")),
        "too many attachments"
    );
    assert_eq!(told(connection.handle_text("52-[\"a\"]")), "nothing");
    assert_eq!(
        told(connection.handle_binary(b"12345"[..].into())),
        "nothing"
    );
    assert_eq!(
        told(connection.handle_binary(b"6789"[..].into())),
        "attachments are too large"
    );
}

#[test]
fn any_sequence_keeps_the_invariants() {
    const MESSAGES: [&str; 12] = [
        "0",
        "0/a",
        "0/b,{\"x\":1}",
        "1",
        "1/a",
        "2[\"e\",1]",
        "2/a,5[\"e\"]",
        "2/b,[\"e\"]",
        "31[]",
        "51-[\"e\",{\"_placeholder\":true,\"num\":0}]",
        "4{}",
        "2",
    ];
    let mut random = Random(0x5eed_0003);
    for _ in 0..2000 {
        let mut connection = connection();
        let mut live = BTreeSet::new();
        for socket in 0..50 {
            let incoming = match random.index(8) {
                0 => connection.handle_binary(b"x"[..].into()),
                1 => {
                    let nsp = ["/", "/a", "/b"][random.index(3)];
                    if let Some(socket) = connection.leave(nsp) {
                        assert!(live.remove(&socket), "left once");
                    }
                    continue;
                }
                _ => connection.handle_text(MESSAGES[random.index(MESSAGES.len())]),
            };
            match incoming {
                Ok(Some(Incoming::Connect { nsp, .. })) => match random.index(3) {
                    0 => connection.refuse(&nsp),
                    1 => {
                        assert!(connection.accept(&nsp, socket));
                        live.insert(socket);
                    }
                    // The server takes its time.
                    _ => {}
                },
                Ok(Some(Incoming::Disconnect { socket })) => {
                    assert!(live.remove(&socket), "disconnected once");
                }
                Ok(Some(Incoming::Event { socket, .. } | Incoming::Ack { socket, .. })) => {
                    assert!(live.contains(&socket), "only who has joined hears");
                }
                Ok(None) | Err(_) => {}
            }
            let sockets: BTreeSet<_> = connection.sockets().copied().collect();
            assert_eq!(sockets, live);
        }
        let closed: BTreeSet<_> = connection.close().into_iter().collect();
        assert_eq!(closed, live);
        assert_eq!(connection.poll_timeout(), None);
    }
}
