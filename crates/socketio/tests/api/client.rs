//! The client against this server, over all transports.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use socketio::client::{Client, ClientBuilder, Manager, ManagerEvent, Socket as ClientSocket};
use socketio::{
    Ack, AckError, Args, ConnectError, DisconnectReason, EmitError, Recovery, Server, Socket,
    Transport,
};
use tokio::sync::mpsc;

use crate::support::{listen, soon, start};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, entry: impl Into<String>) {
        self.0.lock().push(entry.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A channel whose sender can be used in handlers.
fn channel<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    soon(receiver.recv()).await.expect("a sender")
}

/// A server that echoes and answers.
fn echo_server() -> Server {
    let io = Server::new();
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    io.on("ack", async |_: Socket, args: Args| args);
    io
}

fn builder(url: &str, transports: &[Transport]) -> ClientBuilder {
    Client::builder(url).transports(transports.iter().copied())
}

const ALL: [&[Transport]; 3] = [
    &[Transport::WebSocket],
    &[Transport::Polling],
    &[Transport::Polling, Transport::WebSocket],
];

async fn url(io: &Server) -> String {
    format!("http://{}", listen(io).await)
}

// C002, C008, C028, C029, C033
#[tokio::test]
async fn events_and_answers_go_both_ways_over_each_transport() {
    let io = echo_server();
    let url = url(&io).await;
    for transports in ALL {
        let (sender, mut received) = channel();
        let socket = builder(&url, transports)
            .on("echo", async move |_: ClientSocket, args: Args| {
                let _ = sender.send(args);
            })
            .connect();
        let socket = soon(socket).await.expect("connected");
        assert!(socket.is_connected() && socket.is_active() && !socket.is_recovered());
        assert!(socket.id().is_some());
        let value = (
            1,
            "é€😀",
            json!({"a": [null, true]}),
            Bytes::from_static(b"\0\x01"),
            [Bytes::from_static(b"two")],
        );
        socket.emit("echo", &value).await.expect("sent");
        let args = next(&mut received).await;
        type Echoed = (i32, String, Value, Bytes, Vec<Bytes>);
        let echoed: Echoed = args.decode().expect("the same");
        assert_eq!(echoed.1, "é€😀");
        assert_eq!(echoed.3, value.3);
        assert_eq!(echoed.4[0], value.4[0]);
        let answer: (i32, Bytes) = soon(socket.emit_with_ack("ack", (7, Bytes::from_static(b"x"))))
            .await
            .expect("an answer");
        assert_eq!(answer, (7, Bytes::from_static(b"x")));
        // Nothing at all is an event as well.
        socket.emit("echo", ());
        assert!(next(&mut received).await.is_empty());
        soon(socket.disconnect()).await;
        assert!(!socket.is_connected() && socket.id().is_none());
    }
}
