//! The suite over NATS, and what is peculiar to it. S077.

use socketio_adapters::nats::NatsBus;
use socketio_proto::cluster::{Body, BroadcastOptions, Message, Uid};

use super::load::under_load;
use super::*;

struct Nats {
    child: Child,
    port: u16,
}

impl Nats {
    /// `None` where there is no NATS: `./test` installs it.
    async fn start() -> Option<Nats> {
        Nats::start_on(spare_port()).await
    }

    async fn start_on(port: u16) -> Option<Nats> {
        let child = Command::new("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("nats-server is not installed: what goes through it is left out");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take()?).lines();
        while let Some(line) = soon(lines.next_line()).await.expect("its output") {
            if line.contains("Server is ready") {
                // Read on, so that it can write on.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Some(Nats { child, port });
            }
        }
        panic!("nats-server did not start");
    }

    async fn restart(&mut self) {
        *self = Nats::start_on(self.port).await.expect("NATS");
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn bus(&self) -> NatsBus {
        NatsBus::new(&self.url()).expect("an address")
    }
}

#[tokio::test]
async fn broadcasts_through_nats() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    broadcasts(|| nats.bus()).await;
}

#[tokio::test]
async fn answers_through_nats() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    answers(|| nats.bus()).await;
    a_silent_client_is_missed(|| nats.bus().prefix("other")).await;
}

#[tokio::test]
async fn sockets_through_nats() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    sockets(|| nats.bus()).await;
}

#[tokio::test]
async fn servers_through_nats() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    servers(|| nats.bus()).await;
}

#[tokio::test]
async fn a_nats_that_restarts_under_load_doubles_nothing() {
    let Some(mut nats) = Nats::start().await else {
        return;
    };
    let url = nats.url();
    let restart = async || {
        nats.child.kill().await.expect("to end");
        tokio::time::sleep(Duration::from_secs(1)).await;
        nats.restart().await;
    };
    let bus = || NatsBus::new(&url).expect("an address");
    let figures = under_load("NATS restart", bus, restart).await;
    assert_eq!((figures.doubled, figures.late), (0, 0));
    // Two clients have lost less than half each: what waited came when all listened again.
    assert!(figures.lost < figures.meanwhile);
}

#[tokio::test]
async fn a_nats_that_pauses_under_load_loses_nothing() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    let pause = async || {
        signal(&nats.child, "-STOP").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        signal(&nats.child, "-CONT").await;
    };
    let figures = under_load("NATS pause", || nats.bus(), pause).await;
    assert_eq!((figures.lost, figures.doubled, figures.late), (0, 0, 0));
}

/// A channel of a namespace that joins nothing but passes on what it hears.
fn listen(
    bus: &NatsBus,
    nsp: &str,
    uid: &str,
) -> (
    Arc<dyn socketio::cluster::Channel>,
    mpsc::UnboundedReceiver<Message>,
) {
    let (sender, heard) = mpsc::unbounded_channel();
    (bus.open(nsp, &Uid::new(uid), Arc::new(Ears(sender))), heard)
}

fn join(nsp: &str, uid: &str, room: &str) -> Message {
    Message {
        uid: Uid::new(uid),
        nsp: nsp.to_owned(),
        body: Body::SocketsJoin {
            opts: BroadcastOptions::default(),
            rooms: vec![room.to_owned()],
        },
    }
}

#[tokio::test]
async fn namespaces_of_any_name_are_apart_on_nats() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    let long = format!("/{}", "long".repeat(3000));
    let longer = format!("{long}er");
    let names = [
        "/",
        "/a",
        "/a.b",
        "/*",
        "/>",
        "/a b",
        "/a\r\nPUB x 0\r\n",
        "/ü",
        "/#=2F",
        &long,
        &longer,
    ];
    let (here, there) = (nats.bus(), nats.bus());
    let mut listeners: Vec<_> = names.iter().map(|nsp| listen(&here, nsp, "here")).collect();
    let speakers: Vec<_> = names
        .iter()
        .map(|nsp| listen(&there, nsp, "there"))
        .collect();
    for (nsp, ((_, heard), (speaker, _))) in names.iter().zip(listeners.iter_mut().zip(&speakers)) {
        // The first one comes when all is subscribed to.
        soon(async {
            loop {
                speaker
                    .publish(&join(nsp, "there", "first"), None)
                    .expect("to be published");
                if tokio::time::timeout(Duration::from_millis(50), heard.recv())
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        })
        .await;
    }
    for (nsp, (speaker, _)) in names.iter().zip(&speakers) {
        let (to, message) = (Uid::new("here"), join(nsp, "there", nsp));
        speaker
            .publish(&message, Some(&to))
            .expect("to be published");
        // What a foreign server calls itself is as dangerous.
        let wild = Uid::new("x y\r\nPUB z 0");
        speaker
            .publish(&message, Some(&wild))
            .expect("to be published");
        speaker
            .publish(&join(nsp, "there", "last"), None)
            .expect("to be published");
    }
    for (nsp, (_, heard)) in names.iter().zip(&mut listeners) {
        let mut rooms = Vec::new();
        while rooms.last().is_none_or(|room| room != "last") {
            let message = soon(heard.recv()).await.expect("a message");
            assert_eq!(message.nsp, *nsp);
            let Body::SocketsJoin { rooms: names, .. } = message.body else {
                panic!("{message:?}");
            };
            rooms.extend(names.into_iter().filter(|name| name != "first"));
        }
        assert_eq!(rooms, [*nsp, "last"]);
    }
}

#[tokio::test]
async fn what_waits_for_a_nats_that_is_away_is_bounded() {
    let bus = NatsBus::new(&format!("nats://127.0.0.1:{}", spare_port())).expect("an address");
    let (channel, _heard) = listen(&bus, "/", "here");
    let message = join("/", "here", &"x".repeat(1000 * 1000));
    let full = Err(socketio::cluster::PublishError::Full);
    let published = (0..100).map(|_| channel.publish(&message, None));
    let refused = published.filter(|published| *published == full).count();
    // 67 fit into 64 MiB.
    assert_eq!((refused, bus.dropped()), (33, 33));
    soon(channel.close()).await;
}

#[tokio::test]
async fn what_nats_does_not_take_is_refused_and_the_next_one_arrives() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| nats.bus(), 0).await;
    cluster.of(0).emit("news", "x".repeat(2 << 20));
    cluster.of(0).emit("news", "next");
    assert!(
        soon(cluster.clients[0].heard.recv())
            .await
            .expect("news")
            .len()
            > 2 << 20
    );
    for client in &mut cluster.clients {
        client.hears("\"next\"").await;
    }
    assert_eq!(cluster.servers[0].stats().cluster_refused, 1);
}

#[tokio::test]
async fn what_is_no_message_on_nats_is_counted_and_ignored() {
    let Some(nats) = Nats::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| nats.bus(), 0).await;
    let client = soon(async_nats::connect(nats.url())).await.expect("NATS");
    let foreign = r#"{"type":3,"uid":"x","nsp":"/other","data":{"packet":{"type":2,"data":["news","foreign"]},"opts":{"rooms":[],"except":[],"flags":{}}}}"#;
    let none = [
        &b""[..],
        b"{",
        b"\x93",
        b"\xc1\xff",
        b"{\"type\":5}",
        b"[1,2,3]",
    ];
    for payload in none.into_iter().chain([foreign.as_bytes()]) {
        let payload = payload.to_vec().into();
        let sent = client.publish("socketio.=2F.all", payload);
        soon(sent).await.expect("to be published");
    }
    soon(client.flush()).await.expect("to be published");
    cluster.of(1).emit("news", "fine");
    for client in &mut cluster.clients {
        client.hears("\"fine\"").await;
    }
    for server in &cluster.servers {
        soon(async {
            while server.stats().cluster_rejected < none.len() as u64 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(server.stats().cluster_rejected, none.len() as u64);
    }
}
