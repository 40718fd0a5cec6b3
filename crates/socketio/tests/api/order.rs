//! Events are handled, answered and emitted in their order, and none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socketio::{Args, Server, Socket};
use tokio::sync::{Notify, mpsc};

use crate::support::{Received, Ws, soon, start};

// 5,000 echoes sent back to back come back whole and in order.
#[tokio::test(flavor = "multi_thread")]
async fn back_to_back_echoes_keep_their_order() {
    let (io, address) = start(Server::builder()).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let mut ws = Ws::connect(address).await;
    for i in 0..5000 {
        ws.send(&format!("42[\"echo\",{i}]")).await;
    }
    for i in 0..5000 {
        assert_eq!(ws.text().await, format!("42[\"echo\",{i}]"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_emits_of_one_handler_arrive() {
    for count in [1_000, 100_000] {
        let (io, address) = start(Server::builder()).await;
        io.on("many", async |socket: Socket, count: usize| {
            for i in 0..count {
                socket.emit("n", i);
            }
        });
        let mut ws = Ws::connect(address).await;
        ws.send(&format!("42[\"many\",{count}]")).await;
        for i in 0..count {
            assert_eq!(ws.text().await, format!("42[\"n\",{i}]"));
        }
    }
}

// The first poll of each handler happens in the order of events, whatever the handlers await then.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_start_in_the_order_of_events_and_run_side_by_side() {
    let (io, address) = start(Server::builder()).await;
    let started = Arc::new(Mutex::new(Vec::new()));
    let release = Arc::new(Notify::new());
    io.on("slow", {
        let (started, release) = (started.clone(), release.clone());
        async move |_: Socket, n: u32| {
            started.lock().push(n);
            if n == 1 {
                release.notified().await;
            } else if n == 3 {
                release.notify_one();
            }
            n
        }
    });
    let mut ws = Ws::connect(address).await;
    for n in 1..=3 {
        ws.send(&format!("42{n}[\"slow\",{n}]")).await;
    }
    // The first one ends last: the third one has started while it was waiting.
    assert_eq!(ws.text().await, "432[2]");
    assert_eq!(ws.text().await, "433[3]");
    assert_eq!(ws.text().await, "431[1]");
    assert_eq!(*started.lock(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_sequential_namespace_one_handler_ends_before_the_next_starts() {
    let (io, address) = start(Server::builder()).await;
    io.sequential();
    let (sender, mut released) = mpsc::unbounded_channel::<()>();
    let log = Arc::new(Mutex::new(Vec::new()));
    let released = Arc::new(tokio::sync::Mutex::new(std::mem::replace(
        &mut released,
        mpsc::unbounded_channel().1,
    )));
    io.on("step", {
        let log = log.clone();
        async move |_: Socket, n: u32| {
            log.lock().push(format!("start {n}"));
            released.lock().await.recv().await;
            log.lock().push(format!("end {n}"));
            n
        }
    });
    let mut ws = Ws::connect(address).await;
    for n in 1..=3 {
        ws.send(&format!("42{n}[\"step\",{n}]")).await;
    }
    for n in 1..=3 {
        sender.send(()).expect("the handlers wait");
        assert_eq!(ws.text().await, format!("43{n}[{n}]"));
    }
    let expected = ["start 1", "end 1", "start 2", "end 2", "start 3", "end 3"];
    assert_eq!(*log.lock(), expected);
}

// S081: a panic is that event's failure and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_handler_harms_nothing_else() {
    let (io, address) = start(Server::builder()).await;
    io.on("panic at once", async |_: Socket| -> () {
        panic!("at once")
    });
    io.on("panic later", async |_: Socket| -> () {
        tokio::task::yield_now().await;
        panic!("later");
    });
    io.on("echo", async |_: Socket, n: u32| n);
    let mut ws = Ws::connect(address).await;
    let mut other = Ws::connect(address).await;
    ws.send("42[\"panic at once\"]").await;
    ws.send("42[\"panic later\"]").await;
    ws.send("421[\"echo\",1]").await;
    assert_eq!(ws.text().await, "431[1]");
    other.send("422[\"echo\",2]").await;
    assert_eq!(other.text().await, "432[2]");
    assert_eq!(io.clients_count(), 2);
}

// M63: what arrives before its handler is registered is not kept for it, but it is counted.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_handler_is_counted() {
    let (io, address) = start(Server::builder()).await;
    io.on("ping", async |_: Socket| ());
    let mut ws = Ws::connect(address).await;
    ws.send("42[\"early\",1]").await;
    ws.send("420[\"ping\"]").await;
    assert_eq!(ws.text().await, "430[]");
    assert_eq!(io.stats().unhandled_events, 1);
    io.on("early", async |socket: Socket, n: u32| {
        socket.emit("late", n);
    });
    ws.send("42[\"early\",2]").await;
    assert_eq!(ws.text().await, "42[\"late\",2]");
}

// Arguments that do not fit the handler's type fail this event only.
#[tokio::test(flavor = "multi_thread")]
async fn undecodable_arguments_are_counted_and_fail_only_their_event() {
    let (io, address) = start(Server::builder()).await;
    io.on("number", async |_: Socket, n: u32| n);
    let mut ws = Ws::connect(address).await;
    ws.send("421[\"number\",\"seven\"]").await;
    ws.send("422[\"number\",7]").await;
    assert_eq!(ws.text().await, "432[7]");
    assert_eq!(io.stats().undecodable_events, 1);
}

// S022: an ack is sent once; S021: a late or unknown one is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn acks_go_both_ways() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut answers) = mpsc::unbounded_channel();
    io.on("ask me", async move |socket: Socket| {
        let answer = socket.emit_with_ack::<String>("question", "how?").await;
        sender
            .send(answer.map_err(|error| error.to_string()))
            .expect("the test waits");
    });
    let mut ws = Ws::connect(address).await;
    ws.send("42[\"ask me\"]").await;
    assert_eq!(ws.text().await, "420[\"question\",\"how?\"]");
    ws.send("437[\"unknown id\"]").await;
    ws.send("430[\"so\"]").await;
    ws.send("430[\"twice\"]").await;
    assert_eq!(soon(answers.recv()).await, Some(Ok("so".to_owned())));

    ws.send("42[\"ask me\"]").await;
    assert_eq!(ws.text().await, "421[\"question\",\"how?\"]");
    drop(ws);
    let gone = Some(Err("socket has been disconnected".to_owned()));
    assert_eq!(soon(answers.recv()).await, gone);
}

// S023: an ack that does not come in time is an error with the reference's text.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_times_out() {
    let (io, address) = start(Server::builder()).await;
    let (sender, mut answers) = mpsc::unbounded_channel();
    io.on_connect(async move |socket: Socket| {
        let answer = socket
            .timeout(Duration::from_millis(10))
            .emit_with_ack::<u32>("q", ());
        sender
            .send(answer.await.map_err(|error| error.to_string()))
            .expect("the test waits");
    });
    let mut ws = Ws::connect(address).await;
    assert_eq!(ws.next().await, Received::Text("420[\"q\"]".to_owned()));
    let timed_out = Some(Err("operation has timed out".to_owned()));
    assert_eq!(soon(answers.recv()).await, timed_out);
}

// S082: ten thousand receivers, one encoding.
#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_is_encoded_once() {
    #[derive(Clone)]
    struct Counted(Arc<AtomicUsize>);
    impl serde::Serialize for Counted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            serializer.serialize_u8(1)
        }
    }
    let (io, address) = start(Server::builder()).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Ws::connect(address).await);
    }
    let counted = Counted(Arc::default());
    io.emit("all", &counted);
    for client in &mut clients {
        assert_eq!(client.text().await, "42[\"all\",1]");
    }
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
}

// S014: an event middleware may wait; what it refuses does not reach a handler.
#[tokio::test]
async fn an_event_middleware_may_wait() {
    for sequential in [false, true] {
        let (io, address) = start(Server::builder()).await;
        if sequential {
            io.sequential();
        }
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        io.event_middleware_async({
            let gate = gate.clone();
            async move |_: Socket, event: String, args: socketio::Args| {
                assert_eq!(args.len(), 1);
                match &*event {
                    "wait" => {
                        gate.acquire().await.map_err(|e| e.to_string())?.forget();
                        Ok(())
                    }
                    "no" => Err("refused".to_owned()),
                    _ => Ok(()),
                }
            }
        });
        io.on_error(async |socket: Socket, message: String| {
            socket.emit("error", message);
        });
        for event in ["wait", "go", "no"] {
            io.on(event, async move |_: Socket| event);
        }
        let mut ws = Ws::connect(address).await;
        for (id, event) in [(1, "wait"), (2, "no"), (3, "go")] {
            ws.send(&format!("42{id}[\"{event}\",{id}]")).await;
        }
        let waited = "431[\"wait\"]";
        let rest = ["42[\"error\",\"refused\"]", "433[\"go\"]"];
        // The others overtake it, unless they are to wait for it.
        let expected = match sequential {
            false => [rest[0], rest[1], waited],
            true => [waited, rest[0], rest[1]],
        };
        if sequential {
            gate.add_permits(1);
        }
        for (i, expected) in expected.into_iter().enumerate() {
            assert_eq!(ws.text().await, expected);
            if i == 1 {
                gate.add_permits(1);
            }
        }
        assert_eq!(io.stats().unhandled_events, 0);
    }
}
