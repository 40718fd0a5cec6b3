//! The sharded Redis adapter: on which channels its messages travel.
//!
//! The messages are [`Message`]s, as JSON or, with bytes in them, as MessagePack:
//! [`Message::to_json_or_notepack`]. There are no heartbeats; servers are counted by the subscribers
//! of [`ShardedChannels::main`]. Specification: `createShardedAdapter` of @socket.io/redis-adapter
//! 8.3.0.

use super::message::{Body, Uid};

/// Which rooms have a channel of their own. All servers must agree.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SubscriptionMode {
    /// All but those that are a socket's own.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
    /// None.
    Static,
}

/// The names of the channels of a namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShardedChannels {
    main: String,
    mode: SubscriptionMode,
}

impl ShardedChannels {
    /// Names the channels; the reference's prefix is `socket.io`.
    pub fn new(prefix: &str, nsp: &str, mode: SubscriptionMode) -> ShardedChannels {
        ShardedChannels {
            main: format!("{prefix}#{nsp}#"),
            mode,
        }
    }

    /// The channel of all servers.
    pub fn main(&self) -> &str {
        &self.main
    }

    /// The channel of responses to one server.
    pub fn response_to(&self, uid: &Uid) -> String {
        format!("{}{uid}#", self.main)
    }

    /// The channel of a room.
    pub fn room(&self, room: &str) -> String {
        format!("{}{room}#", self.main)
    }

    /// Where a message that is no response is published.
    ///
    /// A broadcast with answers goes to all servers, because all of them are waited for.
    pub fn publish_to(&self, body: &Body) -> String {
        if let Body::Broadcast {
            opts,
            request_id: None,
            ..
        } = body
            && let [room] = &opts.rooms[..]
            && self.has_broadcasts(room)
        {
            return self.room(room);
        }
        self.main.clone()
    }

    /// Says whether broadcasts to a room are published on its channel.
    fn has_broadcasts(&self, room: &str) -> bool {
        match self.mode {
            // A name of 20 UTF-16 units looks like a socket's id.
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
            SubscriptionMode::Static => false,
        }
    }

    /// Says whether a server subscribes to a room's channel while it has sockets in it.
    ///
    /// `is_own` tells that the room is the own one of a socket of this server.
    pub fn subscribes_to_room(&self, is_own: bool) -> bool {
        match self.mode {
            SubscriptionMode::Dynamic => !is_own,
            SubscriptionMode::DynamicPrivate => true,
            SubscriptionMode::Static => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{BroadcastOptions, Event, RequestId, Values};
    use super::*;

    fn broadcast(rooms: &[&str], request_id: Option<&str>) -> Body {
        Body::Broadcast {
            event: Event {
                name: "a".to_owned(),
                args: Values::default(),
            },
            opts: BroadcastOptions {
                rooms: rooms.iter().map(|&room| room.to_owned()).collect(),
                ..BroadcastOptions::default()
            },
            request_id: request_id.map(RequestId::new),
        }
    }

    #[test]
    fn a_broadcast_to_one_room_takes_its_channel_where_it_has_one() {
        use SubscriptionMode::{Dynamic, DynamicPrivate, Static};
        let sid = "TL-9e1LAQFlPFG7-AAAB";
        for (rooms, request_id, mode, expected) in [
            (&["room1"][..], None, Dynamic, "socket.io#/#room1#"),
            (&["room1"], None, DynamicPrivate, "socket.io#/#room1#"),
            (&["room1"], None, Static, "socket.io#/#"),
            (&["room1"], Some("1"), Dynamic, "socket.io#/#"),
            (&["room1", "room2"], None, DynamicPrivate, "socket.io#/#"),
            (&[], None, Dynamic, "socket.io#/#"),
            (&[sid], None, Dynamic, "socket.io#/#"),
            (
                &[sid],
                None,
                DynamicPrivate,
                "socket.io#/#TL-9e1LAQFlPFG7-AAAB#",
            ),
        ] {
            let channels = ShardedChannels::new("socket.io", "/", mode);
            let channel = channels.publish_to(&broadcast(rooms, request_id));
            assert_eq!(channel, expected, "{rooms:?} {mode:?}");
        }
    }

    #[test]
    fn the_mode_says_whose_rooms_are_subscribed_to() {
        for (mode, own, public) in [
            (SubscriptionMode::Dynamic, false, true),
            (SubscriptionMode::DynamicPrivate, true, true),
            (SubscriptionMode::Static, false, false),
        ] {
            let channels = ShardedChannels::new("socket.io", "/", mode);
            assert_eq!(channels.subscribes_to_room(true), own);
            assert_eq!(channels.subscribes_to_room(false), public);
        }
    }

    #[test]
    fn responses_go_to_the_channel_of_the_server_that_asked() {
        let channels = ShardedChannels::new("socket.io", "/foo", SubscriptionMode::Static);
        let channel = channels.response_to(&Uid::new("fd5c3a2aef4490aa"));
        assert_eq!(channel, "socket.io#/foo#fd5c3a2aef4490aa#");
    }
}
