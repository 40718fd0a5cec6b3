//! Packets on their way out, on both sides: from values to what an outbox takes.
//!
//! Everything is encoded into buffers that belong to the thread and are used again, so that sending
//! to one socket allocates nothing of its own.

use socketio_proto::Printable;
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

/// What of an event is known before its arguments.
#[derive(Clone, Copy)]
pub(crate) struct EventHead<'a> {
    pub(crate) parser: Option<&'a Arc<dyn Parser>>,
    pub(crate) nsp: &'a str,
    pub(crate) id: Option<u64>,
    pub(crate) name: &'a str,
}

/// An event whose arguments are encoded, which runs code of the application's. The rest does not,
/// and may happen under a lock.
pub(crate) struct Unfinished<'a> {
    head: EventHead<'a>,
    scratch: &'a mut Scratch,
}

impl Unfinished<'_> {
    /// Sets the ack id.
    pub(crate) fn with_id(mut self, id: Option<u64>) -> Self {
        self.head.id = id;
        self
    }

    /// Keeps the arguments for later.
    pub(crate) fn to_args(&self) -> EventArgs {
        EventArgs {
            args: self.scratch.args.clone(),
            attachments: self.scratch.attachments.clone(),
        }
    }

    /// Encodes the whole, with an offset as its last argument if there is one.
    pub(crate) fn finish<R>(self, offset: Option<&[u8]>, then: impl FnOnce(Encoded<'_>) -> R) -> R {
        let Unfinished { head, scratch } = self;
        if let Some(offset) = offset {
            push_offset(&mut scratch.args, offset);
        }
        head.encode(
            &scratch.args,
            &mut scratch.text,
            &mut scratch.attachments,
            then,
        )
    }
}

impl EventHead<'_> {
    fn encode<R>(
        &self,
        args: &[u8],
        text: &mut Vec<u8>,
        attachments: &mut Vec<Bytes>,
        then: impl FnOnce(Encoded<'_>) -> R,
    ) -> R {
        let EventHead {
            parser,
            nsp,
            id,
            name,
        } = *self;
        if let Some(parser) = parser {
            let mut data = vec![b'['];
            socket::write_json_string(&mut data, name);
            if !args.is_empty() {
                data.push(b',');
                data.extend_from_slice(args);
            }
            data.push(b']');
            let attachments = std::mem::take(attachments);
            return then(Encoded::Custom(&custom(
                parser,
                PacketKind::Event,
                nsp,
                id,
                data,
                attachments,
            )));
        }
        text.push(b'4');
        socket::encode_event(text, nsp, id, attachments.len(), name, args);
        then(Encoded::Json { text, attachments })
    }
}

fn push_offset(args: &mut Vec<u8>, offset: &[u8]) {
    if !args.is_empty() {
        args.push(b',');
    }
    args.push(b'"');
    args.extend_from_slice(offset);
    args.push(b'"');
}

/// Encodes an event's arguments and hands it to `then`.
pub(crate) fn unfinished<T: Serialize + ?Sized, R>(
    head: EventHead<'_>,
    args: &T,
    then: impl FnOnce(Unfinished<'_>) -> R,
) -> Result<R, EmitError> {
    if socket::is_reserved(head.name) {
        tracing::warn!(
            event = Printable::new(&head.name).to_string(),
            "a reserved event name cannot be emitted"
        );
        return Err(EmitError::Reserved(head.name.to_owned()));
    }
    with_args(args, |scratch| then(Unfinished { head, scratch }))
}

/// Encodes an event and hands it to `then`.
pub(crate) fn event<T: Serialize + ?Sized, R>(
    head: EventHead<'_>,
    args: &T,
    then: impl FnOnce(Encoded<'_>) -> R,
) -> Result<R, EmitError> {
    unfinished(head, args, |event| event.finish(None, then))
}

/// The arguments of an event that gets its offset later, and several times in a cluster.
#[derive(Clone, Debug)]
pub(crate) struct EventArgs {
    args: Vec<u8>,
    attachments: Vec<Bytes>,
}

impl EventArgs {
    pub(crate) fn new<T: Serialize + ?Sized>(
        head: EventHead<'_>,
        args: &T,
    ) -> Result<EventArgs, EmitError> {
        unfinished(head, args, |event| event.to_args())
    }

    /// About how many bytes this takes.
    pub(crate) fn size(&self) -> usize {
        let attachments: usize = self.attachments.iter().map(Bytes::len).sum();
        self.args.len() + attachments
    }

    /// Encodes the whole.
    pub(crate) fn encoded<R>(&self, head: EventHead<'_>, then: impl FnOnce(Encoded<'_>) -> R) -> R {
        let mut attachments = self.attachments.clone();
        head.encode(&self.args, &mut Vec::new(), &mut attachments, then)
    }

    /// Finished frames, to be shared by many receivers.
    pub(crate) fn to_shared(&self, head: EventHead<'_>, offset: Option<&[u8]>) -> Vec<Bytes> {
        let (mut args, mut attachments) = (self.args.clone(), self.attachments.clone());
        if let Some(offset) = offset {
            push_offset(&mut args, offset);
        }
        head.encode(&args, &mut Vec::new(), &mut attachments, |encoded| {
            encoded.to_shared()
        })
    }
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
            let attachments = std::mem::take(&mut scratch.attachments);
            return then(Encoded::Custom(&custom(
                parser,
                PacketKind::Ack,
                nsp,
                Some(id),
                data,
                attachments,
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
        let messages = custom(parser, kind, nsp, None, data.into(), Vec::new());
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
    attachments: Vec<Bytes>,
) -> Vec<EncodedMessage> {
    let data = String::from_utf8(data).expect("serde_json writes UTF-8");
    parser.encode(&Packet {
        kind,
        nsp: nsp.into(),
        id,
        data: data.into(),
        attachments,
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
