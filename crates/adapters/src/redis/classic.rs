//! The classic adapter of Node (`createAdapter` of @socket.io/redis-adapter) as a bus: a server of
//! ours and servers of Node are one cluster.
//!
//! Redis forgets what it cannot deliver at once: while a server has no connection to it, what the
//! others publish does not reach its clients.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use socketio::cluster::{Bus, BusError, Channel, Inbox, PublishError, Rejected};
use socketio_proto::cluster::classic::{
    Broadcast, Channels, Request, RequestBody, Response, Which,
};
use socketio_proto::cluster::{Body, BroadcastOptions, Limits, Message, Uid};

use super::master::Master;
use super::publisher::Publisher;
use super::subscriber::{Listener, Subscriber};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Joins the cluster of all servers, of Rust and of Node, that use the classic adapter with the same
/// Redis.
///
/// A handle: cheap to clone. It has two connections to Redis, which come back by themselves; what is
/// published while they are away waits, up to 64 MiB.
///
/// # Examples
///
/// ```no_run
/// use socketio::Server;
/// use socketio_adapters::redis::RedisBus;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let io = Server::builder()
///     .cluster(RedisBus::new("redis://127.0.0.1:6379")?)
///     .build();
/// io.serve("127.0.0.1:3000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisBus {
    prefix: Arc<str>,
    publisher: Arc<Publisher>,
    subscriber: Arc<Subscriber>,
}

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
#[error("the address of Redis: {0}")]
pub struct RedisAddressError(#[from] RedisError);

impl RedisBus {
    /// Makes a bus for the Redis at an address, such as `redis://user:password@host:6379` or
    /// `rediss://host` for TLS. It connects when the server is used.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn new(url: &str) -> Result<RedisBus, RedisAddressError> {
        Ok(RedisBus::of(Master::at(url)?))
    }

    /// Makes a bus for the Redis that some sentinels call `master`: after a failover, for its
    /// successor. A user, a password and a database in the sentinels' addresses are those of Redis;
    /// the sentinels are asked without.
    ///
    /// # Errors
    ///
    /// When one of the addresses is none.
    pub fn with_sentinels(urls: &[&str], master: &str) -> Result<RedisBus, RedisAddressError> {
        Ok(RedisBus::of(Master::watched(urls, master)?))
    }

    fn of(master: Master) -> RedisBus {
        RedisBus {
            prefix: "socket.io".into(),
            publisher: Arc::new(Publisher::new(master.clone())),
            subscriber: Arc::new(Subscriber::new(master)),
        }
    }

    /// Sets how the names of the channels begin. All servers need the same. Default: `socket.io`.
    #[doc(alias = "key")]
    pub fn prefix(mut self, prefix: &str) -> RedisBus {
        self.prefix = prefix.into();
        self
    }

    /// How many messages were given up, because Redis was away too long, or went away while they were
    /// being sent.
    pub fn dropped(&self) -> u64 {
        self.publisher.dropped()
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Bus for RedisBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let channels = Channels::new(&self.prefix, nsp);
        let own = channels.response_to(uid);
        let classic = Arc::new(Classic {
            nsp: nsp.to_owned(),
            uid: uid.clone(),
            own,
            channels,
            inbox,
            publisher: self.publisher.clone(),
        });
        let pattern = classic.channels.broadcast_pattern();
        let names = [
            classic.channels.request.clone(),
            classic.channels.response.clone(),
            classic.own.clone(),
        ];
        self.publisher.start();
        self.subscriber
            .add(pattern.clone(), names.to_vec(), classic.clone());
        Arc::new(ClassicChannel {
            classic,
            pattern,
            subscriber: self.subscriber.clone(),
        })
    }
}

/// One namespace on Redis.
struct Classic {
    nsp: String,
    uid: Uid,
    channels: Channels,
    /// Where this server is answered.
    own: String,
    inbox: Arc<dyn Inbox>,
    publisher: Arc<Publisher>,
}

struct ClassicChannel {
    classic: Arc<Classic>,
    pattern: String,
    subscriber: Arc<Subscriber>,
}

impl Listener for Classic {
    fn handle(&self, channel: &str, payload: &[u8]) {
        let limits = Limits::default();
        let heard = if channel == self.channels.request {
            Request::decode(payload, &limits).map(|request| self.request(channel, request))
        } else if channel == self.channels.response || channel == self.own {
            Response::decode(payload, &limits).map(|response| self.response(response))
        } else if self.channels.room_of(channel).is_some() {
            if Broadcast::is_by(payload, &self.uid) {
                return;
            }
            Broadcast::decode(payload, &limits).map(|broadcast| self.broadcast(channel, broadcast))
        } else {
            // The pattern matches the channels of namespaces that begin with the same name.
            return;
        };
        if let Err(error) = heard {
            let rejected = Rejected::message(channel, payload, &error);
            self.inbox.reject(&rejected);
        }
    }
}

impl Classic {
    fn receive(&self, uid: Uid, body: Body) {
        self.inbox.receive(Message {
            uid,
            nsp: self.nsp.clone(),
            body,
        });
    }

    fn reject(&self, channel: &str, sender: &Uid, reason: &str) {
        let rejected = Rejected::new(channel, Some(sender.as_str()), &reason);
        self.inbox.reject(&rejected);
    }

    fn broadcast(&self, channel: &str, broadcast: Broadcast) {
        let Broadcast {
            uid,
            nsp,
            event,
            opts,
        } = broadcast;
        // A room of one namespace may have the channel of another namespace.
        if nsp == self.nsp || nsp.is_empty() && self.nsp == "/" {
            let request_id = None;
            self.receive(
                uid,
                Body::Broadcast {
                    event,
                    opts,
                    request_id,
                },
            );
        } else if nsp.is_empty() {
            self.reject(channel, &uid, "`packet.nsp` is empty");
        }
    }

    fn request(&self, channel: &str, request: Request) {
        let uid = request.uid.unwrap_or_else(|| Uid::new(Uid::EMITTER));
        if uid == self.uid {
            return;
        }
        let options = |which: Which| match which {
            Which::Matching(opts) => opts,
            Which::One { sid, .. } => BroadcastOptions {
                rooms: vec![sid],
                ..BroadcastOptions::default()
            },
        };
        let body = match request.body {
            RequestBody::AllRooms { request_id } => {
                let rooms = self.inbox.room_names();
                return self.respond(&Response::Rooms { request_id, rooms }, Some(&uid));
            }
            // Servers before version 4 ask so, which are not part of such a cluster.
            RequestBody::Sockets { .. } => {
                return self.reject(channel, &uid, "a request of a server before version 4");
            }
            RequestBody::RemoteJoin { sockets, rooms } => Body::SocketsJoin {
                opts: options(sockets),
                rooms,
            },
            RequestBody::RemoteLeave { sockets, rooms } => Body::SocketsLeave {
                opts: options(sockets),
                rooms,
            },
            RequestBody::RemoteDisconnect { sockets, close } => Body::DisconnectSockets {
                opts: options(sockets),
                close,
            },
            RequestBody::RemoteFetch { request_id, opts } => {
                Body::FetchSockets { opts, request_id }
            }
            RequestBody::ServerSideEmit { request_id, event } => {
                Body::ServerSideEmit { event, request_id }
            }
            RequestBody::Broadcast {
                request_id,
                nsp,
                event,
                opts,
            } => {
                // The channel is of one namespace alone.
                if nsp != self.nsp && !nsp.is_empty() {
                    return self.reject(channel, &uid, "`packet.nsp` is another namespace");
                }
                Body::Broadcast {
                    event,
                    opts,
                    request_id: Some(request_id),
                }
            }
        };
        self.receive(uid, body);
    }

    fn response(&self, response: Response) {
        let body = match response {
            Response::Sockets {
                request_id,
                sockets,
            } => Body::FetchSocketsResponse {
                request_id,
                sockets,
            },
            Response::ServerSideEmit { request_id, value } => {
                Body::ServerSideEmitResponse { request_id, value }
            }
            Response::ClientCount {
                request_id,
                client_count,
            } => Body::BroadcastClientCount {
                request_id,
                client_count,
            },
            Response::Ack { request_id, value } => Body::BroadcastAck { request_id, value },
            // Answers to what this server does not ask.
            Response::SocketIds { .. } | Response::Rooms { .. } | Response::Done { .. } => return,
        };
        // Responses do not say who sends them.
        self.receive(Uid::new(Uid::EMITTER), body);
    }

    fn respond(&self, response: &Response, to: Option<&Uid>) {
        let channel = match (to, response) {
            // Node looks for these on the shared channel alone.
            (_, Response::ServerSideEmit { .. }) | (None, _) => self.channels.response.clone(),
            (Some(to), _) if to.is_emitter() => self.channels.response.clone(),
            (Some(to), _) => self.channels.response_to(to),
        };
        // One that is refused is counted; whoever asked waits in vain, as it must.
        let _ = self.publisher.publish(channel, response.encode());
    }

    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        let answer = |response: Response| {
            self.respond(&response, to);
            Ok(())
        };
        let body = match &message.body {
            Body::InitialHeartbeat | Body::Heartbeat | Body::AdapterClose => return Ok(()),
            Body::Broadcast {
                event,
                opts,
                request_id: None,
            } => {
                // Nothing is copied before it is encoded: no other message is as frequent.
                let payload = Broadcast::encode_parts(&message.uid, &self.nsp, event, opts);
                return self
                    .publisher
                    .publish(self.channels.broadcast_to(opts), payload);
            }
            Body::Broadcast {
                event,
                opts,
                request_id: Some(request_id),
            } => RequestBody::Broadcast {
                request_id: request_id.clone(),
                nsp: self.nsp.clone(),
                event: event.clone(),
                opts: opts.clone(),
            },
            Body::SocketsJoin { opts, rooms } => RequestBody::RemoteJoin {
                sockets: Which::Matching(opts.clone()),
                rooms: rooms.clone(),
            },
            Body::SocketsLeave { opts, rooms } => RequestBody::RemoteLeave {
                sockets: Which::Matching(opts.clone()),
                rooms: rooms.clone(),
            },
            Body::DisconnectSockets { opts, close } => RequestBody::RemoteDisconnect {
                sockets: Which::Matching(opts.clone()),
                close: *close,
            },
            Body::FetchSockets { opts, request_id } => RequestBody::RemoteFetch {
                request_id: request_id.clone(),
                opts: opts.clone(),
            },
            Body::ServerSideEmit { event, request_id } => RequestBody::ServerSideEmit {
                request_id: request_id.clone(),
                event: event.clone(),
            },
            Body::FetchSocketsResponse {
                request_id,
                sockets,
            } => {
                return answer(Response::Sockets {
                    request_id: request_id.clone(),
                    sockets: sockets.clone(),
                });
            }
            Body::ServerSideEmitResponse { request_id, value } => {
                return answer(Response::ServerSideEmit {
                    request_id: request_id.clone(),
                    value: value.clone(),
                });
            }
            Body::BroadcastClientCount {
                request_id,
                client_count,
            } => {
                return answer(Response::ClientCount {
                    request_id: request_id.clone(),
                    client_count: *client_count,
                });
            }
            Body::BroadcastAck { request_id, value } => {
                return answer(Response::Ack {
                    request_id: request_id.clone(),
                    value: value.clone(),
                });
            }
        };
        let uid = Some(message.uid.clone());
        let request = Request { uid, body };
        self.publisher
            .publish(self.channels.request.clone(), request.encode())
    }
}

impl ClassicChannel {
    fn leave(&self) {
        let listener: Arc<dyn Listener> = self.classic.clone();
        self.subscriber.remove(&self.pattern, &listener);
    }
}

impl Channel for ClassicChannel {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        self.classic.publish(message, to)
    }

    fn has_heartbeats(&self) -> bool {
        false
    }

    fn server_count(&self) -> BoxFuture<'_, Result<usize, BusError>> {
        Box::pin(async {
            let count = self
                .classic
                .publisher
                .subscribers(&self.classic.channels.request);
            count.await.map_err(BusError)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // Before anything else: who is subscribed is asked, and waited for.
            self.leave();
            self.classic.publisher.flush(FLUSH).await;
        })
    }
}

/// What waits is published within this time when a server ends.
const FLUSH: Duration = Duration::from_secs(1);

impl Drop for ClassicChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for ClassicChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassicChannel")
            .field("nsp", &self.classic.nsp)
            .field("uid", &self.classic.uid)
            .finish_non_exhaustive()
    }
}
