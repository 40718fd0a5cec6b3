//! Packets on their way out: from values to what an outbox takes.
//!
//! Everything is encoded into buffers that belong to the thread and are used again, so that sending
//! to one socket allocates nothing of its own.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use socketio_proto::socket::{self, EncodedMessage, Packet, PacketKind, Parser};
use socketio_proto::websocket::{self, Opcode};

use crate::args;
use crate::error::EmitError;

/// One packet as engine messages, borrowed from the thread's buffers.
pub(crate) enum Encoded<'a> {
    /// The default parser's: a text frame's payload, and the attachments that follow it.
    Json {
        text: &'a [u8],
        attachments: &'a [Bytes],
    },
    /// A custom parser's messages.
    Custom(&'a [EncodedMessage]),
}

impl Encoded<'_> {
    /// Calls `each` for every frame, in order.
    pub(crate) fn frames(&self, mut each: impl FnMut(Opcode, &[u8])) {
        match self {
            Encoded::Json { text, attachments } => {
                each(Opcode::Text, text);
                attachments
                    .iter()
                    .for_each(|bytes| each(Opcode::Binary, bytes));
            }
            Encoded::Custom(messages) => {
                for message in *messages {
                    match message {
                        EncodedMessage::Text(text) => {
                            each(Opcode::Text, &[b"4", text.as_bytes()].concat());
                        }
                        EncodedMessage::Binary(bytes) => each(Opcode::Binary, bytes),
                    }
                }
            }
        }
    }

    /// Bytes that this takes in an outbox, at most.
    pub(crate) fn size(&self) -> usize {
        let mut size = 0;
        self.frames(|_, payload| size += payload.len() + 10);
        size
    }

    /// Finished frames, to be shared by many receivers.
    pub(crate) fn to_shared(&self) -> Vec<Bytes> {
        let mut shared = Vec::new();
        self.frames(|opcode, payload| shared.push(websocket::frame(opcode, payload)));
        shared
    }
}

#[derive(Default)]
struct Scratch {
    args: Vec<u8>,
    text: Vec<u8>,
    attachments: Vec<Bytes>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A buffer larger than this is not kept for the next packet.
const KEPT: usize = 256 * 1024;

/// Encodes an event and hands it to `then`.
pub(crate) fn event<T: Serialize + ?Sized, R>(
    parser: Option<&Arc<dyn Parser>>,
    nsp: &str,
    id: Option<u64>,
    name: &str,
    args: &T,
    then: impl FnOnce(Encoded<'_>) -> R,
) -> Result<R, EmitError> {
    if socket::is_reserved(name) {
        tracing::warn!(event = name, "a reserved event name cannot be emitted");
        return Err(EmitError::Reserved(name.to_owned()));
    }
    with_args(args, |scratch| {
        if let Some(parser) = parser {
            let mut data = vec![b'['];
            socket::write_json_string(&mut data, name);
            if !scratch.args.is_empty() {
                data.push(b',');
                data.extend_from_slice(&scratch.args);
            }
            data.push(b']');
            return then(Encoded::Custom(&custom(
                parser,
                PacketKind::Event,
                nsp,
                id,
                data,
                scratch,
            )));
        }
        let count = scratch.attachments.len();
        scratch.text.push(b'4');
        socket::encode_event(&mut scratch.text, nsp, id, count, name, &scratch.args);
        then(Encoded::Json {
            text: &scratch.text,
            attachments: &scratch.attachments,
        })
    })
}

/// Encodes the answer to an event and hands it to `then`.
pub(crate) fn ack<T: Serialize + ?Sized, R>(
    parser: Option<&Arc<dyn Parser>>,
    nsp: &str,
    id: u64,
    args: &T,
    then: impl FnOnce(Encoded<'_>) -> R,
) -> Result<R, EmitError> {
    with_args(args, |scratch| {
        if let Some(parser) = parser {
            let data = [b"[", &scratch.args[..], b"]"].concat();
            return then(Encoded::Custom(&custom(
                parser,
                PacketKind::Ack,
                nsp,
                Some(id),
                data,
                scratch,
            )));
        }
        let count = scratch.attachments.len();
        scratch.text.push(b'4');
        socket::encode_ack(&mut scratch.text, nsp, id, count, &scratch.args);
        then(Encoded::Json {
            text: &scratch.text,
            attachments: &scratch.attachments,
        })
    })
}

/// Encodes CONNECT's answer, CONNECT_ERROR or DISCONNECT and hands it to `then`.
pub(crate) fn control<R>(
    parser: Option<&Arc<dyn Parser>>,
    kind: PacketKind,
    nsp: &str,
    data: &str,
    then: impl FnOnce(Encoded<'_>) -> R,
) -> R {
    if let Some(parser) = parser {
        let messages = custom(
            parser,
            kind,
            nsp,
            None,
            data.into(),
            &mut Scratch::default(),
        );
        return then(Encoded::Custom(&messages));
    }
    let mut text = vec![b'4'];
    match kind {
        PacketKind::Connect => socket::encode_connect(&mut text, nsp, data),
        PacketKind::ConnectError => socket::encode_connect_error(&mut text, nsp, data),
        _ => socket::encode_disconnect(&mut text, nsp),
    }
    then(Encoded::Json {
        text: &text,
        attachments: &[],
    })
}

fn custom(
    parser: &Arc<dyn Parser>,
    kind: PacketKind,
    nsp: &str,
    id: Option<u64>,
    data: Vec<u8>,
    scratch: &mut Scratch,
) -> Vec<EncodedMessage> {
    let data = String::from_utf8(data).expect("serde_json writes UTF-8");
    parser.encode(&Packet {
        kind,
        nsp: nsp.into(),
        id,
        data: data.into(),
        attachments: std::mem::take(&mut scratch.attachments),
    })
}

/// Encodes `args` into the thread's buffers. A `Serialize` that itself emits finds empty ones.
fn with_args<T: Serialize + ?Sized, R>(
    args: &T,
    then: impl FnOnce(&mut Scratch) -> R,
) -> Result<R, EmitError> {
    let mut scratch = SCRATCH.take();
    let result = args::encode(args, &mut scratch.args, &mut scratch.attachments);
    let result = result
        .map(|()| then(&mut scratch))
        .map_err(EmitError::Encode);
    scratch.attachments.clear();
    for buffer in [&mut scratch.args, &mut scratch.text] {
        buffer.clear();
        if buffer.capacity() > KEPT {
            *buffer = Vec::new();
        }
    }
    SCRATCH.set(scratch);
    result
}
