//! What servers and emitters of JavaScript wrote, line by line: it is read, and written again.
//!
//! A line is a channel and the message, as JSON or in hexadecimal digits; in `streams.txt`, the
//! fields' values. Recorded with @socket.io/redis-adapter 8.3.0, redis-streams-adapter 0.3.1,
//! postgres-adapter 0.5.0, cluster-adapter 0.3.0 and their emitters.

use super::classic::{Broadcast, Channels, Request, Response};
use super::message::{Body, Message};
use super::postgres::{Header, Outgoing};
use super::sharded::{ShardedChannels, SubscriptionMode};
use super::streams::{Entry, Route, private_channel, public_channel};
use super::{Limits, Uid};

const BASE: &str = include_str!("captures/base.txt");
const CLASSIC: &str = include_str!("captures/classic.txt");
const POSTGRES: &str = include_str!("captures/postgres.txt");
const SHARDED: &str = include_str!("captures/sharded.txt");
const STREAMS: &str = include_str!("captures/streams.txt");
const STREAMS_PUBSUB: &str = include_str!("captures/streams_pubsub.txt");

fn limits() -> Limits {
    Limits::default()
}

/// A line's channel and message.
fn parts(line: &str) -> (&str, Vec<u8>) {
    let (channel, message) = line.split_once(' ').unwrap();
    if message.starts_with('{') {
        return (channel, message.as_bytes().to_vec());
    }
    let digits: Vec<_> = message.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let pairs = digits.chunks(2);
    (
        channel,
        pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect(),
    )
}

fn nsp_of(channel: &str) -> &str {
    channel.split('#').nth(1).unwrap()
}

/// Compares what was written with what is written, as text if it is.
fn assert_same(written: &[u8], expected: &[u8], line: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(written), text(expected), "{line}");
    assert_eq!(written, expected, "{line}");
}

/// Values that JSON has not become what they are in JSON: a date that is written by its bytes, and
/// the number of a room.
fn has_other_values(line: &str) -> bool {
    line.contains("d6ff00000000") || line.contains("a5726f6f6d73912aa6")
}

#[test]
fn messages_of_the_base_protocol() {
    let mut types = Vec::new();
    for line in BASE.lines() {
        let message = Message::decode(line.as_bytes(), "", &limits()).unwrap();
        types.push(message.body.message_type());
        assert_same(message.to_json().as_bytes(), line.as_bytes(), line);
        let msgpack = message.to_msgpack();
        assert_eq!(Message::decode(&msgpack, "", &limits()), Ok(message));
    }
    types.sort_unstable();
    types.dedup();
    assert_eq!(types, (1..=13).collect::<Vec<u8>>());
}

#[test]
fn messages_of_the_sharded_adapter() {
    for line in SHARDED.lines() {
        let (channel, bytes) = parts(line);
        let message = Message::decode(&bytes, "", &limits()).unwrap();
        assert_eq!(message.nsp, nsp_of(channel));
        if !has_other_values(line) {
            assert_same(&message.to_json_or_notepack(), &bytes, line);
        }
        let mode = SubscriptionMode::DynamicPrivate;
        let channels = ShardedChannels::new("socket.io", &message.nsp, mode);
        let is_own_room = channel == channels.publish_to(&message.body);
        assert!(is_own_room || channel == channels.main() || message.body.is_response());
    }
}

#[test]
fn messages_of_the_streams_adapter_on_channels() {
    for line in STREAMS_PUBSUB.lines() {
        let (channel, bytes) = parts(line);
        let message = Message::decode(&bytes, "", &limits()).unwrap();
        assert_same(&message.to_msgpack(), &bytes, line);
        let public = public_channel("socket.io", &message.nsp);
        match Route::of(&message.body) {
            Route::Public => assert_eq!(channel, public),
            Route::Private => {
                let uid = channel.strip_prefix(&public).unwrap().strip_suffix('#');
                let uid = Uid::new(uid.unwrap());
                assert_eq!(channel, private_channel("socket.io", &message.nsp, &uid));
            }
            Route::Stream => panic!("{line}"),
        }
    }
}

#[test]
fn entries_of_streams() {
    let mut plain = 0;
    for line in STREAMS.lines() {
        let fields = ["uid", "nsp", "type", "data"]
            .into_iter()
            .zip(line.split('\t'));
        let entry = Entry::from_fields(fields.clone()).unwrap();
        assert!(entry.fields().eq(fields), "{line}");
        let message = entry.decode(&limits()).unwrap();
        let by_emitter =
            message.uid.is_emitter() && matches!(message.body, Body::ServerSideEmit { .. });
        assert!(
            by_emitter || Route::of(&message.body) == Route::Stream,
            "{line}"
        );
        assert_eq!(Entry::new(&message), entry, "{line}");
        if entry.data.is_some_and(|data| data.starts_with('{')) {
            plain += 1;
            let again = Entry::plain(&message);
            assert_eq!(again, Entry::new(&message));
        }
    }
    assert!(plain > 0);
}

#[test]
fn messages_of_the_classic_adapter_and_its_emitter() {
    let mut types = Vec::new();
    for line in CLASSIC.lines() {
        let (channel, bytes) = parts(line);
        let channels = Channels::new("socket.io", nsp_of(channel));
        let written = if channel.starts_with(&channels.response) {
            Response::decode(&bytes, &limits()).unwrap().encode()
        } else if channel == channels.request {
            let request = Request::decode(&bytes, &limits()).unwrap();
            types.push(
                format!("{:?}", request.body)
                    .split_once(' ')
                    .unwrap()
                    .0
                    .to_owned(),
            );
            request.encode()
        } else {
            let broadcast = Broadcast::decode(&bytes, &limits()).unwrap();
            assert_eq!(channel, channels.broadcast_to(&broadcast.opts), "{line}");
            assert_eq!(broadcast.nsp, nsp_of(channel));
            let room = channels.room_of(channel).unwrap();
            assert!(room.is_empty() || broadcast.opts.rooms == [room]);
            broadcast.encode()
        };
        if !has_other_values(line) {
            assert_same(&written, &bytes, line);
        }
    }
    types.sort_unstable();
    types.dedup();
    assert_eq!(
        types,
        [
            "AllRooms",
            "Broadcast",
            "RemoteDisconnect",
            "RemoteFetch",
            "RemoteJoin",
            "RemoteLeave",
            "ServerSideEmit",
        ]
    );
}

#[test]
fn messages_of_the_postgres_adapter_and_its_emitter() {
    let mut last = None;
    for line in POSTGRES.lines() {
        let (channel, bytes) = parts(line);
        if channel == "row" {
            let message = Message::decode(&bytes, "/", &limits()).unwrap();
            if !message.uid.is_emitter() {
                assert_same(&message.to_msgpack(), &bytes, line);
            }
            last = Some(message);
            continue;
        }
        let payload = std::str::from_utf8(&bytes).unwrap();
        let header = Header::decode(payload).unwrap();
        let Some(id) = header.row else {
            let message = Message::decode(&bytes, nsp_of(channel), &limits()).unwrap();
            assert_eq!(header.uid.as_ref(), Some(&message.uid));
            // The emitter leaves out the namespace, and flags.
            if !message.uid.is_emitter() {
                assert_same(message.to_json().as_bytes(), &bytes, line);
            }
            assert_eq!(message.nsp, nsp_of(channel));
            continue;
        };
        let of_row = |message: &Message| Some(&message.uid) == header.uid.as_ref();
        if let Some(message) = last.as_ref().filter(|message| of_row(message)) {
            let Outgoing::Row { before, after, .. } = Outgoing::new(message) else {
                panic!("it is not stored: {line}");
            };
            assert_eq!(format!("{before}{id}{after}"), payload);
        }
    }
}
