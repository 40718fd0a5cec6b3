//! Each flag of an emit on each path: sent at once, kept for a connection, repeated until it is
//! answered. And what becomes of those who wait.
//!
//! Time is simulated: it moves on when nothing happens any more.

use std::time::Duration;

use serde_json::Value;
use socketio::client::{Client, ClientBuilder, Socket as ClientSocket};
use socketio::{AckError, EmitError, Server, Socket, Transport};
use tokio::time::{Instant, sleep, timeout};

use crate::client::{POLLING, WEBSOCKET, builder, channel, url};
use crate::fake::{Fake, Reply, open};

/// Longer than anything may take.
const FOR_EVER: Duration = Duration::from_secs(200);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    /// There is a connection.
    Direct,
    /// There is none.
    Offline,
    /// There is one, and events are repeated: twice more.
    Retried,
    /// There is none, and events would be repeated.
    RetriedOffline,
}

use Path::*;

impl Path {
    async fn socket(self, url: &str) -> ClientSocket {
        let builder = builder(url, WEBSOCKET);
        let socket = match self {
            Direct | Offline => builder.build(),
            Retried | RetriedOffline => builder.retries(2).build(),
        };
        let socket = socket.expect("valid");
        if matches!(self, Direct | Retried) {
            socket.connect().await.expect("connected");
        }
        socket
    }
}

/// A server that answers nothing, and counts what it gets.
fn silent() -> (Server, tokio::sync::mpsc::UnboundedReceiver<Value>) {
    let io = Server::new();
    let (sender, received) = channel();
    io.on("n", async move |_: Socket, n: Value, ack: socketio::Ack| {
        _ = sender.send(n);
        std::future::pending::<()>().await;
        drop(ack);
    });
    (io, received)
}

fn drain(received: &mut tokio::sync::mpsc::UnboundedReceiver<Value>) -> usize {
    std::iter::from_fn(|| received.try_recv().ok()).count()
}

async fn outcome(answer: impl Future<Output = Result<(), AckError>>) -> AckError {
    let answer = timeout(FOR_EVER, answer).await.expect("not for ever");
    answer.expect_err("nobody answers")
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_an_emit_counts_on_each_path() {
    let second = Duration::from_secs(1);
    for (path, seconds, sent) in [
        (Direct, 1, 1),
        (Offline, 1, 0),
        // Each try has the time, and all together as often as there are tries.
        (Retried, 3, 3),
        (RetriedOffline, 3, 0),
    ] {
        let (io, mut received) = silent();
        let socket = path.socket(&url(&io).await).await;
        let begin = Instant::now();
        let error = outcome(socket.timeout(second).emit_with_ack("n", 1)).await;
        assert!(matches!(error, AckError::Timeout), "{path:?}: {error:?}");
        assert_eq!(begin.elapsed().as_secs(), seconds, "{path:?}");
        // What was not sent by then is not sent.
        socket.connect().await.expect("connected");
        sleep(second).await;
        assert_eq!(drain(&mut received), sent, "{path:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_without_a_timeout_has_one_all_the_same() {
    let server =
        Fake::start(|_, _| Reply::WebSocket(vec![open("a", ""), r#"40{"sid":"a"}"#.to_owned()]))
            .await;
    let socket = Retried.socket(&server.url).await;
    let begin = Instant::now();
    let error = outcome(socket.emit_with_ack("n", 1)).await;
    assert!(matches!(error, AckError::Timeout), "{error:?}");
    assert_eq!(begin.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_volatile_event_is_sent_now_or_never_on_each_path() {
    for (path, sent) in [(Direct, 1), (Offline, 0), (Retried, 1), (RetriedOffline, 0)] {
        for asks in [false, true] {
            let (io, mut received) = silent();
            let socket = path.socket(&url(&io).await).await;
            sleep(Duration::from_millis(100)).await;
            if asks {
                let flagged = socket.volatile().timeout(Duration::from_millis(100));
                let error = outcome(flagged.emit_with_ack("n", 1)).await;
                let is_right = match sent {
                    0 => matches!(error, AckError::Emit(EmitError::Dropped)),
                    _ => matches!(error, AckError::Timeout),
                };
                assert!(is_right, "{path:?}: {error:?}");
            } else {
                socket.volatile().emit("n", 1).await.expect("no error");
            }
            socket.connect().await.expect("connected");
            sleep(Duration::from_secs(1)).await;
            assert_eq!(drain(&mut received), sent, "{path:?} {asks}");
            assert_eq!(socket.manager().unsent_events(), 0);
        }
    }
}

/// How a wait for a connection can end.
#[derive(Clone, Copy, Debug)]
enum End {
    Left,
    Closed,
    Refused,
    NoMoreAttempts,
    NoAttempts,
}

// Also for one that is repeated: nobody waits for a connection that nobody makes.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_is_told_that_there_will_be_none() {
    for retries in [None, Some(3)] {
        for end in [
            End::Left,
            End::Closed,
            End::Refused,
            End::NoMoreAttempts,
            End::NoAttempts,
        ] {
            let io = Server::new();
            io.of("/no")
                .middleware(async |_: Socket| Err::<(), _>("no"));
            let url = match end {
                End::NoMoreAttempts | End::NoAttempts => "http://127.0.0.1:1/no".to_owned(),
                _ => url(&io).await + "/no",
            };
            let mut options: ClientBuilder = Client::builder(&url)
                .transports([Transport::WebSocket])
                .reconnection_attempts(2);
            if let End::NoAttempts = end {
                options = options.without_reconnection();
            }
            if let Some(retries) = retries {
                options = options.retries(retries);
            }
            let socket = options.build().expect("valid");
            let asked = socket.emit_with_ack::<()>("n", 1);
            match end {
                End::Left => drop(socket.disconnect()),
                End::Closed => drop(socket.manager().close()),
                _ => drop(socket.connect()),
            }
            let error = outcome(asked).await;
            assert!(
                matches!(error, AckError::Disconnected),
                "{end:?} {retries:?}: {error:?}"
            );
        }
    }
}

/// A server that takes messages of 1,000 bytes.
async fn narrow() -> Fake {
    let open = open("a", "").replace("1000000", "1000");
    Fake::start(move |_, _| Reply::WebSocket(vec![open.clone(), r#"40{"sid":"a"}"#.to_owned()]))
        .await
}

#[tokio::test]
async fn what_was_kept_and_is_too_large_is_an_error_at_whoever_waits() {
    for retries in [None, Some(2)] {
        let server = narrow().await;
        let mut options = builder(&server.url, WEBSOCKET);
        if let Some(retries) = retries {
            options = options.retries(retries);
        }
        let socket = options.build().expect("valid");
        let asked = socket.emit_with_ack::<()>("n", "x".repeat(2000));
        socket.emit("n", "x".repeat(2000));
        crate::support::soon(socket.connect())
            .await
            .expect("connected");
        let error = crate::support::soon(asked).await.expect_err("too large");
        assert!(
            matches!(error, AckError::Emit(EmitError::TooLarge { .. })),
            "{error:?}"
        );
        // The one that nobody waits for is counted.
        assert_eq!(socket.manager().unsent_events(), 1);
    }
}

#[tokio::test]
async fn what_is_refused_and_not_awaited_is_counted() {
    let server = narrow().await;
    let socket = builder(&server.url, WEBSOCKET).build().expect("valid");
    crate::support::soon(socket.connect())
        .await
        .expect("connected");
    for _ in 0..3 {
        socket.emit("n", "x".repeat(2000));
    }
    socket.emit("n", "x".repeat(2000)).await.expect_err("told");
    let told = socket.emit("n", "x".repeat(2000)).now();
    told.expect_err("told");
    assert_eq!(socket.manager().unsent_events(), 3);
}

#[tokio::test]
async fn an_event_that_is_larger_than_the_queue_goes_through_an_empty_one() {
    let (io, mut received) = silent();
    let url = url(&io).await;
    let large = "x".repeat(5000);
    for transports in [WEBSOCKET, POLLING] {
        let socket = builder(&url, transports)
            .max_queue(1000)
            .build()
            .expect("valid");
        socket.emit("n", &large).now().expect("kept");
        socket.emit("n", 1).now().expect_err("the queue is full");
        crate::support::soon(socket.connect())
            .await
            .expect("connected");
        crate::client::next(&mut received).await;
        socket.emit("n", &large).await.expect("sent");
        crate::client::next(&mut received).await;
    }
}

#[tokio::test]
async fn who_was_lost_and_is_back_was_not_late() {
    let (io, _received) = silent();
    let url = url(&io).await;
    let socket = builder(&url, WEBSOCKET)
        .reconnection_delay(Duration::from_millis(1))
        .build()
        .expect("valid");
    crate::support::soon(socket.connect())
        .await
        .expect("connected");
    let (sender, mut back) = channel();
    socket.on_connect(async move |_: ClientSocket| _ = sender.send(()));
    let asked = socket.emit_with_ack::<()>("n", 1);
    socket.manager().break_off();
    crate::client::next(&mut back).await;
    let error = crate::support::soon(asked).await.expect_err("lost");
    assert!(matches!(error, AckError::Disconnected), "{error:?}");
}

// Servers that do not know their bound say 0; others say what is too small for the protocol itself.
#[tokio::test]
async fn a_bound_that_means_nothing_keeps_nobody_out() {
    for (bound, is_refused) in [("0", false), ("1", true), ("5", true)] {
        for transports in [WEBSOCKET, POLLING] {
            let open = open("a", "").replace("1000000", bound);
            let mut waiting = Some(r#"40{"sid":"a"}"#.to_owned());
            let waiting = parking_lot::Mutex::new(waiting.take());
            let is_joined = std::sync::atomic::AtomicBool::new(false);
            let server = Fake::start(move |head, body| {
                if head.contains("transport=websocket") {
                    return Reply::WebSocket(vec![open.clone(), r#"40{"sid":"a"}"#.to_owned()]);
                }
                if head.starts_with("POST") {
                    let joins = body.contains("40");
                    is_joined.fetch_or(joins, std::sync::atomic::Ordering::SeqCst);
                    return Reply::Http(200, "", "ok".to_owned());
                }
                if !head.contains("sid=") {
                    return Reply::Http(200, "", open.clone());
                }
                match is_joined.load(std::sync::atomic::Ordering::SeqCst) {
                    true => match waiting.lock().take() {
                        Some(packet) => Reply::Http(200, "", packet),
                        None => Reply::Nothing,
                    },
                    false => Reply::Http(200, "", "6".to_owned()),
                }
            })
            .await;
            let socket = builder(&server.url, transports).build().expect("valid");
            crate::support::soon(socket.connect())
                .await
                .expect("connected");
            let outcome = socket.emit("an event", "with arguments").now();
            assert_eq!(outcome.is_err(), is_refused, "{bound} {transports:?}");
        }
    }
}
