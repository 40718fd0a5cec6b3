//! The connections of a run: how they are made, and what is noted when they come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socketio::Transport;
use socketio::client::{Client, ClientBuilder, ConnectError, Disconnected, ManagerEvent, Socket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::args::{BenchArgs, Scenario, TransportChoice};
use super::lane::{Lane, Senders};
use super::stamp::{Kind, Payload};
use super::{Bench, messages};

/// One connection of a run and what it does.
pub(crate) struct Member {
    pub(crate) index: u32,
    pub(crate) bench: Arc<Bench>,
    pub(crate) lane: Mutex<Lane>,
    /// When it was lost, while it is.
    gone: Mutex<Option<Instant>>,
    /// When the last attempt to come back began.
    attempt: Mutex<Instant>,
    /// It was cut on purpose.
    is_cut: AtomicBool,
    has_joined: AtomicBool,
}

/// A member and its connection, which ends when this is dropped.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) member: Arc<Member>,
    pub(crate) socket: Socket,
}

impl Member {
    fn new(bench: &Arc<Bench>, index: u32) -> Member {
        let options = &bench.options;
        let senders = match options.scenario {
            Scenario::Broadcast => Senders::OneIn {
                step: options.one_in,
                lanes: options.connections,
            },
            Scenario::Ack | Scenario::Connect | Scenario::Echo | Scenario::Idle => Senders::Own,
        };
        let kind = match options.binary {
            true => Kind::Binary,
            false => Kind::Text,
        };
        let payload = Payload::new(options.payload as usize, kind);
        Member {
            index,
            bench: bench.clone(),
            lane: Mutex::new(Lane::new(bench.tag, index, senders, payload)),
            gone: Mutex::new(None),
            attempt: Mutex::new(Instant::now()),
            is_cut: AtomicBool::new(false),
            has_joined: AtomicBool::new(false),
        }
    }

    fn joined(&self, socket: &Socket) {
        self.bench.recorder.joined();
        self.has_joined.store(true, Ordering::Relaxed);
        self.is_cut.store(false, Ordering::Relaxed);
        let Some(gone) = self.gone.lock().take() else {
            return;
        };
        let attempt = self.attempt.lock().elapsed();
        self.bench.recorder.reconnected(gone.elapsed(), attempt);
        if let Scenario::Broadcast | Scenario::Echo = self.bench.options.scenario {
            messages::begin_anew(self, socket);
        }
    }

    fn left(&self, why: &Disconnected) {
        self.bench.recorder.left();
        if self.bench.is_closing() {
            return;
        }
        *self.gone.lock() = Some(Instant::now());
        if !self.is_cut.load(Ordering::Relaxed) {
            let cause = match why.description() {
                Some(description) => format!("{} ({description})", why.reason().as_str()),
                None => why.reason().as_str().to_owned(),
            };
            self.bench.recorder.disconnects.lock().add(cause);
        }
    }

    /// Counts what went wrong on the way back; the first attempt is counted by who made it.
    fn failed(&self, error: &ConnectError) {
        if self.has_joined.load(Ordering::Relaxed) && !self.bench.is_closing() {
            let cause = format!("reconnecting: {error}");
            self.bench.recorder.errors.lock().add(cause);
        }
    }
}

impl Connected {
    /// Breaks the connection off; it comes back by itself, as clients do.
    pub(crate) fn cut(&self) {
        if !self.socket.is_connected() {
            return;
        }
        let recorder = &self.member.bench.recorder;
        self.member.is_cut.store(true, Ordering::Relaxed);
        recorder.cuts.fetch_add(1, Ordering::Relaxed);
        self.socket.manager().break_off();
    }
}

/// What the options say of a connection.
pub(crate) fn builder(options: &BenchArgs) -> ClientBuilder {
    let mut builder = Client::builder(&options.url).path(&options.path);
    if let Some(namespace) = &options.namespace {
        builder = builder.namespace(namespace);
    }
    builder = match options.transport {
        TransportChoice::Polling => builder.transports([Transport::Polling]),
        TransportChoice::Upgrade => builder,
        TransportChoice::Websocket => builder.transports([Transport::WebSocket]),
    };
    if let Some(auth) = &options.auth {
        builder = builder.auth(auth);
    }
    for (name, value) in &options.headers {
        builder = builder.header(name, value);
    }
    if options.insecure {
        builder = builder.danger_accept_invalid_certificates();
    }
    if let Some(certificate) = &options.cacert {
        builder = builder.root_certificate(certificate);
    }
    builder
}

/// Opens all connections, or as many as can be until the run is ended.
pub(crate) async fn open(bench: &Arc<Bench>) -> Vec<Connected> {
    let mut opened = Vec::new();
    let asked = bench.options.connections;
    bench.progress.begin_opening(asked);
    let showing = async {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            bench.progress.opening(bench.recorder.open(), asked);
        }
    };
    tokio::select! {
        () = open_into(bench, &mut opened) => {}
        () = bench.stopped() => {}
        () = showing => {}
    }
    opened.sort_by_key(|connected: &Connected| connected.member.index);
    opened
}

async fn open_into(bench: &Arc<Bench>, opened: &mut Vec<Connected>) {
    let begin = tokio::time::Instant::now();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for index in 0..bench.options.connections {
        if let Some(ramp) = bench.options.ramp {
            let due = super::pacer::due(u64::from(index), ramp);
            tokio::time::sleep_until(begin + due).await;
        }
        let place = places.clone().acquire_owned().await;
        let bench = bench.clone();
        opening.spawn(async move {
            let connected = open_one(bench, index).await;
            drop(place);
            connected
        });
        while let Some(ended) = opening.try_join_next() {
            opened.extend(ended.ok().flatten());
        }
    }
    while let Some(ended) = opening.join_next().await {
        opened.extend(ended.ok().flatten());
    }
}

async fn open_one(bench: Arc<Bench>, index: u32) -> Option<Connected> {
    let begin = Instant::now();
    let socket = match builder(&bench.options).build() {
        Ok(socket) => socket,
        Err(error) => {
            bench.recorder.failed(error, None);
            return None;
        }
    };
    let member = Arc::new(Member::new(&bench, index));
    register(&member, &socket);
    if let Err(error) = socket.connect().await {
        bench.recorder.failed(&error, error.hint());
        return None;
    }
    bench.recorder.opened(begin.elapsed());
    Some(Connected { member, socket })
}

fn register(member: &Arc<Member>, socket: &Socket) {
    let here = member.clone();
    socket.on_connect(async move |socket: Socket| here.joined(&socket));
    let here = member.clone();
    socket.on_disconnect(async move |_: Socket, why: Disconnected| here.left(&why));
    let here = member.clone();
    socket.on_connect_error(async move |_: Socket, error: ConnectError| here.failed(&error));
    let here = member.clone();
    socket.manager().on(move |event| {
        if let ManagerEvent::ReconnectAttempt(_) = event {
            *here.attempt.lock() = Instant::now();
        }
    });
    if let Scenario::Broadcast | Scenario::Echo = member.bench.options.scenario {
        messages::register(member, socket);
    }
}

/// Closes all connections in order, within a bound.
pub(crate) async fn close(connected: &[Connected]) {
    let leaving: Vec<_> = connected
        .iter()
        .map(|connected| connected.socket.disconnect())
        .collect();
    let all_left = async {
        for left in leaving {
            left.await;
        }
    };
    let _ = tokio::time::timeout(FAREWELL, all_left).await;
}

/// Connections that are opened at the same time: enough for a server that is far away, and few enough
/// for the queue of a listener.
const AT_ONCE: usize = 200;

/// The time that connections have to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);
