//! What the rows of the table have in common: how a callback misbehaves, a server, a client that suffers
//! from it in the namespace `/bad`, and another one that must not notice.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socketio::{Server, ServerBuilder, Socket, client};
use tokio::sync::Semaphore;

use crate::support::{Received, Ws, listen};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Panic,
    /// It goes on when the test lets it.
    Slow,
    Never,
}

/// A callback's misbehaviour.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    gate: Arc<Semaphore>,
}

impl Trouble {
    pub(super) fn new(fault: Fault) -> Trouble {
        Trouble {
            fault,
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    /// In a callback that cannot wait.
    pub(super) fn now(&self) {
        assert_ne!(self.fault, Fault::Panic, "on purpose");
    }

    pub(super) async fn later(&self) {
        match self.fault {
            Fault::Panic => panic!("on purpose"),
            Fault::Slow => drop(self.gate.acquire().await),
            Fault::Never => std::future::pending().await,
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.fault == Fault::Slow
    }

    pub(super) fn release(&self) {
        self.gate.add_permits(100);
    }
}

/// Panics when it is dropped.
pub(super) struct Bomb(pub(super) Trouble);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// A value that owns a bomb and can be cloned: only the last one goes off.
pub(super) type SharedBomb = Arc<Bomb>;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One kind of callback, and what becomes of it.
pub(super) struct Row {
    /// As the log and `Callback` name it.
    pub(super) callback: &'static str,
    /// Where the sources let an application give it: `file: function` or `file: trait`.
    pub(super) sources: &'static [&'static str],
    pub(super) cases: &'static [(Fault, &'static str)],
    pub(super) run: fn(Trouble) -> BoxFuture<(Lab, String)>,
}

/// A server with a client that must not notice anything.
pub(super) struct Lab {
    pub(super) io: Server,
    pub(super) address: SocketAddr,
    witness: Ws,
    /// Whose callback it is, if not the server's.
    pub(super) client: Option<client::Socket>,
}

/// A client that joins no namespace is gone after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Lab {
    pub(super) async fn start(builder: ServerBuilder, install: impl FnOnce(&Server)) -> Lab {
        let io = builder
            .ping_interval(Duration::from_millis(100))
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        io.on("echo", async |_: Socket, n: u32| n);
        io.of("/bad").on("still there", async |_: Socket| {});
        install(&io);
        let address = listen(&io).await;
        let witness = Ws::connect(address).await;
        Lab {
            io,
            address,
            witness,
            client: None,
        }
    }

    /// How many panics were counted.
    pub(super) fn panics(&self) -> u64 {
        let client = self.client.as_ref();
        let of_client = client.map_or(0, |client| client.manager().stats().panics);
        self.io.stats().panics + of_client
    }

    /// A client of `/bad`.
    pub(super) async fn victim(&self) -> Ws {
        Ws::join(self.address, "/bad").await.0
    }

    /// The other client is answered and gets its pings, and new ones are let in.
    pub(super) async fn nobody_else_notices(&mut self) {
        let before = self.witness.pings;
        while self.witness.pings < before + 2 {
            self.witness.send("427[\"echo\",1]").await;
            assert_eq!(self.witness.text().await, "437[1]");
        }
        Ws::connect(self.address).await;
    }
}

/// Whether a client is connected, and what it was sent meanwhile.
pub(super) async fn state(ws: &mut Ws) -> (&'static str, Vec<String>) {
    ws.send("42/bad,99[\"still there\"]").await;
    let mut texts = Vec::new();
    loop {
        match ws.next().await {
            Received::Text(text) if text == "43/bad,99[]" => return ("connected", texts),
            Received::Text(text) => texts.push(text),
            Received::Binary(_) => {}
            Received::Close(_) | Received::End => return ("closed", texts),
        }
    }
}

/// Sends an event that is to be answered with 1, and tells what came of it.
pub(super) async fn ask(ws: &mut Ws, trouble: &Trouble) -> String {
    ws.send("42/bad,1[\"x\"]").await;
    let (state, texts) = state(ws).await;
    let answer = match texts.iter().any(|text| text == "43/bad,1[1]") {
        true => "answered",
        false if trouble.is_slow() => {
            trouble.release();
            assert_eq!(ws.text().await, "43/bad,1[1]");
            "answered late"
        }
        false => "no answer",
    };
    format!("{answer}, {state}")
}

/// Tells what came of a CONNECT: the answer, without ids, or the end of the connection.
pub(super) async fn join(ws: &mut Ws, trouble: &Trouble, packet: &str) -> String {
    ws.send(packet).await;
    if trouble.is_slow() {
        trouble.release();
    }
    match ws.next().await {
        Received::Text(text) if text.starts_with("40") => "let in".to_owned(),
        Received::Text(text) => text.split_once(',').expect("a namespace").1.to_owned(),
        Received::Binary(_) | Received::Close(_) | Received::End => "closed".to_owned(),
    }
}
