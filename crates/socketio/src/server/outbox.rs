//! What waits to be written to one client: a bounded queue of finished WebSocket frames.
//!
//! Frames of one receiver are appended to a buffer of its own; a broadcast's frame is shared by all
//! receivers by reference. A polling client's answer is derived from the same frames. Who writes is
//! decided in `turn`: inside a connection's turn emits only fill outboxes, and the turn's end writes
//! each of them once. An idle outbox holds no buffer: what it used goes back to a per-thread pool.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::net::TcpStream;

use socketio_proto::engine::{Message, Packet, Queue, Revision, v3};
use socketio_proto::websocket::{self, Deflater, Negotiated, Opcode, Role};

use super::ending::Ending;
use super::total_queue::{Counted, STEP, TotalQueue};
use crate::wakers::Wakers;

/// The queue and where it leads.
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are already written.
    written: usize,
    /// Bytes that wait, over all chunks.
    queued: usize,
    link: Link,
    /// Somebody has promised to flush this outbox.
    dirty: bool,
    /// The last write would have blocked; the connection's task waits for the socket.
    blocked: bool,
    gate: Gate,
    /// The message that is being queued may be compressed.
    compress: bool,
    /// One that is queued may.
    is_compressible: bool,
    /// How messages are compressed, on a WebSocket that has negotiated it.
    deflate: Option<Box<Deflate>>,
    /// In revision 3 a frame of bytes begins with the packet's type.
    revision: Revision,
    /// Bytes are written as base64 in texts, for a WebSocket that has asked for that.
    base64: bool,
    rare: Option<Box<Rare>>,
}

/// What only a few outboxes have at a time.
#[derive(Default)]
struct Rare {
    /// Emitters that wait until the queue is below its mark, and readers that wait for the end.
    waiting: Wakers,
    late: Late,
    /// What counts of the queue for all clients together.
    counted: Option<Counted>,
}

/// Answers to pings that could not be written at once: of each kind only the last matters.
#[derive(Default)]
struct Late {
    /// The payload of the last WebSocket ping.
    pong: Option<Vec<u8>>,
    /// A pong of revision 3, where clients ping.
    packet: bool,
}

enum Chunk {
    /// Frames for this receiver alone, one after the other.
    Own(Vec<u8>),
    /// One frame that other receivers share.
    Shared(Bytes),
    /// A write ends here, or an answer to a GET: what follows gets one of its own. Never at the front.
    End,
}

/// Whether frames are accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gate {
    Open,
    /// Not any more: when what is queued has been written, the session ends.
    Sealed(Ending),
    /// The session has ended. What is queued is still written, or answers a GET that waits.
    Closed(Ending),
}

/// Where an outbox leads at the moment.
pub(crate) enum Link {
    /// Nobody writes at the moment (polling, no GET waits): frames are kept.
    None,
    /// A GET that waits takes the frames.
    Get(Waker),
    /// The task of a stream that cannot be written from outside (TLS) writes.
    Task(Waker),
    /// A TCP connection which is written in place, and its task, which waits for a full socket.
    Tcp(Arc<TcpStream>, Waker),
}

/// How the messages of one connection are compressed.
struct Deflate {
    options: DeflateOptions,
    negotiated: Negotiated,
    deflater: Deflater,
}

/// What a server has to say about compression, beyond what is negotiated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DeflateOptions {
    pub(crate) threshold: usize,
    pub(crate) level: u32,
}

impl Deflate {
    fn is_worth(&self, opcode: Opcode, length: usize) -> bool {
        length >= self.options.threshold && matches!(opcode, Opcode::Text | Opcode::Binary)
    }
}

/// The frames of one broadcast, and their compressed forms as far as receivers have asked for them.
pub(crate) struct SharedFrames<'a> {
    plain: &'a [Bytes],
    /// By the bits of the window: all else is the same for all connections.
    compressed: RefCell<Vec<(u8, Vec<Bytes>)>>,
}

impl<'a> SharedFrames<'a> {
    pub(crate) fn new(plain: &'a [Bytes]) -> SharedFrames<'a> {
        SharedFrames {
            plain,
            compressed: RefCell::default(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.plain.iter().map(Bytes::len).sum()
    }

    fn compressed(
        &self,
        options: DeflateOptions,
        negotiated: &Negotiated,
        each: impl FnMut(Bytes),
    ) {
        let bits = negotiated.server_max_window_bits();
        let mut all = self.compressed.borrow_mut();
        let at = all.iter().position(|(found, _)| *found == bits);
        let at = at.unwrap_or_else(|| {
            let compress = |frame: &Bytes| compressed(frame, options, negotiated);
            all.push((bits, self.plain.iter().map(compress).collect()));
            all.len() - 1
        });
        all[at].1.iter().cloned().for_each(each);
    }
}

/// Compresses a frame that is a whole message, if it is long enough.
fn compressed(frame: &Bytes, options: DeflateOptions, negotiated: &Negotiated) -> Bytes {
    match websocket::frames(frame).next() {
        Some((opcode, payload, false)) if payload.len() >= options.threshold => {
            let payload = websocket::compress(payload, negotiated, options.level);
            let mut out = Vec::with_capacity(payload.len() + 10);
            websocket::compressed_header(&mut out, opcode, payload.len());
            out.extend_from_slice(&payload);
            out.into()
        }
        _ => frame.clone(),
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pushed {
    /// Queued; the caller has to see to it that the outbox is flushed.
    Mark,
    /// Queued; somebody else flushes.
    Queued,
    /// The connection has ended.
    Closed,
    /// The queue is full.
    Full,
}

/// What a flush found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flushed {
    /// All is written, or handed to the one who writes.
    Done,
    /// The socket is full; its task continues.
    Blocked,
    /// The connection is broken.
    Broken,
}

/// The engine's answer to a client's ping.
const PONG: &[u8] = b"3";
/// A unicast buffer is sealed at this size and the next one begun.
const OWN_CHUNK: usize = 64 * 1024;
/// Awaited emits continue when the queue is below this mark, in bytes.
pub(crate) const LOW_WATER: usize = 256 * 1024;
/// Buffers larger than this are freed instead of going back to the pool.
const POOLED_BUFFER: usize = 16 * 1024;
const POOL: usize = 64;
/// From so many bytes on what is queued is left for the next answer to a GET.
const MAX_ANSWER: usize = 1024 * 1024;
/// Linux writes at most 1,024 slices at once; more than a handful of dozens gains nothing.
const SLICES: usize = 64;

#[derive(Default)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    queues: Vec<VecDeque<Chunk>>,
}

/// Slices of fewer bytes than this are put together before they are written.
const JOINED: usize = 4096;

thread_local! {
    static FREE: RefCell<Pool> = RefCell::default();
    static JOIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Outbox {
    pub(crate) fn new(revision: Revision) -> Outbox {
        Outbox {
            chunks: VecDeque::new(),
            written: 0,
            queued: 0,
            link: Link::None,
            dirty: false,
            blocked: false,
            gate: Gate::Open,
            compress: false,
            is_compressible: false,
            deflate: None,
            revision,
            base64: false,
            rare: None,
        }
    }

    /// Answers a ping: a WebSocket's where there is a payload, else the engine's. Behind what is stuck
    /// waits one answer of each kind, the last.
    pub(crate) fn push_pong(&mut self, payload: Option<&[u8]>) -> Pushed {
        if !self.is_open() {
            return Pushed::Closed;
        }
        let is_stuck = self.blocked
            || self.queued > OWN_CHUNK
            || matches!(self.link, Link::None) && !self.chunks.is_empty();
        if is_stuck {
            let late = &mut self.rare.get_or_insert_default().late;
            match payload {
                Some(payload) => late.pong = Some(payload.to_vec()),
                None => late.packet = true,
            }
            return Pushed::Queued;
        }
        self.compress = false;
        match payload {
            Some(payload) => self.push(Opcode::Pong, payload),
            None => self.push(Opcode::Text, PONG),
        }
        match std::mem::replace(&mut self.dirty, true) {
            true => Pushed::Queued,
            false => Pushed::Mark,
        }
    }

    /// Puts answers that had to wait in front of what is not written yet, in a write of their own: the
    /// queue may never become empty.
    #[cold]
    fn push_late(&mut self) {
        let Some(rare) = &mut self.rare else {
            return;
        };
        let late = std::mem::take(&mut rare.late);
        if !self.is_open() {
            return;
        }
        let mut frames = Vec::new();
        if let Some(payload) = late.pong {
            websocket::header(&mut frames, Opcode::Pong, payload.len());
            frames.extend_from_slice(&payload);
        }
        if late.packet {
            websocket::header(&mut frames, Opcode::Text, PONG.len());
            frames.extend_from_slice(PONG);
        }
        if frames.is_empty() {
            return;
        }
        self.queued += frames.len();
        if !self.chunks.is_empty() {
            self.chunks.push_front(Chunk::End);
        }
        self.chunks.push_front(Chunk::Own(frames));
    }

    /// Appends one frame for this receiver alone.
    pub(crate) fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        if opcode == Opcode::Binary && self.base64 {
            return self.push_base64(payload);
        }
        let room = payload.len() + 11;
        let need_new = match self.chunks.back() {
            Some(Chunk::Own(buffer)) => buffer.len() + room > OWN_CHUNK.max(buffer.capacity()),
            Some(Chunk::Shared(_) | Chunk::End) | None => true,
        };
        if need_new {
            self.push_chunk(Chunk::Own(take_buffer()));
        }
        let is_typed = opcode == Opcode::Binary && self.revision == Revision::V3;
        if let Some(Chunk::Own(buffer)) = self.chunks.back_mut() {
            let before = buffer.len();
            if let Some(deflate) = &mut self.deflate
                && self.compress
                && deflate.is_worth(opcode, payload.len())
            {
                let typed;
                let plain = match is_typed {
                    true => {
                        typed = [&[v3::BINARY_MESSAGE], payload].concat();
                        &typed
                    }
                    false => payload,
                };
                let compressed = deflate.deflater.compress(plain);
                websocket::compressed_header(buffer, opcode, compressed.len());
                buffer.extend_from_slice(&compressed);
                self.queued += buffer.len() - before;
                return;
            }
            websocket::header(buffer, opcode, payload.len() + usize::from(is_typed));
            if is_typed {
                buffer.push(v3::BINARY_MESSAGE);
            }
            buffer.extend_from_slice(payload);
            self.queued += buffer.len() - before;
        }
    }

    #[cold]
    fn push_base64(&mut self, payload: &[u8]) {
        let mut text = Vec::new();
        Packet::Message(Message::Binary(payload.into())).encode_text(&mut text);
        if self.revision == Revision::V3 {
            text.insert(1, b'0' + v3::BINARY_MESSAGE);
        }
        self.push(Opcode::Text, &text);
    }

    /// Writes bytes as base64 in texts from here on, those that are queued as well.
    pub(crate) fn set_base64(&mut self) {
        self.base64 = true;
        debug_assert_eq!(self.written, 0, "it is told before any write");
        self.queued = 0;
        for chunk in std::mem::take(&mut self.chunks) {
            if let Chunk::End = chunk {
                self.push_chunk(Chunk::End);
            }
            for (opcode, payload, _) in websocket::frames(chunk.bytes()) {
                let is_typed = opcode == Opcode::Binary && self.revision == Revision::V3;
                self.push(opcode, &payload[usize::from(is_typed)..]);
            }
        }
    }

    /// Appends a frame that other receivers share.
    pub(crate) fn push_shared(&mut self, frame: Bytes) {
        if self.revision == Revision::V3 || self.base64 {
            for (opcode, payload, _) in websocket::frames(&frame) {
                self.push(opcode, payload);
            }
            return;
        }
        self.queued += frame.len();
        self.push_chunk(Chunk::Shared(frame));
    }

    /// Appends the frames of a broadcast, compressed once for all receivers if possible.
    pub(crate) fn push_frames(&mut self, frames: &SharedFrames<'_>) {
        let negotiated = match &self.deflate {
            Some(deflate) if self.compress && self.revision == Revision::V4 && !self.base64 => {
                let Deflate {
                    options,
                    negotiated,
                    ..
                } = **deflate;
                Some((options, negotiated))
            }
            Some(_) | None => None,
        };
        match negotiated {
            None => {
                for frame in frames.plain {
                    self.push_shared(frame.clone());
                }
            }
            Some((options, negotiated)) if negotiated.server_no_context_takeover() => {
                frames.compressed(options, &negotiated, |frame| self.push_shared(frame));
            }
            Some(_) => {
                for frame in frames.plain {
                    for (opcode, payload, _) in websocket::frames(frame) {
                        self.push(opcode, payload);
                    }
                }
            }
        }
    }

    /// The connection compresses messages from here on.
    pub(crate) fn set_deflate(&mut self, options: DeflateOptions, negotiated: Negotiated) {
        self.deflate = Some(Box::new(Deflate {
            options,
            negotiated,
            deflater: Deflater::new(Role::Server, &negotiated, options.level),
        }));
    }

    fn push_chunk(&mut self, chunk: Chunk) {
        if self.chunks.capacity() == 0 {
            self.chunks = FREE
                .with_borrow_mut(|pool| pool.queues.pop())
                .unwrap_or_default();
        }
        self.chunks.push_back(chunk);
    }

    /// Says whether `extra` bytes more may be queued, and who flushes them. An empty queue takes one
    /// message of any size, which could never be sent else.
    pub(crate) fn admit(&mut self, extra: usize, bound: usize) -> Pushed {
        if !self.is_open() {
            Pushed::Closed
        } else if self.queued + extra > bound && self.queued > 0 {
            Pushed::Full
        } else if self.dirty {
            Pushed::Queued
        } else {
            self.dirty = true;
            Pushed::Mark
        }
    }

    /// Says whether the message that is about to be queued may be compressed.
    pub(crate) fn begin_message(&mut self, compress: bool) {
        self.compress = compress;
        self.is_compressible |= compress;
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Says whether frames are accepted.
    pub(crate) fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.gate, Gate::Closed(_))
    }

    /// How the connection is to be ended, if the session has ended.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self.gate {
            Gate::Closed(ending) => Some(ending),
            Gate::Open | Gate::Sealed(_) => None,
        }
    }

    pub(crate) fn queue(&self) -> Queue {
        match self.chunks.is_empty() {
            true => Queue::Empty,
            false => Queue::Filled,
        }
    }

    /// A volatile packet may go out: nothing is stuck in front of it and somebody will write it.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_open() && !self.blocked && !matches!(self.link, Link::None)
    }

    /// The socket did not take everything; its task has to wait for it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Leads elsewhere; a GET that waited until now learns it.
    pub(crate) fn set_link(&mut self, link: Link) {
        self.blocked = false;
        if let (Link::Get(waker), Link::Task(_) | Link::Tcp(..)) =
            (std::mem::replace(&mut self.link, link), &self.link)
        {
            waker.wake();
        }
    }

    /// Says whether polling still is the way to the client.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(self.link, Link::None | Link::Get(_))
    }

    /// Wakes the one who writes, for reasons of his own.
    pub(crate) fn wake(&self) {
        match &self.link {
            Link::None => {}
            Link::Get(waker) | Link::Task(waker) | Link::Tcp(_, waker) => waker.wake_by_ref(),
        }
    }

    /// What is queued gets a write of its own, and over polling an answer of its own.
    pub(crate) fn end_write(&mut self) {
        if !matches!(self.chunks.back(), None | Some(Chunk::End)) {
            self.chunks.push_back(Chunk::End);
        }
    }

    /// Queues a close packet of the engine, unless messages wait: clients obey it before they hand on
    /// what stands beside it. (`6` and `1` may stand together.)
    pub(crate) fn push_close_packet(&mut self) {
        let mut frames = self
            .chunks
            .iter()
            .flat_map(|chunk| websocket::frames(chunk.bytes()));
        if frames.all(|(_, payload, _)| payload == b"6") {
            if let Some(rare) = &mut self.rare {
                rare.late.packet = false;
            }
            self.push(Opcode::Text, b"1");
        }
    }

    /// Accepts nothing more: the session ends when what is queued has been written. Says what that is.
    pub(crate) fn seal(&mut self, ending: Ending) -> Queue {
        if self.is_open() {
            self.gate = Gate::Sealed(ending);
            self.wake_waiting();
        }
        self.queue()
    }

    /// The session has ended. What is queued can still be flushed or taken. Gives the ending that
    /// was chosen.
    pub(crate) fn close(&mut self) -> Ending {
        let ending = match self.gate {
            Gate::Open => Ending::CloseFrame,
            Gate::Sealed(ending) | Gate::Closed(ending) => ending,
        };
        self.gate = Gate::Closed(ending);
        self.wake_waiting();
        ending
    }

    /// Drops what is queued.
    pub(crate) fn discard(&mut self) {
        self.written = 0;
        self.queued = 0;
        if let Some(rare) = &mut self.rare {
            rare.late = Late::default();
        }
        let chunks = std::mem::take(&mut self.chunks);
        recycle(chunks);
        self.wake_waiting();
    }

    /// Remembers who waits for the queue to fall below a mark, which is at most `LOW_WATER`; false if
    /// it is below.
    pub(crate) fn wait_below(&mut self, mark: usize, waker: &Waker) -> bool {
        if !self.is_open() || self.queued <= mark {
            return false;
        }
        self.rare.get_or_insert_default().waiting.add(waker);
        true
    }

    /// Drops events, the oldest first, until `room` bytes more are free; gives their number. What has
    /// been written in part stays, and so does every packet that is not an event of the default
    /// parser, or is compressed.
    pub(crate) fn drop_events(&mut self, room: usize) -> u64 {
        let keeps_context = self
            .deflate
            .as_ref()
            .is_some_and(|deflate| !deflate.negotiated.server_no_context_takeover());
        if keeps_context {
            // The peer could not read what follows.
            return 0;
        }
        let target = self.queued.saturating_sub(room);
        let (mut dropped, mut in_event) = (0, false);
        let mut written = self.written;
        let mut kept = VecDeque::new();
        for chunk in std::mem::take(&mut self.chunks) {
            let bytes = chunk.bytes();
            let (mut at, mut rest) = (0, Vec::new());
            let mut is_whole = true;
            for (opcode, payload, is_compressed) in websocket::frames(bytes) {
                let end = payload.as_ptr() as usize - bytes.as_ptr() as usize + payload.len();
                let frame = &bytes[at..end];
                // The attachments of an event go with it.
                in_event = match opcode {
                    Opcode::Text if self.base64 && payload.starts_with(b"b") => in_event,
                    Opcode::Text => {
                        !is_compressed
                            && (payload.starts_with(b"42") || payload.starts_with(b"45"))
                            && self.queued > target
                            && at >= written
                    }
                    Opcode::Binary => in_event,
                    _ => false,
                };
                at = end;
                if in_event {
                    dropped += u64::from(opcode == Opcode::Text && payload.starts_with(b"4"));
                    self.queued -= frame.len();
                    is_whole = false;
                } else {
                    rest.extend_from_slice(frame);
                }
            }
            written = 0;
            match is_whole {
                true => kept.push_back(chunk),
                false if !rest.is_empty() => kept.push_back(Chunk::Own(rest)),
                false => {}
            }
        }
        if let Some(Chunk::End) = kept.front() {
            kept.pop_front();
        }
        self.chunks = kept;
        dropped
    }

    /// Remembers who waits for the end; false if it has come.
    pub(crate) fn wait_closed(&mut self, waker: &Waker) -> bool {
        if self.is_closed() {
            return false;
        }
        self.rare.get_or_insert_default().waiting.add(waker);
        true
    }

    fn wake_waiting(&mut self) {
        let Some(rare) = &mut self.rare else {
            return;
        };
        match &mut rare.counted {
            Some(counted) if self.queued >= STEP => counted.shrink(self.queued),
            counted => *counted = None,
        }
        if self.gate != Gate::Open || self.queued <= LOW_WATER {
            rare.waiting.wake_all();
            let is_answered = rare.late.pong.is_none() && !rare.late.packet;
            if is_answered && rare.counted.is_none() {
                self.rare = None;
            }
        }
    }

    /// Counts a long queue for all clients together.
    #[cold]
    pub(crate) fn count(&mut self, total: &Arc<TotalQueue>) {
        let rare = self.rare.get_or_insert_default();
        let counted = rare.counted.get_or_insert_with(|| Counted::new(total));
        let is_own = |chunk: &Chunk| matches!(chunk, Chunk::Own(_));
        let chunks = self.chunks.iter().rev();
        counted.grow(
            self.queued,
            chunks.map(|chunk| (chunk.bytes().len(), is_own(chunk))),
        );
    }

    /// Bytes that count for all clients together.
    pub(crate) fn counted(&self) -> usize {
        let counted = self.rare.as_ref().and_then(|rare| rare.counted.as_ref());
        counted.map_or(0, Counted::own)
    }

    /// Writes what it can, or wakes the one who writes.
    pub(crate) fn flush(&mut self) -> Flushed {
        self.dirty = false;
        match &self.link {
            Link::None => Flushed::Done,
            Link::Get(waker) | Link::Task(waker) => {
                if !self.chunks.is_empty() || self.is_closed() {
                    waker.wake_by_ref();
                }
                Flushed::Done
            }
            Link::Tcp(..) if self.blocked => Flushed::Blocked,
            Link::Tcp(..) => {
                let link = std::mem::replace(&mut self.link, Link::None);
                let Link::Tcp(stream, waker) = &link else {
                    unreachable!("matched above")
                };
                let flushed = self.write_with(|slices| send(stream, slices));
                if self.is_closed() || flushed != Flushed::Done {
                    waker.wake_by_ref();
                }
                self.link = link;
                flushed
            }
        }
    }

    /// Writes until all is written or `write` would block.
    pub(crate) fn write_with(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Flushed {
        self.blocked = false;
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = self.written;
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                if let Chunk::End = chunk {
                    break;
                }
                *slice = IoSlice::new(&chunk.bytes()[skip..]);
                skip = 0;
                count += 1;
            }
            match write(&slices[..count]) {
                Ok(0) => return self.broken(),
                Ok(n) => self.consume(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Flushed::Blocked;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.broken(),
            }
        }
        Flushed::Done
    }

    fn broken(&mut self) -> Flushed {
        self.close();
        self.discard();
        Flushed::Broken
    }

    fn consume(&mut self, mut n: usize) {
        self.queued -= n;
        n += self.written;
        while let Some(chunk) = self.chunks.front() {
            let len = chunk.bytes().len();
            if n < len {
                break;
            }
            // An `End` is behind what has been written: it has no length, and goes, too.
            n -= len;
            if let Some(Chunk::Own(buffer)) = self.chunks.pop_front() {
                give_buffer(buffer);
            }
        }
        self.written = n;
        if n == 0 && self.rare.is_some() {
            self.push_late();
        }
        if self.chunks.is_empty() {
            let chunks = std::mem::take(&mut self.chunks);
            recycle(chunks);
        }
        self.wake_waiting();
    }

    /// Takes everything out that goes together, frame by frame (a polling answer). True if it may be
    /// compressed. While the session lives, a long queue takes several answers.
    pub(crate) fn take_frames(&mut self, mut each: impl FnMut(Opcode, &[u8])) -> bool {
        debug_assert_eq!(self.written, 0, "frames are taken before any write");
        let mut taken = 0;
        while let Some(chunk) = self.chunks.pop_front() {
            for (opcode, payload, is_compressed) in websocket::frames(chunk.bytes()) {
                debug_assert!(!is_compressed, "frames are compressed for WebSocket only");
                let is_typed = opcode == Opcode::Binary && self.revision == Revision::V3;
                each(opcode, &payload[usize::from(is_typed)..]);
            }
            self.queued -= chunk.bytes().len();
            taken += chunk.bytes().len();
            match chunk {
                Chunk::Own(buffer) => give_buffer(buffer),
                Chunk::Shared(_) => {}
                Chunk::End => break,
            }
            if taken >= MAX_ANSWER && !self.is_closed() {
                if let Some(Chunk::End) = self.chunks.front() {
                    self.chunks.pop_front();
                }
                break;
            }
        }
        // It was asked for before the session ended, if it has: a close packet has an answer of its own.
        if let Some(rare) = &mut self.rare
            && std::mem::take(&mut rare.late.packet)
        {
            each(Opcode::Text, PONG);
        }
        let is_compressible = self.is_compressible;
        if self.chunks.is_empty() {
            recycle(std::mem::take(&mut self.chunks));
            self.is_compressible = false;
        }
        self.dirty = false;
        self.wake_waiting();
        is_compressible
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(buffer) => buffer,
            Chunk::Shared(frame) => frame,
            Chunk::End => &[],
        }
    }
}

/// Writes to a TCP connection. One buffer costs the kernel less than several slices, so that few bytes
/// are put together first.
pub(crate) fn send(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        [one] => stream.try_write(one),
        _ if slices.iter().map(|slice| slice.len()).sum::<usize>() > JOINED => {
            stream.try_write_vectored(slices)
        }
        _ => JOIN.with_borrow_mut(|joined| {
            joined.clear();
            slices
                .iter()
                .for_each(|slice| joined.extend_from_slice(slice));
            stream.try_write(joined)
        }),
    }
}

fn take_buffer() -> Vec<u8> {
    FREE.with_borrow_mut(|pool| pool.buffers.pop())
        .unwrap_or_default()
}

fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() <= POOLED_BUFFER {
        buffer.clear();
        FREE.with_borrow_mut(|pool| {
            if pool.buffers.len() < POOL {
                pool.buffers.push(buffer);
            }
        });
    }
}

fn recycle(mut chunks: VecDeque<Chunk>) {
    for chunk in chunks.drain(..) {
        if let Chunk::Own(buffer) = chunk {
            give_buffer(buffer);
        }
    }
    if chunks.capacity() > 0 && chunks.capacity() <= SLICES {
        FREE.with_borrow_mut(|pool| {
            if pool.queues.len() < POOL {
                pool.queues.push(chunks);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(offer: Option<&str>) -> Outbox {
        let mut outbox = Outbox::new(Revision::V4);
        let options = DeflateOptions {
            threshold: 100,
            level: 6,
        };
        if let Some(offer) = offer {
            let config = websocket::DeflateConfig::default();
            let offers = [offer.as_bytes()].into_iter();
            let (negotiated, _) = websocket::negotiate(&config, offers).expect(offer);
            outbox.set_deflate(options, negotiated);
        }
        outbox
    }

    // S082
    #[test]
    fn a_broadcast_is_compressed_once_for_all_that_negotiated_the_same() {
        let mut frame = Vec::new();
        let text = "news ".repeat(100);
        websocket::header(&mut frame, Opcode::Text, text.len());
        frame.extend_from_slice(text.as_bytes());
        let plain = [Bytes::from(frame)];
        let frames = SharedFrames::new(&plain);
        let offer = Some("permessage-deflate; server_no_context_takeover");
        let small =
            Some("permessage-deflate; server_no_context_takeover; server_max_window_bits=9");
        let queued: Vec<Bytes> = [offer, small, offer, None, small]
            .into_iter()
            .map(|offer| {
                let mut outbox = outbox(offer);
                outbox.begin_message(true);
                outbox.push_frames(&frames);
                match outbox.chunks.pop_front() {
                    Some(Chunk::Shared(frame)) => frame,
                    Some(Chunk::Own(_) | Chunk::End) | None => {
                        panic!("a frame of its own for {offer:?}")
                    }
                }
            })
            .collect();
        let is_same = |a: usize, b: usize| queued[a].as_ptr() == queued[b].as_ptr();
        assert!(is_same(0, 2) && is_same(1, 4) && !is_same(0, 1));
        assert_eq!(queued[3], plain[0]);
        assert!(queued[0].len() < text.len() / 4 && queued[1].len() < text.len() / 4);
    }

    // A peer may handle what comes in one read side by side: the last word, the goodbye and the end of
    // the connection come in writes of their own.
    #[test]
    fn each_farewell_leaves_in_a_write_of_its_own() {
        let mut outbox = outbox(None);
        outbox.end_write();
        outbox.push(Opcode::Text, b"42[1]");
        outbox.push(Opcode::Text, b"42[2]");
        outbox.push_shared(Bytes::from_static(b"\x81\x0542[3]"));
        outbox.end_write();
        outbox.end_write();
        outbox.push(Opcode::Text, b"41");
        assert_eq!(outbox.seal(Ending::CloseFrame), Queue::Filled);
        assert_eq!(outbox.admit(1, 1000), Pushed::Closed);
        outbox.end_write();
        outbox.push(Opcode::Close, &[]);
        let queued = outbox.queued();
        let mut writes = Vec::new();
        // The socket takes a part of what is long, and then nothing for once.
        let mut is_full = false;
        let mut write = |slices: &[IoSlice<'_>]| {
            is_full = !is_full;
            if !is_full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            bytes.truncate(8);
            let length = bytes.len();
            writes.push(bytes);
            Ok(length)
        };
        while outbox.write_with(&mut write) == Flushed::Blocked {}
        assert_eq!(writes.concat().len(), queued);
        let first = writes.iter().position(|bytes| bytes.ends_with(b"[3]"));
        let first = first.expect("the event's end ends a write");
        assert_eq!(
            writes[first + 1..],
            [b"\x81\x0241".to_vec(), b"\x88\x00".to_vec()]
        );
        assert!(outbox.is_empty() && outbox.queued() == 0);
    }

    #[test]
    fn attachments_are_dropped_with_their_event_however_they_are_written() {
        for base64 in [false, true] {
            let mut outbox = outbox(None);
            for name in ["1", "2"] {
                outbox.push(Opcode::Text, format!("451-{name}").as_bytes());
                outbox.push(Opcode::Binary, &[0; 90]);
                outbox.push(Opcode::Text, format!("43{name}").as_bytes());
            }
            if base64 {
                outbox.set_base64();
            }
            let queued = outbox.queued();
            assert_eq!(outbox.drop_events(queued / 3), 1);
            assert!(outbox.queued() < queued - 90);
            let mut kinds = Vec::new();
            outbox.take_frames(|opcode, payload| kinds.push((opcode, payload[..1].to_vec())));
            let text = |first: &[u8]| (Opcode::Text, first.to_vec());
            let bytes = match base64 {
                false => (Opcode::Binary, vec![0]),
                true => text(b"b"),
            };
            assert_eq!(kinds, [text(b"4"), text(b"4"), bytes, text(b"4")]);
        }
    }

    // What follows the attachments of an event stays behind them: an answer ends between chunks only,
    // which client and server read as they come.
    #[test]
    fn a_long_queue_takes_several_answers_while_the_session_lives() {
        for is_closed in [false, true] {
            let mut outbox = outbox(None);
            let message = vec![b'4'; 300_000];
            outbox.begin_message(true);
            for _ in 0..10 {
                outbox.push(Opcode::Text, &message);
            }
            outbox.end_write();
            outbox.push(Opcode::Text, b"41");
            if is_closed {
                outbox.close();
            }
            let mut answers = Vec::new();
            while !outbox.is_empty() {
                let mut messages = 0;
                assert!(outbox.take_frames(|_, _| messages += 1));
                answers.push(messages);
            }
            let expected: &[usize] = if is_closed { &[10, 1] } else { &[4, 4, 2, 1] };
            assert_eq!((&*answers, outbox.queued()), (expected, 0));
        }
    }

    #[test]
    fn a_pong_that_was_asked_for_comes_whatever_becomes_of_the_session() {
        let mut outbox = outbox(None);
        outbox.push(Opcode::Text, b"42[1]");
        assert!(outbox.push_pong(None) == Pushed::Queued);
        outbox.seal(Ending::CloseFrame);
        assert!(outbox.push_pong(None) == Pushed::Closed);
        let mut answer = Vec::new();
        outbox.take_frames(|_, payload| answer.push(payload.to_vec()));
        assert_eq!(answer, [&b"42[1]"[..], b"3"]);
    }

    #[test]
    fn a_close_packet_shares_an_answer_with_noops_only() {
        let answers = |outbox: &mut Outbox| {
            let mut answers = Vec::new();
            while !outbox.is_empty() {
                let mut answer = Vec::new();
                outbox.take_frames(|_, payload| answer.push(payload.to_vec()));
                answers.push(answer);
            }
            answers
        };
        let mut outbox = outbox(None);
        outbox.push(Opcode::Text, b"6");
        outbox.push_close_packet();
        assert_eq!(answers(&mut outbox), [[b"6".to_vec(), b"1".to_vec()]]);
        outbox.push(Opcode::Text, b"42[1]");
        outbox.end_write();
        outbox.push(Opcode::Text, b"41");
        outbox.push_close_packet();
        assert_eq!(
            answers(&mut outbox),
            [[b"42[1]".to_vec()], [b"41".to_vec()]]
        );
    }
}
