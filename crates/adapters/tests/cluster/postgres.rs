//! Servers that share a Postgres of their own.

use std::cell::Cell;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command as Plain, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use socketio::Value;
use socketio::cluster::PublishError;
use socketio_adapters::postgres::{Emitter, PostgresBus};
use socketio_proto::cluster::{Body, BroadcastOptions, Message, Uid};
use tokio_postgres::{AsyncMessage, Client as Database, NoTls};

use super::*;

struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    child: Option<Child>,
}

const TABLE: &str = "CREATE TABLE socket_io_attachments (id bigserial UNIQUE, created_at timestamptz \
                     DEFAULT NOW(), payload bytea)";

impl Postgres {
    /// `None` where there is no Postgres: `./test` installs it.
    async fn start() -> Option<Postgres> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Some(programs) = programs() else {
            eprintln!("postgresql is not installed: what goes through it is left out");
            return None;
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("socketio-postgres-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a directory");
        if let Some((user, group)) = user() {
            chown(&directory, Some(user), Some(group)).expect("to be given away");
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut postgres = Postgres {
            programs,
            directory,
            port,
            child: None,
        };
        let made = postgres
            .program("initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C"])
            .output();
        let made = soon(made).await.expect("initdb");
        assert!(made.status.success(), "{made:?}");
        postgres.run().await;
        postgres
            .database()
            .await
            .batch_execute(TABLE)
            .await
            .expect("a table");
        Some(postgres)
    }

    /// Starts it, again.
    async fn run(&mut self) {
        let port = self.port.to_string();
        let child = self
            .program("postgres")
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "fsync=off"])
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("postgres");
        let mut lines = BufReader::new(child.stderr.take().expect("its output")).lines();
        while let Some(line) = soon(lines.next_line()).await.expect("its output") {
            if line.contains("ready to accept connections") {
                // Read on, so that it can write on.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                self.child = Some(child);
                return;
            }
        }
        panic!("postgres did not start");
    }

    /// Ends it as `pg_ctl restart` does: connections are closed.
    async fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        signal(&child, "-INT");
        soon(child.wait()).await.expect("to end");
    }

    /// A program of Postgres, which does not run as root.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("-D").arg(&self.directory).stdin(Stdio::null());
        command.current_dir(&self.directory);
        if let Some((user, group)) = user() {
            command.uid(user).gid(group);
        }
        command
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn bus(&self) -> PostgresBus {
        PostgresBus::new(&self.url()).expect("an address")
    }

    async fn database(&self) -> Database {
        self.listener().await.0
    }

    /// A connection, and the notifications that come on it.
    async fn listener(&self) -> (Database, mpsc::UnboundedReceiver<String>) {
        let url = self.url();
        let connecting = tokio_postgres::connect(&url, NoTls);
        let (client, mut connection) = soon(connecting).await.expect("Postgres");
        let (sender, notified) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut next = async || std::future::poll_fn(|cx| connection.poll_message(cx)).await;
            while let Some(Ok(message)) = next().await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = sender.send(notification.payload().to_owned());
                }
            }
        });
        (client, notified)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            signal(child, "-QUIT");
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let status = Plain::new("kill").args([name, &id]).status();
    assert!(status.expect("kill").success());
}

/// Where Debian or somebody else has put them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path).collect::<Vec<_>>();
    let debian = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = debian.flatten().map(|version| version.path().join("bin"));
    let has_all = |directory: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| directory.join(name).exists())
    };
    path.into_iter().chain(debian).find(has_all)
}

/// Who runs Postgres, if root must not.
fn user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Plain::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let is_root = Path::new("/proc/self").exists() && id(&["-u"]) == Some(0);
    is_root.then(|| Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))?
}

#[tokio::test]
async fn broadcasts_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    broadcasts(|| postgres.bus()).await;
}

#[tokio::test]
async fn answers_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    answers(|| postgres.bus()).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    a_silent_client_is_missed(|| postgres.bus()).await;
}

#[tokio::test]
async fn sockets_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    sockets(|| postgres.bus()).await;
}

#[tokio::test]
async fn servers_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    servers(|| postgres.bus()).await;
}

#[tokio::test]
async fn one_handle_serves_several_servers() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let bus = postgres.bus();
    broadcasts(|| bus.clone()).await;
}

#[tokio::test]
async fn an_emitter_reaches_the_clients_of_all_servers_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| postgres.bus(), 0).await;
    let emitter = soon(Emitter::connect(&postgres.url()))
        .await
        .expect("Postgres");
    let large = "x".repeat(8000);
    let bytes = Value::Binary(vec![1, 2, 3].into());
    let target = || emitter.of("/");
    soon(target().emit("news", "from outside"))
        .await
        .expect("to be sent");
    soon(target().emit("news", bytes))
        .await
        .expect("to be sent");
    soon(target().emit("news", &large))
        .await
        .expect("to be sent");
    for client in &mut cluster.clients {
        client.hears("\"from outside\"").await;
        client.hears(r#"{"_placeholder":true,"num":0} [3]"#).await;
        client.hears(&format!("\"{large}\"")).await;
    }
}

#[tokio::test]
async fn texts_and_bytes_keep_their_order_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| postgres.bus(), 0).await;
    for i in 0..300 {
        let value = match i % 3 {
            0 => Value::Binary(vec![0; 9].into()),
            1 => Value::from("x".repeat(9000)),
            _ => Value::from("short"),
        };
        cluster.of(0).emit("news", (i, value));
    }
    for client in &mut cluster.clients {
        for i in 0..300 {
            let heard = soon(client.heard.recv()).await.expect("news");
            assert_eq!(heard.split(',').next(), Some(&*i.to_string()));
        }
    }
}

/// Waits until all have counted so many messages that were none.
async fn all_reject(cluster: &Cluster, count: u64) {
    for server in &cluster.servers {
        soon(async {
            while server.stats().cluster_rejected < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(server.stats().cluster_rejected, count);
    }
}

#[tokio::test]
async fn what_is_no_message_or_is_gone_disturbs_nobody_through_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| postgres.bus(), 0).await;
    let database = postgres.database().await;
    let broken = "INSERT INTO socket_io_attachments (payload) VALUES ('\\xc1ff'), (NULL)";
    database.batch_execute(broken).await.expect("rows");
    let payloads = [
        "",
        "{",
        "hello",
        "[1,2,3]",
        r#"{"type":5}"#,
        r#"{"type":99,"uid":"x","nsp":"/"}"#,
        r#"{"type":2,"uid":"x","nsp":"/other"}"#,
        r#"{"uid":"x","type":3,"attachmentId":"1; DROP TABLE socket_io_attachments"}"#,
        // Neither a message nor anything, and a row that was removed.
        r#"{"uid":"x","type":3,"attachmentId":"1"}"#,
        r#"{"uid":"x","type":3,"attachmentId":"2"}"#,
        r#"{"uid":"x","type":3,"attachmentId":"12345"}"#,
    ];
    for payload in payloads {
        let values = [&"socket.io#/" as _, &payload as _];
        let notified = database.execute("SELECT pg_notify($1, $2)", &values);
        soon(notified).await.expect("to be notified");
    }
    all_reject(&cluster, payloads.len() as u64).await;
    cluster.of(1).emit("news", "fine");
    for client in &mut cluster.clients {
        client.hears("\"fine\"").await;
    }
}

#[tokio::test]
async fn what_postgres_refuses_is_counted_and_the_rest_goes_on() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let bus = postgres.bus();
    let mut cluster = Cluster::new(|| bus.clone(), 0).await;
    let database = postgres.database().await;
    soon(database.batch_execute("DROP TABLE socket_io_attachments"))
        .await
        .expect("to be dropped");
    cluster.of(0).emit("news", "before");
    cluster.of(0).emit("news", Value::Binary(vec![1].into()));
    cluster.of(0).emit("news", "after");
    for (i, client) in cluster.clients.iter_mut().enumerate() {
        client.hears("\"before\"").await;
        if i == 0 {
            client.hears(r#"{"_placeholder":true,"num":0} [1]"#).await;
        }
        client.hears("\"after\"").await;
    }
    assert_eq!(bus.dropped(), 1);
}

#[tokio::test]
async fn what_came_before_the_connection_was_lost_is_handed_on() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| postgres.bus(), 0).await;
    // Nobody can read the row.
    let lock = "INSERT INTO socket_io_attachments (payload) VALUES ('x'); BEGIN; \
                LOCK TABLE socket_io_attachments";
    let (locking, database) = (postgres.database().await, postgres.database().await);
    soon(locking.batch_execute(lock)).await.expect("a lock");
    let row = r#"{"uid":"x","type":3,"attachmentId":"1"}"#;
    let event =
        r#"{"uid":"x","type":3,"data":{"packet":{"type":2,"data":["news","behind"]},"opts":{}}}"#;
    let notify = "SELECT pg_notify('socket.io#/', $1), pg_notify('socket.io#/', $2)";
    soon(database.execute(notify, &[&row, &event]))
        .await
        .expect("to be notified");
    // They wait for the lock when they have heard of both.
    let blocked = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    soon(async { while database.query(blocked, &[]).await.expect("rows").len() < 3 {} }).await;
    let end =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    soon(database.batch_execute(end)).await.expect("to end");
    for client in &mut cluster.clients {
        client.hears("\"behind\"").await;
    }
    all_reject(&cluster, 1).await;
}

#[tokio::test]
async fn a_server_does_not_read_its_own_rows() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let mut cluster = Cluster::new(|| postgres.bus(), 0).await;
    // Nobody finds a row.
    let remover = "CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS \
                   'BEGIN DELETE FROM socket_io_attachments; RETURN NULL; END'; \
                   CREATE TRIGGER remove AFTER INSERT ON socket_io_attachments \
                   EXECUTE FUNCTION remove()";
    let database = postgres.database().await;
    soon(database.batch_execute(remover))
        .await
        .expect("a trigger");
    cluster.of(0).emit("news", Value::Binary(vec![1].into()));
    cluster.of(1).emit("news", Value::Binary(vec![2].into()));
    cluster.of(1).emit("news", "end");
    for (i, client) in cluster.clients.iter_mut().enumerate() {
        if i < 2 {
            client.hears(r#"{"_placeholder":true,"num":0} [1]"#).await;
        }
        client.hears("\"end\"").await;
    }
    cluster.of(0).emit("news", "end");
    for client in &mut cluster.clients {
        client.hears("\"end\"").await;
    }
    let rejected = cluster
        .servers
        .iter()
        .map(|server| server.stats().cluster_rejected);
    assert_eq!(rejected.collect::<Vec<_>>(), [1, 1, 2]);
}

#[tokio::test]
async fn what_waits_for_postgres_is_bounded() {
    let bus = PostgresBus::new("postgres://127.0.0.1:1/x").expect("an address");
    let channel = bus.open("/", &Uid::new("x"), ears().0);
    let mut message = join("x", "/");
    message.body = Body::SocketsJoin {
        opts: BroadcastOptions::default(),
        rooms: vec!["x".repeat(1024 * 1024)],
    };
    let accepted = (0..100).take_while(|_| channel.publish(&message, None).is_ok());
    assert_eq!(accepted.count(), 63);
    assert_eq!(channel.publish(&message, None), Err(PublishError::Full));
    assert_eq!(bus.dropped(), 2);
}

#[tokio::test]
async fn old_messages_are_removed() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let bus = || postgres.bus().cleanup_interval(Duration::from_secs(1));
    let mut cluster = Cluster::new(bus, 0).await;
    cluster.of(0).emit("news", Value::Binary(vec![1].into()));
    for client in &mut cluster.clients {
        client.hears(r#"{"_placeholder":true,"num":0} [1]"#).await;
    }
    let database = postgres.database().await;
    soon(async {
        let count = "SELECT count(*) FROM socket_io_attachments";
        while database
            .query_one(count, &[])
            .await
            .expect("a count")
            .get::<_, i64>(0)
            > 0
        {}
    })
    .await;
}

fn ears() -> (Arc<Ears>, mpsc::UnboundedReceiver<Message>) {
    let (sender, heard) = mpsc::unbounded_channel();
    (Arc::new(Ears(sender)), heard)
}

fn join(uid: &str, nsp: &str) -> Message {
    Message {
        uid: Uid::new(uid),
        nsp: nsp.to_owned(),
        body: Body::SocketsJoin {
            opts: BroadcastOptions::default(),
            rooms: vec!["room".to_owned()],
        },
    }
}

#[tokio::test]
async fn any_name_of_a_namespace_is_a_channel_or_refused() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let longest = format!("/{}", "é".repeat(26));
    for nsp in [
        "/a\"b",
        "/\"; DROP TABLE socket_io_attachments; --",
        "/\\'$$%😀",
        &longest,
    ] {
        let (here, there) = (postgres.bus(), postgres.bus());
        let (inbox, mut heard) = ears();
        let _here = here.open(nsp, &Uid::new("here"), inbox);
        let (inbox, mut answer) = ears();
        let there = there.open(nsp, &Uid::new("there"), inbox);
        // Each says that it has come when it can hear.
        tokio::select! {
            _ = soon(heard.recv()) => {}
            _ = soon(answer.recv()) => {}
        }
        soon(async {
            there
                .publish(&join("there", nsp), None)
                .expect("to be published");
            while heard.recv().await.expect("messages") != join("there", nsp) {}
        })
        .await;
    }
    let bus = postgres.bus();
    for nsp in [format!("/{}", "a".repeat(53)), "/a\0b".to_owned()] {
        let channel = bus.open(&nsp, &Uid::new("x"), ears().0);
        assert_eq!(
            channel.publish(&join("x", &nsp), None),
            Err(PublishError::Namespace)
        );
        assert_eq!(soon(channel.server_count()).await, Ok(1));
    }
}

#[tokio::test]
async fn who_says_that_it_has_come_hears_the_answers() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (client, mut notified) = postgres.listener().await;
    soon(client.batch_execute("LISTEN \"socket.io#/\""))
        .await
        .expect("to listen");
    let (inbox, mut heard) = ears();
    let bus = postgres.bus();
    let channel = bus.open("/", &Uid::new("new"), inbox);
    let come = Message {
        body: Body::InitialHeartbeat,
        ..join("new", "/")
    };
    channel.publish(&come, None).expect("to be published");
    let hello = r#"{"type":1,"uid":"new","nsp":"/"}"#;
    assert_eq!(soon(notified.recv()).await.as_deref(), Some(hello));
    let answer = r#"SELECT pg_notify('socket.io#/', '{"type":2,"uid":"old","nsp":"/"}')"#;
    soon(client.batch_execute(answer)).await.expect("to answer");
    loop {
        let message = soon(heard.recv()).await.expect("the answer");
        if message.uid == Uid::new("old") {
            assert_eq!(message.body, Body::Heartbeat);
            break;
        }
    }
    // And again, when the connection was lost.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name = 'socketio'";
    soon(client.batch_execute(end)).await.expect("to end");
    assert_eq!(
        soon(notified.recv()).await.as_deref(),
        Some(r#"{"type":2,"uid":"old","nsp":"/"}"#)
    );
    assert_eq!(soon(notified.recv()).await.as_deref(), Some(hello));
    // Each time once.
    let next = join("new", "/");
    channel.publish(&next, None).expect("to be published");
    assert_eq!(soon(notified.recv()).await, Some(next.to_json()));
}

#[tokio::test]
async fn who_comes_back_later_hears_what_waited() {
    let Some(mut postgres) = Postgres::start().await else {
        return;
    };
    let (client, mut notified) = postgres.listener().await;
    let listen = "LISTEN \"socket.io#/\"";
    soon(client.batch_execute(listen)).await.expect("to listen");
    let bus = postgres.bus();
    let channel = bus.open("/", &Uid::new("x"), ears().0);
    let hello = r#"{"type":1,"uid":"x","nsp":"/"}"#;
    assert_eq!(soon(notified.recv()).await.as_deref(), Some(hello));
    postgres.stop().await;
    // The connection has ended for the bus, too, when the first message is given up or waits.
    let message = join("x", "/");
    for _ in 0..2 {
        channel.publish(&message, None).expect("to be published");
        soon(channel.close()).await;
    }
    let waiting = 2 - bus.dropped();
    postgres.run().await;
    let (client, mut notified) = postgres.listener().await;
    let there = "SELECT pid FROM pg_stat_activity \
                 WHERE application_name = 'socketio' AND state = 'idle'";
    soon(async { while client.query(there, &[]).await.expect("rows").len() < 2 {} }).await;
    soon(client.batch_execute(listen)).await.expect("to listen");
    for _ in 0..waiting {
        assert_eq!(soon(notified.recv()).await, Some(message.to_json()));
    }
}

#[tokio::test]
async fn a_postgres_that_restarts_gets_what_waited_and_doubles_nothing() {
    let Some(mut postgres) = Postgres::start().await else {
        return;
    };
    let buses = [postgres.bus(), postgres.bus(), postgres.bus()];
    let taken = Cell::new(0);
    let bus = || buses[taken.replace(taken.get() + 1)].clone();
    let mut cluster = Cluster::new(bus, 0).await;
    // The first server sends, the others hear.
    let (sender, sent) = (cluster.of(0), Arc::new(AtomicU64::new(0)));
    let counter = sent.clone();
    let sending = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        loop {
            ticks.tick().await;
            sender.emit("news", counter.fetch_add(1, Ordering::SeqCst));
        }
    });
    let mut heard = [Vec::new(), Vec::new()];
    hear(&mut cluster, &mut heard, 100).await;
    postgres.stop().await;
    // By then nobody takes the old connection for one, and each comes back in its own time.
    let from = sent.load(Ordering::SeqCst) + 100;
    soon(async {
        while sent.load(Ordering::SeqCst) < from + 1000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    postgres.run().await;
    let to = sent.load(Ordering::SeqCst);
    hear(&mut cluster, &mut heard, to).await;
    sending.abort();
    let _ = sending.await;
    let sent = sent.load(Ordering::SeqCst);
    cluster.of(0).emit("news", sent);
    hear(&mut cluster, &mut heard, sent).await;
    for heard in heard {
        assert!(heard.is_sorted_by(|a, b| a < b), "doubled, or out of order");
        let waited: Vec<_> = heard
            .iter()
            .filter(|number| (from..to).contains(number))
            .collect();
        assert!(
            waited.into_iter().copied().eq(from..to),
            "what waited is lost"
        );
        println!(
            "Postgres restarted: {} sent, {} delivered, {} lost, 0 doubled, {} counted by the sender",
            sent + 1,
            heard.len(),
            sent as usize + 1 - heard.len(),
            buses[0].dropped()
        );
    }
}

/// Hears numbers until this one, or a later one.
async fn hear(cluster: &mut Cluster, heard: &mut [Vec<u64>; 2], until: u64) {
    for (client, heard) in cluster.clients[1..].iter_mut().zip(heard) {
        while heard.last().is_none_or(|last| *last < until) {
            let number = soon(client.heard.recv()).await.expect("news");
            heard.push(number.parse().expect("a number"));
        }
    }
}
