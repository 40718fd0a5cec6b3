//! The Redis streams adapter of Node (@socket.io/redis-streams-adapter 0.3) as a bus: broadcasts
//! stand in a stream, which all servers read in one order and from where they were, and in which a
//! client that comes back finds what it has missed, whichever server it comes to.
//!
//! A server's own clients get a broadcast when it is read back from the stream, too. Sent earlier, at
//! the answer of Redis or before, it would overtake what others have published first; a client that
//! named it as its last one would not be sent those when it comes back.

mod line;
mod reader;
mod store;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socketio::cluster::{Bus, BusError, Channel, Inbox, PublishError, Rejected, Store};
use socketio_proto::cluster::streams::{
    Entry, Route, private_channel, public_channel, stream_name,
};
use socketio_proto::cluster::{Limits, Message, Uid};
use tokio::task::JoinHandle;

use self::line::Line;
use self::reader::Stream;
use self::writer::Writer;
use super::RedisAddressError;
use super::master::Master;
use super::subscriber::{Listener, Subscriber};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Joins the cluster of all servers, of Rust and of Node, that use the Redis streams adapter with the
/// same Redis.
///
/// With [`recovery`](socketio::ServerBuilder::recovery), clients come back to any of the servers, also
/// when theirs was killed.
///
/// A handle: cheap to clone. It has three connections to Redis and one for each stream, which come
/// back by themselves; what is published while they are away waits, up to 64 MiB. Redis has to be of
/// version 5 or later and to allow scripts (`EVAL`).
///
/// # Examples
///
/// ```no_run
/// use socketio::{Recovery, Server};
/// use socketio_adapters::redis::StreamsBus;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .cluster(StreamsBus::builder("redis://127.0.0.1:6379").build()?)
///     .recovery(Recovery::new())
///     .build();
/// io.serve("127.0.0.1:3000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StreamsBus(Arc<Shared>);

/// What a [`StreamsBus`] is made from. All servers of a cluster need the same.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until the bus is built"]
pub struct StreamsBusBuilder {
    urls: Vec<String>,
    /// The name of the master, if the addresses are those of sentinels.
    sentinels_of: Option<String>,
    options: Options,
}

#[derive(Clone, Debug)]
struct Options {
    stream_name: String,
    stream_count: u32,
    channel_prefix: String,
    max_len: u64,
    session_prefix: String,
    is_plain: bool,
}

struct Shared {
    options: Options,
    master: Master,
    writer: Writer,
    subscriber: Subscriber,
    line: Line,
    streams: Mutex<HashMap<String, Reading>>,
    gaps: Arc<AtomicU64>,
}

struct Reading {
    stream: Arc<Stream>,
    task: JoinHandle<()>,
}

impl StreamsBus {
    /// Begins a bus for the Redis at an address, such as `redis://user:password@host:6379` or
    /// `rediss://host` for TLS.
    pub fn builder(url: &str) -> StreamsBusBuilder {
        StreamsBusBuilder {
            urls: vec![url.to_owned()],
            sentinels_of: None,
            options: Options {
                stream_name: "socket.io".to_owned(),
                stream_count: 1,
                channel_prefix: "socket.io".to_owned(),
                max_len: 10_000,
                session_prefix: "sio:session:".to_owned(),
                is_plain: false,
            },
        }
    }

    /// Begins a bus for the Redis that some sentinels call `master`: after a failover, for its
    /// successor. A user, a password and a database in the sentinels' addresses are those of Redis;
    /// the sentinels are asked without.
    ///
    /// What a master had not passed on when it failed is lost, as Redis replicates without waiting.
    pub fn builder_with_sentinels(urls: &[&str], master: &str) -> StreamsBusBuilder {
        StreamsBusBuilder {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            sentinels_of: Some(master.to_owned()),
            ..StreamsBus::builder("")
        }
    }

    /// How many messages were given up, because Redis was away too long or refused them.
    pub fn dropped(&self) -> u64 {
        self.0.writer.dropped()
    }

    /// How often a stream was trimmed, or emptied, before this server had read it: messages may have
    /// been lost then. A larger [`max_len`](StreamsBusBuilder::max_len) helps.
    pub fn gaps(&self) -> u64 {
        self.0.gaps.load(Ordering::Relaxed)
    }
}

impl StreamsBusBuilder {
    /// Sets the name of the stream. Default: `socket.io`.
    #[doc(alias = "streamName")]
    pub fn stream_name(mut self, name: &str) -> Self {
        self.options.stream_name = name.to_owned();
        self
    }

    /// Sets the number of streams, over which namespaces are spread. Default: 1, for all of them.
    ///
    /// With several, Node writes what is for some namespaces to a stream with a negative number, which
    /// it does not read; servers of Rust read it.
    #[doc(alias = "streamCount")]
    pub fn stream_count(mut self, count: u32) -> Self {
        self.options.stream_count = count;
        self
    }

    /// Sets how the names of the channels for questions and answers begin. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    pub fn channel_prefix(mut self, prefix: &str) -> Self {
        self.options.channel_prefix = prefix.to_owned();
        self
    }

    /// Sets how many entries a stream keeps, at least. Default: 10,000.
    ///
    /// A server that reads more slowly than that loses messages, and a client that has missed more
    /// is not recovered: take what is published in the time that clients may be away.
    #[doc(alias = "maxLen")]
    pub fn max_len(mut self, entries: u64) -> Self {
        self.options.max_len = entries;
        self
    }

    /// Sets how the keys of sessions begin. Default: `sio:session:`.
    #[doc(alias = "sessionKeyPrefix")]
    pub fn session_key_prefix(mut self, prefix: &str) -> Self {
        self.options.session_prefix = prefix.to_owned();
        self
    }

    /// Writes entries as readable text: bytes become what JSON makes of a Buffer. Default: entries
    /// with bytes are MessagePack.
    #[doc(alias = "onlyPlaintext")]
    pub fn only_plaintext(mut self) -> Self {
        self.options.is_plain = true;
        self
    }

    /// Makes the bus. It connects when the server is used.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn build(self) -> Result<StreamsBus, RedisAddressError> {
        let StreamsBusBuilder {
            urls,
            sentinels_of,
            options,
        } = self;
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let master = match sentinels_of {
            Some(name) => Master::watched(&urls, &name)?,
            None => Master::at(urls.first().copied().unwrap_or_default())?,
        };
        let marker = format!("{}:writer:{:016x}", options.stream_name, random());
        Ok(StreamsBus(Arc::new(Shared {
            writer: Writer::new(master.clone(), marker, &options.session_prefix),
            subscriber: Subscriber::new(master.clone()),
            line: Line::new(master.clone()),
            options,
            master,
            streams: Mutex::default(),
            gaps: Arc::default(),
        })))
    }
}

/// A number that no other sender has.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

impl fmt::Debug for StreamsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsBus")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

impl Bus for StreamsBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let options = &self.0.options;
        let stream = self.0.stream(nsp);
        stream.add(nsp, inbox.clone());
        self.0.writer.start();
        self.0.writer.begin(stream.clone());
        let channels = Arc::new(Channels {
            nsp: nsp.to_owned(),
            uid: uid.clone(),
            public: public_channel(&options.channel_prefix, nsp),
            private: private_channel(&options.channel_prefix, nsp, uid),
            stream,
            inbox,
            shared: self.0.clone(),
        });
        let names = vec![channels.public.clone(), channels.private.clone()];
        let key = channels.private.clone();
        self.0.subscriber.add_names(key, names, channels.clone());
        Arc::new(StreamsChannel(channels))
    }

    fn is_ordered(&self) -> bool {
        true
    }
}

impl Shared {
    fn stream(&self, nsp: &str) -> Arc<Stream> {
        let options = &self.options;
        let name = stream_name(&options.stream_name, nsp, options.stream_count);
        let mut streams = self.streams.lock();
        let reading = streams.entry(name.clone()).or_insert_with(|| {
            let stream = Arc::new(Stream::new(name, self.gaps.clone()));
            let task = tokio::spawn(stream.clone().read(self.master.clone()));
            Reading { stream, task }
        });
        reading.stream.clone()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One namespace on Redis.
struct Channels {
    nsp: String,
    uid: Uid,
    /// Where all servers are asked.
    public: String,
    /// Where this server is answered.
    private: String,
    stream: Arc<Stream>,
    inbox: Arc<dyn Inbox>,
    shared: Arc<Shared>,
}

struct StreamsChannel(Arc<Channels>);

impl Listener for Channels {
    fn handle(&self, channel: &str, payload: &[u8]) {
        let rejected = match Message::decode(payload, &self.nsp, &Limits::default()) {
            Ok(message) if message.nsp == self.nsp => return self.inbox.receive(message),
            // The channels of another namespace are not listened to.
            Ok(message) => {
                let reason = "`nsp` is another namespace";
                Rejected::new(channel, Some(message.uid.as_str()), &reason)
            }
            Err(error) => Rejected::message(channel, payload, &error),
        };
        self.inbox.reject(&rejected);
    }
}

/// The command that appends an entry.
fn add(stream: &str, max_len: u64, entry: &Entry) -> Vec<Vec<u8>> {
    let max_len = max_len.to_string();
    let words = ["XADD", stream, "MAXLEN", "~", &max_len, "*"].into_iter();
    let fields = entry.fields().flat_map(|(name, value)| [name, value]);
    words.chain(fields).map(|word| word.into()).collect()
}

impl StreamsChannel {
    fn leave(&self) {
        let channels = &self.0;
        channels.stream.remove(&channels.inbox);
        let listener: Arc<dyn Listener> = channels.clone();
        channels
            .shared
            .subscriber
            .remove(&channels.private, &listener);
    }
}

impl Channel for StreamsChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        let Channels { shared, stream, .. } = &*self.0;
        let options = &shared.options;
        let words = match (Route::of(&message.body), to) {
            (Route::Stream, _) => {
                let entry = match options.is_plain {
                    true => Entry::plain(message),
                    false => Entry::new(message),
                };
                add(stream.name(), options.max_len, &entry)
            }
            (Route::Private, Some(to)) => {
                let channel = private_channel(&options.channel_prefix, &message.nsp, to);
                publish(channel, message)
            }
            (Route::Public, _) | (Route::Private, None) => publish(self.0.public.clone(), message),
        };
        shared.writer.command(words)
    }

    fn has_heartbeats(&self) -> bool {
        false
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, BusError>> {
        Box::pin(async {
            let mut count = redis::pipe();
            count.cmd("PUBSUB").arg("NUMSUB").arg(&self.0.public);
            type Answer = ((String, usize),);
            let ((_, count),) = self.0.shared.line.ask::<Answer>(&count).await?;
            Ok(count)
        })
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        Some(self.0.clone())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Before anything else: who is subscribed is asked, and waited for.
            self.leave();
            self.0.shared.writer.flush(FLUSH).await;
        })
    }
}

fn publish(channel: String, message: &Message) -> Vec<Vec<u8>> {
    vec![b"PUBLISH".to_vec(), channel.into(), message.to_msgpack()]
}

/// What waits is written within this time when a server ends.
const FLUSH: Duration = Duration::from_secs(1);

impl Drop for StreamsChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("nsp", &self.nsp)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StreamsChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
