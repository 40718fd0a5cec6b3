//! What applications put in the library's place: parsers, adapters, buses and stores. They misbehave in
//! the namespace `/bad`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio::cluster::{
    Bus, BusError, Channel, Inbox, KeptClient, MemoryBus, NotTaken, PublishError, Published, Store,
    Taken,
};
use socketio::parser::{
    EncodedMessage, JsonParser, Packet, PacketDecoder, PacketKind, ParseError, Parser,
};
use socketio::{
    Adapter, AdapterError, BroadcastPacket, LocalAdapter, Recovery, RemoteSocket, Server, Socket,
    Target,
};
use socketio_proto::cluster::streams::Offset;
use socketio_proto::cluster::{Message, Uid};

use super::lab::Fault::{Never, Panic, Slow};
use super::lab::{BoxFuture, Lab, Row, Trouble, ask, join, state};
use crate::support::Ws;

type Borrowed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Adapter, bus, channel, store and parser in one: each method may be the one that misbehaves.
#[derive(Clone)]
struct Faulty {
    trouble: Trouble,
    /// The method, and for a parser the event.
    method: &'static str,
    local: Option<Arc<LocalAdapter>>,
    channel: Option<Arc<dyn Channel>>,
    is_bad: bool,
}

impl Faulty {
    fn new(trouble: Trouble, method: &'static str) -> Faulty {
        Faulty {
            trouble,
            method,
            local: None,
            channel: None,
            is_bad: false,
        }
    }

    fn in_namespace(&self, nsp: &str) -> Faulty {
        let is_bad = nsp == "/bad";
        Faulty {
            is_bad,
            ..self.clone()
        }
    }

    fn at(&self, method: &str) {
        if self.is_bad && self.method == method {
            self.trouble.now();
        }
    }

    async fn waits_at(&self, method: &str) {
        if self.is_bad && self.method == method {
            self.trouble.later().await;
        }
    }

    fn channel(&self) -> &Arc<dyn Channel> {
        self.channel.as_ref().expect("an open channel")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Adapter for Faulty {
    fn local(&self) -> &Arc<LocalAdapter> {
        self.local.as_ref().expect("an adapter")
    }

    fn join(&self, socket: &Socket, rooms: &[String]) {
        self.at("join");
        self.local().join(socket, rooms);
    }

    fn broadcast(&self, packet: &BroadcastPacket, target: &Target) {
        self.at("broadcast");
        self.local().broadcast(packet, target);
    }

    fn fetch_sockets<'a>(
        &'a self,
        target: &'a Target,
        _: bool,
    ) -> Borrowed<'a, Result<Vec<RemoteSocket>, AdapterError>> {
        Box::pin(async move {
            self.waits_at("fetch_sockets").await;
            Ok(self.local().fetch_sockets(target))
        })
    }

    fn close(&self) -> Borrowed<'_, ()> {
        Box::pin(self.waits_at("close"))
    }
}

#[derive(Debug)]
struct FaultyBus {
    faulty: Faulty,
    below: MemoryBus,
    is_ordered: bool,
}

impl Bus for FaultyBus {
    fn open(&self, nsp: &str, uid: &Uid, inbox: Arc<dyn Inbox>) -> Arc<dyn Channel> {
        let faulty = self.faulty.in_namespace(nsp);
        faulty.at("open");
        Arc::new(Faulty {
            channel: Some(self.below.open(nsp, uid, inbox)),
            ..faulty
        })
    }

    fn is_ordered(&self) -> bool {
        self.is_ordered
    }
}

impl Channel for Faulty {
    fn publish(&self, message: &Message, to: Option<&Uid>) -> Result<(), PublishError> {
        self.at("publish");
        self.channel().publish(message, to)
    }

    fn has_heartbeats(&self) -> bool {
        self.method != "server_count"
    }

    fn server_count(&self) -> Borrowed<'_, Result<usize, BusError>> {
        Box::pin(async {
            self.waits_at("server_count").await;
            Ok(1)
        })
    }

    fn follows_rooms(&self) -> bool {
        self.method == "room_changed"
    }

    fn room_changed(&self, _: &str) {
        self.at("room_changed");
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.clone()))
    }

    fn close(&self) -> Borrowed<'_, ()> {
        self.channel().close()
    }
}

impl Store for Faulty {
    fn keep(&self, _: Arc<KeptClient>) {
        self.at("keep");
    }

    fn take<'a>(
        &'a self,
        _: &'a str,
        _: Offset,
        _: &'a Uid,
        _: Duration,
    ) -> Borrowed<'a, Result<Taken, NotTaken>> {
        Box::pin(async {
            self.waits_at("take").await;
            Err(NotTaken::Unknown)
        })
    }

    fn published(&self, _: Offset, _: Offset) -> Borrowed<'_, Result<Option<Published>, BusError>> {
        Box::pin(async { Ok(None) })
    }
}

#[derive(Debug)]
struct FaultyParser(Faulty, JsonParser);

impl FaultyParser {
    fn new(trouble: Trouble, method: &'static str) -> FaultyParser {
        let mut faulty = Faulty::new(trouble, method);
        faulty.is_bad = true;
        let json = JsonParser {
            max_attachments: 10,
            max_bytes: 1000,
        };
        FaultyParser(faulty, json)
    }
}

impl Parser for FaultyParser {
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
        if packet.nsp == "/bad" && packet.kind == PacketKind::Event {
            self.0.at("encode");
        }
        self.1.encode(packet)
    }

    fn decoder(&self) -> Box<dyn PacketDecoder> {
        Box::new(FaultyDecoder(self.0.clone(), self.1.decoder()))
    }
}

struct FaultyDecoder(Faulty, Box<dyn PacketDecoder>);

impl PacketDecoder for FaultyDecoder {
    fn add_text(&mut self, text: &str) -> Result<Option<Packet<'static>>, ParseError> {
        if text.contains("\"x\"") {
            self.0.at("add_text");
        }
        self.1.add_text(text)
    }

    fn add_binary(&mut self, bytes: &[u8]) -> Result<Option<Packet<'static>>, ParseError> {
        self.1.add_binary(bytes)
    }
}

/// A handler in `/bad` uses what misbehaves; it answers with 1 if that came back.
fn install(io: &Server) {
    io.of("/bad").on("x", async |socket: Socket| {
        socket.join("a room");
        let emitted = socket.namespace().emit("to all", ()).now();
        let fetched = socket.namespace().fetch_sockets().await;
        let counted = socket.namespace().server_count().await;
        drop((emitted, fetched, counted));
        1
    });
}

async fn adapter(trouble: Trouble, method: &'static str) -> (Lab, String) {
    let faulty = Faulty::new(trouble.clone(), method);
    let builder = Server::builder().adapter(move |nsp, local| {
        let faulty = faulty.in_namespace(nsp);
        faulty.at("make");
        Faulty {
            local: Some(local.clone()),
            ..faulty
        }
    });
    let lab = Lab::start(builder, install).await;
    let mut ws = lab.victim().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

async fn closed_adapter(trouble: Trouble) -> (Lab, String) {
    let faulty = Faulty::new(trouble, "close");
    let builder = Server::builder()
        .cleanup_empty_child_namespaces()
        .adapter(move |nsp, local| Faulty {
            local: Some(local.clone()),
            is_bad: nsp == "/child",
            ..faulty.clone()
        });
    let lab = Lab::start(builder, |io| drop(io.of_pattern("^/child$"))).await;
    let (mut ws, _) = Ws::join(lab.address, "/child").await;
    ws.send("41/child,").await;
    ws.send("40/bad,").await;
    assert!(ws.text().await.starts_with("40/bad,"));
    let becomes = state(&mut ws).await.0.to_owned();
    (lab, becomes)
}

fn bus(trouble: Trouble, method: &'static str, is_ordered: bool) -> FaultyBus {
    FaultyBus {
        faulty: Faulty::new(trouble, method),
        below: MemoryBus::new(),
        is_ordered,
    }
}

async fn channel(trouble: Trouble, method: &'static str) -> (Lab, String) {
    let builder = Server::builder().cluster(bus(trouble.clone(), method, false));
    let lab = Lab::start(builder, install).await;
    let mut ws = lab.victim().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

async fn store(trouble: Trouble, method: &'static str) -> (Lab, String) {
    let builder =
        Server::builder()
            .recovery(Recovery::new())
            .cluster(bus(trouble.clone(), method, true));
    let lab = Lab::start(builder, |_| {}).await;
    let mut ws = Ws::open(lab.address).await;
    let packet = r#"40/bad,{"pid":"a private id","offset":"1-1"}"#;
    let becomes = join(&mut ws, &trouble, packet).await;
    (lab, becomes)
}

async fn parser(trouble: Trouble, method: &'static str) -> (Lab, String) {
    let parser = FaultyParser::new(trouble.clone(), method);
    let lab = Lab::start(Server::builder().parser(parser), install).await;
    let mut ws = lab.victim().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

fn row(
    callback: &'static str,
    sources: &'static [&'static str],
    cases: &'static [(super::Fault, &'static str)],
    run: fn(Trouble) -> BoxFuture<(Lab, String)>,
) -> Row {
    Row {
        callback,
        sources,
        cases,
        run,
    }
}

const ASIDE: &[(super::Fault, &str)] = &[(Panic, "answered, connected")];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("adapter", &["server/config: adapter"], ASIDE, |t| {
            Box::pin(adapter(t, "make"))
        }),
        row("adapter", &["server/adapter: Adapter"], ASIDE, |t| {
            Box::pin(adapter(t, "join"))
        }),
        row("adapter", &["server/adapter: Adapter"], ASIDE, |t| {
            Box::pin(adapter(t, "broadcast"))
        }),
        row(
            "adapter",
            &["server/adapter: Adapter"],
            &[
                (Panic, "answered, connected"),
                (Slow, "answered late, connected"),
                (Never, "no answer, connected"),
            ],
            |t| Box::pin(adapter(t, "fetch_sockets")),
        ),
        row(
            "adapter",
            &["server/adapter: Adapter"],
            &[
                (Panic, "connected"),
                (Slow, "connected"),
                (Never, "connected"),
            ],
            |t| Box::pin(closed_adapter(t)),
        ),
        row("bus", &["server/cluster/bus: Bus"], ASIDE, |t| {
            Box::pin(channel(t, "open"))
        }),
        row("bus", &["server/cluster/bus: Channel"], ASIDE, |t| {
            Box::pin(channel(t, "publish"))
        }),
        row("bus", &["server/cluster/bus: Channel"], ASIDE, |t| {
            Box::pin(channel(t, "room_changed"))
        }),
        row(
            "bus",
            &["server/cluster/bus: Channel"],
            &[
                (Panic, "answered, connected"),
                (Slow, "answered late, connected"),
                (Never, "no answer, connected"),
            ],
            |t| Box::pin(channel(t, "server_count")),
        ),
        row(
            "store",
            &["server/cluster/store: Store"],
            &[(Panic, "let in")],
            |t| Box::pin(store(t, "keep")),
        ),
        row(
            "store",
            &["server/cluster/store: Store"],
            &[(Panic, "closed"), (Slow, "let in"), (Never, "closed")],
            |t| Box::pin(store(t, "take")),
        ),
        row("parser", &["parser: Parser"], ASIDE, |t| {
            Box::pin(parser(t, "encode"))
        }),
        row(
            "parser",
            &["parser: PacketDecoder"],
            &[(Panic, "no answer, closed")],
            |t| Box::pin(parser(t, "add_text")),
        ),
    ]
}
