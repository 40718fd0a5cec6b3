//! What a server hears: one connection for all namespaces, which comes back by itself.

use socketio_proto::Printable;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;
use redis::Msg;
use redis::aio::{PubSubSink, PubSubStream};
use socketio::cluster::together;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::master::Master;

use super::line::{ANSWER, FIRST_PAUSE, LAST_PAUSE};

/// What is called for what comes.
pub(super) trait Listener: Send + Sync {
    fn handle(&self, channel: &str, payload: &[u8]);
}

/// What is listened to together.
#[derive(Clone)]
struct Interest {
    /// Whether its key is a pattern of more names.
    is_pattern: bool,
    names: Vec<String>,
    listener: Arc<dyn Listener>,
}

/// By their patterns, or other keys.
type Interests = HashMap<String, Interest>;

enum Change {
    Added(String),
    /// A pattern, and names that nobody else listens to.
    Removed(Option<String>, Vec<String>),
}

pub(super) struct Subscriber {
    master: Master,
    interests: Arc<Mutex<Interests>>,
    /// To the task, while there is one.
    changes: Mutex<Option<mpsc::UnboundedSender<Change>>>,
}

/// So often Redis is asked whether it is there.
const PING: Duration = Duration::from_secs(10);
/// So many bytes are delivered together, and then what the clients get is written.
pub(super) const TOGETHER: usize = 64 * 1024;
/// What a message counts besides its bytes: 64 of the smallest are delivered together.
pub(super) const OVERHEAD: usize = 1024;

impl Subscriber {
    pub(super) fn new(master: Master) -> Subscriber {
        Subscriber {
            master,
            interests: Arc::default(),
            changes: Mutex::default(),
        }
    }

    pub(super) fn add(&self, pattern: String, names: Vec<String>, listener: Arc<dyn Listener>) {
        let is_pattern = true;
        self.insert(
            pattern,
            Interest {
                is_pattern,
                names,
                listener,
            },
        );
    }

    /// Listens to names alone; `key` is what they are removed by.
    pub(super) fn add_names(&self, key: String, names: Vec<String>, listener: Arc<dyn Listener>) {
        let is_pattern = false;
        self.insert(
            key,
            Interest {
                is_pattern,
                names,
                listener,
            },
        );
    }

    fn insert(&self, pattern: String, interest: Interest) {
        let replaced = {
            let mut interests = self.interests.lock();
            let replaced = interests.insert(pattern.clone(), interest);
            replaced.map(|replaced| names_of_nobody(&interests, replaced.names))
        };
        let mut changes = self.changes.lock();
        let sender = changes.get_or_insert_with(|| {
            // Not unbounded in fact: at most three for each namespace that is made.
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(run(self.master.clone(), self.interests.clone(), receiver));
            sender
        });
        if let Some(names) = replaced {
            let _ = sender.send(Change::Removed(None, names));
        }
        let _ = sender.send(Change::Added(pattern));
    }

    /// Ends what this listener is told. Another one that has taken its place is left alone: a namespace
    /// may be made again before the old one is gone.
    pub(super) fn remove(&self, pattern: &str, listener: &Arc<dyn Listener>) {
        let removed = {
            let mut interests = self.interests.lock();
            match interests.get(pattern) {
                Some(interest) if Arc::ptr_eq(&interest.listener, listener) => {
                    let removed = interests.remove(pattern);
                    removed.map(|interest| {
                        let pattern = interest.is_pattern.then(|| pattern.to_owned());
                        Change::Removed(pattern, names_of_nobody(&interests, interest.names))
                    })
                }
                _ => None,
            }
        };
        if let (Some(removed), Some(sender)) = (removed, &*self.changes.lock()) {
            let _ = sender.send(removed);
        }
    }
}

fn names_of_nobody(interests: &Interests, mut names: Vec<String>) -> Vec<String> {
    let is_heard = |name: &String| interests.values().any(|other| other.names.contains(name));
    names.retain(|name| !is_heard(name));
    names
}

/// Listens until the subscriber is gone.
async fn run(
    master: Master,
    interests: Arc<Mutex<Interests>>,
    mut changes: mpsc::UnboundedReceiver<Change>,
) {
    let mut pause = FIRST_PAUSE;
    while !changes.is_closed() {
        match connect(&master, &interests).await {
            Ok((sink, stream)) => {
                pause = FIRST_PAUSE;
                if listen(sink, stream, &interests, &mut changes)
                    .await
                    .is_none()
                {
                    return;
                }
                tracing::warn!("the subscription to Redis is lost");
            }
            Err(error) => {
                tracing::warn!(error = %Printable::new(&error), "cannot listen: Redis cannot be reached");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

async fn connect(
    master: &Master,
    interests: &Mutex<Interests>,
) -> Result<(PubSubSink, PubSubStream), String> {
    let connecting = async {
        let (mut sink, stream) = master.client().await?.get_async_pubsub().await?.split();
        let all = interests.lock().clone();
        for (pattern, interest) in all {
            listen_to(&mut sink, pattern, interest).await?;
        }
        Ok::<_, redis::RedisError>((sink, stream))
    };
    match timeout(ANSWER, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Listens until the connection ends; `None` when the subscriber is gone.
async fn listen(
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    interests: &Mutex<Interests>,
    changes: &mut mpsc::UnboundedReceiver<Change>,
) -> Option<()> {
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => {
                let message = match message {
                    Some(message) => message,
                    None => return Some(()),
                };
                together(|| deliver(message, &mut stream, interests));
            }
            // A network that is cut tells nobody.
            _ = pings.tick() => {
                let pong = timeout(ANSWER, sink.ping::<redis::Value>()).await;
                if !matches!(pong, Ok(Ok(_))) {
                    return Some(());
                }
            }
            change = changes.recv() => {
                let done = match change? {
                    Change::Added(pattern) => {
                        let Some(interest) = interests.lock().get(&pattern).cloned() else {
                            continue;
                        };
                        let done = timeout(ANSWER, listen_to(&mut sink, pattern, interest));
                        matches!(done.await, Ok(Ok(())))
                    }
                    Change::Removed(pattern, names) => {
                        let done = timeout(ANSWER, async {
                            // Without a name, all would be meant.
                            if !names.is_empty() {
                                sink.unsubscribe(names).await?;
                            }
                            match pattern {
                                Some(pattern) => sink.punsubscribe(pattern).await,
                                None => Ok(()),
                            }
                        });
                        matches!(done.await, Ok(Ok(())))
                    }
                };
                if !done {
                    return Some(());
                }
            }
        }
    }
}

/// Delivers a message and what has come with it, within bounds.
fn deliver(
    first: Msg,
    stream: &mut (impl Stream<Item = Msg> + Unpin),
    interests: &Mutex<Interests>,
) {
    let (mut next, mut bytes) = (Some(first), 0);
    while let Some(message) = next {
        let channel = message.get_channel_name();
        for listener in listeners(interests, message.get_pattern().ok(), channel) {
            listener.handle(channel, message.get_payload_bytes());
        }
        bytes += message.get_payload_bytes().len() + OVERHEAD;
        next = match bytes < TOGETHER {
            // That the stream has ended is seen at the next call.
            true => stream.next().now_or_never().flatten(),
            false => None,
        };
    }
}

async fn listen_to(
    sink: &mut PubSubSink,
    pattern: String,
    interest: Interest,
) -> redis::RedisResult<()> {
    if interest.is_pattern {
        sink.psubscribe(pattern).await?;
    }
    sink.subscribe(interest.names).await
}

fn listeners(
    interests: &Mutex<Interests>,
    pattern: Option<String>,
    channel: &str,
) -> Vec<Arc<dyn Listener>> {
    let interests = interests.lock();
    if let Some(interest) = pattern.and_then(|pattern| interests.get(&pattern)) {
        return vec![interest.listener.clone()];
    }
    let all = interests.values();
    let listening = all.filter(|interest| interest.names.iter().any(|name| name == channel));
    listening
        .map(|interest| interest.listener.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use redis::Value;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Listener for Heard {
        fn handle(&self, _: &str, payload: &[u8]) {
            let text = String::from_utf8_lossy(payload);
            self.0.lock().push(text.into_owned());
        }
    }

    #[test]
    fn what_has_come_is_delivered_in_order_and_within_bounds() {
        let heard = Arc::new(Heard::default());
        let interest = Interest {
            names: vec!["channel".to_owned()],
            is_pattern: false,
            listener: heard.clone(),
        };
        let interests = Mutex::new(Interests::from([("pattern".to_owned(), interest)]));
        let message = |text: String| {
            let parts = ["message", "channel", &text];
            let parts = parts.map(|part| Value::BulkString(part.into()));
            Msg::from_owned_value(Value::Array(parts.into())).expect("a message")
        };
        let small = (0..100).map(|i| i.to_string());
        let mut stream = stream::iter(small.clone().skip(1).map(message));
        deliver(message("0".to_owned()), &mut stream, &interests);
        assert_eq!(*heard.0.lock(), small.take(64).collect::<Vec<_>>());
        assert_eq!(stream.size_hint().0, 36);

        heard.0.lock().clear();
        deliver(message("x".repeat(TOGETHER)), &mut stream, &interests);
        assert_eq!(heard.0.lock().len(), 1);
    }
}
