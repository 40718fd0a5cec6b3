//! Messages as JSON text with placeholders, members in the order of the official packages.
//!
//! From here they go out as they are, or as MessagePack, which keeps the order. An emitter orders
//! the options in its own way, and repeats the namespace in the packet; both read the same.

use bytes::Bytes;

use super::message::{Body, BroadcastOptions, Event, Flags, Message, RequestId, Sockets, Values};
use crate::socket::{
    Binary, Dialect, MAX_DEPTH, MsgpackParser, json_to_msgpack, msgpack_to_json, write_json_string,
};

/// What becomes of `undefined`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Undefined {
    /// Its key is left out: JSON and notepack.
    Absent,
    /// It is nothing: `@msgpack/msgpack`.
    Null,
}

impl From<Dialect> for Undefined {
    fn from(dialect: Dialect) -> Undefined {
        match dialect {
            Dialect::Msgpack => Undefined::Null,
            Dialect::Notepack => Undefined::Absent,
        }
    }
}

impl Message {
    /// Writes the message as JSON. Bytes in it become what `JSON.stringify` makes of a Buffer.
    pub fn to_json(&self) -> String {
        inline(self.text(Undefined::Absent), self.body.attachments())
    }

    /// Writes the message as the sharded Redis adapter does: as JSON, or as MessagePack if there are
    /// bytes in it.
    pub fn to_json_or_notepack(&self) -> Vec<u8> {
        let text = self.text(Undefined::Absent);
        match self.body.attachments() {
            [] => text.into_bytes(),
            attachments => to_msgpack(&text, attachments, Dialect::Notepack),
        }
    }

    /// Writes the message as `@msgpack/msgpack` does.
    pub fn to_msgpack(&self) -> Vec<u8> {
        let text = self.text(Undefined::Null);
        to_msgpack(&text, self.body.attachments(), Dialect::Msgpack)
    }

    fn text(&self, undefined: Undefined) -> String {
        let mut out = Writer::new(undefined);
        out.raw("{\"type\":");
        out.number(self.body.message_type().into());
        if self.body.has_data() {
            out.raw(",\"data\":");
            out.data(self);
        }
        out.raw(",\"uid\":");
        out.string(self.uid.as_str());
        out.raw(",\"nsp\":");
        out.string(&self.nsp);
        out.raw("}");
        out.finish()
    }

    /// The data alone, if there is any.
    pub(super) fn data_text(&self, undefined: Undefined) -> Option<String> {
        self.body.has_data().then(|| {
            let mut out = Writer::new(undefined);
            out.data(self);
            out.finish()
        })
    }
}

impl Body {
    fn has_data(&self) -> bool {
        !matches!(
            self,
            Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose
        )
    }
}

/// Translates a text with placeholders.
pub(super) fn to_msgpack(text: &str, attachments: &[Bytes], dialect: Dialect) -> Vec<u8> {
    json_to_msgpack(text, attachments, dialect).expect("written from valid values")
}

/// Writes bytes where their placeholders stand, as `JSON.stringify` writes a Buffer.
pub(super) fn inline(text: String, attachments: &[Bytes]) -> String {
    if attachments.is_empty() {
        return text;
    }
    let bytes = to_msgpack(&text, attachments, Dialect::Notepack);
    let unlimited = MsgpackParser {
        max_attachments: usize::MAX,
        max_bytes: usize::MAX,
    };
    // The values may be as deep as any, within the message.
    let inlined = msgpack_to_json(&bytes, unlimited, 2 * MAX_DEPTH, Binary::Inline);
    inlined.map_or(text, |(text, _)| text)
}

/// Writes parts of messages.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    undefined: Undefined,
}

impl Writer {
    pub(super) fn new(undefined: Undefined) -> Writer {
        Writer {
            out: Vec::with_capacity(256),
            undefined,
        }
    }

    pub(super) fn finish(self) -> String {
        String::from_utf8(self.out).expect("made of strings")
    }

    fn data(&mut self, message: &Message) {
        let by_emitter = message.uid.is_emitter();
        match &message.body {
            Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose => self.raw("{}"),
            Body::Broadcast {
                event,
                opts,
                request_id,
            } => {
                self.raw("{\"packet\":");
                self.packet(event, by_emitter.then_some(&*message.nsp));
                if let Some(id) = request_id {
                    self.raw(",");
                    self.request_id(id);
                }
                self.raw(",\"opts\":");
                match by_emitter {
                    true => self.emitter_options(opts),
                    false => self.options(opts),
                }
                self.raw("}");
            }
            Body::SocketsJoin { opts, rooms } | Body::SocketsLeave { opts, rooms } => {
                self.raw("{\"opts\":");
                self.options(opts);
                self.raw(",\"rooms\":");
                self.strings(rooms);
                self.raw("}");
            }
            Body::DisconnectSockets { opts, close } => {
                self.raw("{\"opts\":");
                self.options(opts);
                self.raw(",\"close\":");
                self.boolean(*close);
                self.raw("}");
            }
            Body::FetchSockets { opts, request_id } => {
                self.raw("{\"opts\":");
                self.options(opts);
                self.raw(",");
                self.request_id(request_id);
                self.raw("}");
            }
            Body::FetchSocketsResponse {
                request_id,
                sockets,
            } => {
                self.raw("{");
                self.request_id(request_id);
                self.raw(",\"sockets\":");
                self.sockets(sockets);
                self.raw("}");
            }
            Body::ServerSideEmit { event, request_id } => {
                self.raw("{");
                if let Some(id) = request_id {
                    self.request_id(id);
                    self.raw(",");
                }
                self.raw("\"packet\":");
                self.event(event);
                self.raw("}");
            }
            Body::ServerSideEmitResponse { request_id, value }
            | Body::BroadcastAck { request_id, value } => {
                self.raw("{");
                self.request_id(request_id);
                self.value(",\"packet\":", value.as_ref());
                self.raw("}");
            }
            Body::BroadcastClientCount {
                request_id,
                client_count,
            } => {
                self.raw("{");
                self.request_id(request_id);
                self.raw(",\"clientCount\":");
                self.number(*client_count);
                self.raw("}");
            }
        }
    }

    /// An event as a packet of Socket.IO.
    pub(super) fn packet(&mut self, event: &Event, nsp: Option<&str>) {
        self.raw("{\"type\":2,\"data\":");
        self.event(event);
        if let Some(nsp) = nsp {
            self.raw(",\"nsp\":");
            self.string(nsp);
        }
        self.raw("}");
    }

    /// An event as an array.
    pub(super) fn event(&mut self, event: &Event) {
        self.raw("[");
        self.string(&event.name);
        if !event.args.text().is_empty() {
            self.raw(",");
            self.raw(event.args.as_str());
        }
        self.raw("]");
    }

    pub(super) fn options(&mut self, opts: &BroadcastOptions) {
        self.target(opts);
        self.raw(",\"flags\":");
        self.flags(&opts.flags);
        self.raw("}");
    }

    pub(super) fn emitter_options(&mut self, opts: &BroadcastOptions) {
        self.raw("{\"rooms\":");
        self.strings(&opts.rooms);
        self.raw(",\"flags\":");
        self.flags(&opts.flags);
        self.raw(",\"except\":");
        self.strings(&opts.except);
        self.raw("}");
    }

    /// Options without their end.
    pub(super) fn target(&mut self, opts: &BroadcastOptions) {
        self.raw("{\"rooms\":");
        self.strings(&opts.rooms);
        self.raw(",\"except\":");
        self.strings(&opts.except);
    }

    fn flags(&mut self, flags: &Flags) {
        let mut separator = "{";
        let mut key = |out: &mut Writer, key: &str| {
            out.raw(std::mem::replace(&mut separator, ","));
            out.string(key);
            out.raw(":");
        };
        if flags.expect_single_response {
            key(self, "expectSingleResponse");
            self.boolean(true);
        }
        if flags.volatile {
            key(self, "volatile");
            self.boolean(true);
        }
        if let Some(compress) = flags.compress {
            key(self, "compress");
            self.boolean(compress);
        }
        if let Some(timeout) = flags.timeout {
            key(self, "timeout");
            self.number(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        }
        self.raw(match separator {
            "{" => "{}",
            _ => "}",
        });
    }

    pub(super) fn sockets(&mut self, sockets: &Sockets) {
        self.raw("[");
        for (i, socket) in sockets.sockets.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            self.raw("{\"id\":");
            self.string(&socket.id);
            self.raw(",\"handshake\":");
            self.raw(socket.handshake());
            self.raw(",\"rooms\":");
            self.strings(&socket.rooms);
            self.raw(",\"data\":");
            self.raw(socket.data());
            self.raw("}");
        }
        self.raw("]");
    }

    pub(super) fn request_id(&mut self, id: &RequestId) {
        self.raw("\"requestId\":");
        self.string(id.as_str());
    }

    /// A member that may be `undefined`.
    pub(super) fn value(&mut self, key: &str, value: Option<&Values>) {
        // Several values are no value, and the first is meant.
        let text = value.and_then(|values| crate::socket::split_args(values.as_str()).next());
        match (text, self.undefined) {
            (Some(text), _) => {
                self.raw(key);
                self.raw(text);
            }
            (None, Undefined::Absent) => {}
            (None, Undefined::Null) => {
                self.raw(key);
                self.raw("null");
            }
        }
    }

    pub(super) fn strings(&mut self, strings: &[String]) {
        self.raw("[");
        for (i, string) in strings.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            self.string(string);
        }
        self.raw("]");
    }

    pub(super) fn string(&mut self, text: &str) {
        write_json_string(&mut self.out, text);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.raw(&number.to_string());
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Uid;
    use super::*;

    fn answer(values: Option<Values>) -> Message {
        let request_id = RequestId::new("r");
        Message {
            uid: Uid::new("u"),
            nsp: "/".to_owned(),
            body: Body::ServerSideEmitResponse {
                request_id,
                value: values,
            },
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn bytes_become_a_buffer_where_all_is_text() {
        let text = r#"[{ "_placeholder" : true , "num" : 1 },{"_placeholder":true,"num":0},1e3]"#;
        let attachments = vec![Bytes::from_static(b"\x01\xff"), Bytes::new()];
        let message = answer(Values::new(text, attachments));
        let expected = concat!(
            r#"{"type":10,"data":{"requestId":"r","packet":[{"type":"Buffer","data":[]},"#,
            r#"{"type":"Buffer","data":[1,255]},1000]},"uid":"u","nsp":"/"}"#
        );
        assert_eq!(message.to_json(), expected);
    }

    #[test]
    fn the_dialects_differ_in_large_integers() {
        for (text, notepack, msgpack) in [
            (
                "9007199254740991",
                "cf001fffffffffffff",
                "cf001fffffffffffff",
            ),
            (
                "9007199254740992",
                "cf0020000000000000",
                "cb4340000000000000",
            ),
            (
                "9223372036854775808",
                "cf8000000000000000",
                "cb43e0000000000000",
            ),
            (
                "-9007199254740991",
                "d3ffe0000000000001",
                "d3ffe0000000000001",
            ),
            (
                "-9007199254740992",
                "d3ffe0000000000000",
                "cbc340000000000000",
            ),
            ("1e300", "cb7e37e43c8800759c", "cb7e37e43c8800759c"),
            ("1.0", "01", "01"),
            ("-0", "00", "00"),
        ] {
            assert_eq!(
                hex(&to_msgpack(text, &[], Dialect::Notepack)),
                notepack,
                "{text}"
            );
            assert_eq!(
                hex(&to_msgpack(text, &[], Dialect::Msgpack)),
                msgpack,
                "{text}"
            );
        }
    }

    #[test]
    fn undefined_is_left_out_or_null() {
        let message = answer(None);
        let text = r#"{"type":10,"data":{"requestId":"r"},"uid":"u","nsp":"/"}"#;
        assert_eq!(message.to_json(), text);
        let null = r#"{"type":10,"data":{"requestId":"r","packet":null},"uid":"u","nsp":"/"}"#;
        assert_eq!(
            message.to_msgpack(),
            to_msgpack(null, &[], Dialect::Msgpack)
        );
    }

    #[test]
    fn only_values_are_values() {
        for text in ["", "1", "1,\"a\",[]", " {} , null "] {
            assert!(Values::new(text, Vec::new()).is_some(), "{text}");
        }
        for text in [",", "1,", "[", "1 2", "]", "\u{0}"] {
            assert_eq!(Values::new(text, Vec::new()), None, "{text}");
        }
        assert_eq!(Values::new(&b"\"\xff\""[..], Vec::new()), None);
    }
}
