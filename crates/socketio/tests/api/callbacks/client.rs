//! Callbacks of a client. It is connected to `/bad`, where the server asks it questions.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use socketio::client::{Client, ClientBuilder, ConnectError, Disconnected, Socket};
use socketio::parser::{EncodedMessage, JsonParser, Packet, PacketDecoder, PacketKind, Parser};
use socketio::{Event, Server, Transport};

use super::lab::Fault::{Never, Panic, Slow};
use super::lab::{Bomb, BoxFuture, Lab, Row, SharedBomb, Trouble};
use crate::support::{soon, until};

#[derive(Deserialize, Serialize)]
struct Typed;

impl Event for Typed {
    const NAME: &str = "x";
}

fn builder(lab: &Lab) -> ClientBuilder {
    Client::builder(format!("http://{}/bad", lab.address))
        .transports([Transport::WebSocket])
        .reconnection_delay(Duration::from_millis(10))
        .on("behind", async |_: Socket| {})
}

/// Connects a client and tells what comes of an event that it is to answer with 1.
async fn event(
    trouble: Trouble,
    build: impl FnOnce(ClientBuilder) -> ClientBuilder,
    install: impl FnOnce(&Socket),
) -> (Lab, String) {
    let mut lab = Lab::start(Server::builder(), |_| {}).await;
    let socket = build(builder(&lab)).build().expect("good options");
    install(&socket);
    soon(socket.connect()).await.expect("to be let in");
    lab.client = Some(socket.clone());
    let asked = lab.io.of("/bad").sockets().pop().expect("the client");
    let mut answer = Box::pin(asked.emit_with_ack::<u8>("x", ()));
    // What comes behind the question is answered behind it.
    let behind = asked.emit_with_ack::<()>("behind", ());
    soon(behind).await.expect("an answer");
    let answered = still_there(&socket).await;
    let answer = match poll_once(&mut answer).await {
        Some(answer) => format!("answered {}", answer.expect("an answer")),
        None if trouble.is_slow() => {
            trouble.release();
            assert_eq!(soon(answer).await.expect("an answer"), 1);
            "answered late".to_owned()
        }
        None => "no answer".to_owned(),
    };
    (lab, format!("{answer}, {answered}"))
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn still_there(socket: &Socket) -> &'static str {
    match soon(socket.emit_with_ack::<()>("still there", ())).await {
        Ok(()) => "connected",
        Err(_) => "not connected",
    }
}

/// The same, with a handler of the event that does nothing wrong.
async fn handled(trouble: Trouble, install: impl FnOnce(&Socket)) -> (Lab, String) {
    event(
        trouble,
        |builder| builder.on("x", async |_: Socket| 1),
        install,
    )
    .await
}

/// Loses the connection, and has it again.
async fn lost(trouble: Trouble, install: impl FnOnce(&Socket)) -> (Lab, String) {
    let (lab, _) = handled(trouble, install).await;
    let socket = lab.client.clone().expect("the client");
    let before = socket.id();
    socket.manager().break_off();
    until(|| socket.is_connected() && socket.id() != before).await;
    let becomes = still_there(&socket).await.to_owned();
    (lab, becomes)
}

/// Is refused by the server, and let in the next time.
async fn refused(trouble: Trouble) -> (Lab, String) {
    let mut lab = Lab::start(Server::builder(), |io| {
        io.of("/bad")
            .middleware(
                async |_: socketio::Socket, auth: serde_json::Value| match auth["second"].is_null()
                {
                    true => Err("not yet"),
                    false => Ok(()),
                },
            );
    })
    .await;
    let socket = builder(&lab).build().expect("good options");
    lab.client = Some(socket.clone());
    socket.on_connect_error(async move |_: Socket, _: ConnectError| trouble.later().await);
    let refused = soon(socket.connect()).await.expect_err("refused");
    assert_eq!(refused.to_string(), "not yet");
    socket
        .set_auth(json!({ "second": true }))
        .expect("an object");
    soon(socket.connect()).await.expect("to be let in");
    let becomes = still_there(&socket).await.to_owned();
    (lab, becomes)
}

/// What gives `auth` misbehaves the first time.
async fn auth(trouble: Trouble, through_manager: bool) -> (Lab, String) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let mut lab = Lab::start(Server::builder(), |_| {}).await;
    let again = Arc::new(AtomicBool::new(false));
    let t = trouble.clone();
    let provide = async move || {
        if !again.swap(true, Ordering::Relaxed) {
            t.later().await;
        }
        Ok::<_, Infallible>(json!({}))
    };
    let socket = if through_manager {
        let main = Client::builder(format!("http://{}", lab.address));
        let main = main
            .transports([Transport::WebSocket])
            .reconnection_delay(Duration::from_millis(10))
            .timeout(Duration::from_secs(1));
        let main = main.build().expect("good options");
        main.manager().socket("/bad").auth_with(provide).build()
    } else {
        let builder = builder(&lab).timeout(Duration::from_secs(1));
        builder.auth_with(provide).build()
    };
    let socket = socket.expect("good options");
    lab.client = Some(socket.clone());
    let connecting = socket.connect();
    if trouble.is_slow() {
        trouble.release();
    }
    let first = soon(connecting).await;
    until(|| socket.is_connected()).await;
    let first = first.map_or_else(|error| error.to_string(), |()| "let in".to_owned());
    let becomes = format!("{first}; then {}", still_there(&socket).await);
    (lab, becomes)
}

#[derive(Debug)]
struct FaultyParser {
    json: JsonParser,
    trouble: Trouble,
    is_encoding: bool,
}

struct FaultyDecoder(Box<dyn PacketDecoder>, Option<Trouble>);

impl Parser for FaultyParser {
    fn encode(&self, packet: &Packet<'_>) -> Vec<EncodedMessage> {
        if self.is_encoding && packet.kind == PacketKind::Event && packet.data.contains("out") {
            self.trouble.now();
        }
        self.json.encode(packet)
    }

    fn decoder(&self) -> Box<dyn PacketDecoder> {
        let trouble = (!self.is_encoding).then(|| self.trouble.clone());
        Box::new(FaultyDecoder(self.json.decoder(), trouble))
    }
}

type Decoded = Result<Option<Packet<'static>>, socketio::parser::ParseError>;

impl PacketDecoder for FaultyDecoder {
    fn add_text(&mut self, text: &str) -> Decoded {
        if let Some(trouble) = &self.1
            && text.contains("\"x\"")
        {
            trouble.now();
        }
        self.0.add_text(text)
    }

    fn add_binary(&mut self, bytes: &[u8]) -> Decoded {
        self.0.add_binary(bytes)
    }
}

async fn parser(trouble: Trouble, is_encoding: bool) -> (Lab, String) {
    let mut lab = Lab::start(Server::builder(), |_| {}).await;
    let parser = FaultyParser {
        json: JsonParser {
            max_attachments: 10,
            max_bytes: 1000,
        },
        trouble,
        is_encoding,
    };
    let socket = builder(&lab).parser(parser).build().expect("good options");
    soon(socket.connect()).await.expect("to be let in");
    lab.client = Some(socket.clone());
    let before = socket.id();
    if is_encoding {
        drop(socket.emit("out", ()));
    } else {
        lab.io.of("/bad").emit("x", ()).now().expect("to be sent");
        until(|| socket.is_connected() && socket.id() != before).await;
    }
    let same = before == socket.id();
    let becomes = format!("{}, the same {same}", still_there(&socket).await);
    (lab, becomes)
}

/// A handler is removed, whose captures panic when they are dropped.
async fn removed(trouble: Trouble) -> (Lab, String) {
    let bomb: SharedBomb = Arc::new(Bomb(trouble.clone()));
    handled(trouble, |socket| {
        socket.on("y", async move |_: Socket| drop(bomb.clone()));
        socket.off("y");
    })
    .await
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

const HANDLER: &[(super::Fault, &str)] = &[
    (Panic, "no answer, connected"),
    (Slow, "answered late, connected"),
    (Never, "no answer, connected"),
];
const BESIDE: &[(super::Fault, &str)] = &[
    (Panic, "answered 1, connected"),
    (Slow, "answered 1, connected"),
    (Never, "answered 1, connected"),
];
const AGAIN: &[(super::Fault, &str)] = &[
    (Panic, "connected"),
    (Slow, "connected"),
    (Never, "connected"),
];
const AUTH: &[(super::Fault, &str)] = &[
    (
        Panic,
        "auth could not be provided: what provides it has panicked; then connected",
    ),
    (Slow, "let in; then connected"),
    (
        Never,
        "auth could not be provided: it was not provided within 1s; then connected",
    ),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("handler", &["client/socket: on"], HANDLER, |t| {
            Box::pin(event(
                t.clone(),
                |builder| builder,
                move |socket| {
                    socket.on("x", async move |_: Socket| {
                        t.later().await;
                        1
                    });
                },
            ))
        }),
        row("handler", &["client/socket: once"], HANDLER, |t| {
            Box::pin(event(
                t.clone(),
                |builder| builder,
                move |socket| {
                    socket.once("x", async move |_: Socket| {
                        t.later().await;
                        1
                    });
                },
            ))
        }),
        row("handler", &["client/socket: on_event"], HANDLER, |t| {
            Box::pin(event(
                t.clone(),
                |builder| builder,
                move |socket| {
                    socket.on_event::<Typed, _>(async move |_: Socket| {
                        t.later().await;
                        1
                    });
                },
            ))
        }),
        row(
            "handler",
            &["client/builder: on", "client/manager: on"],
            HANDLER,
            |t| {
                let run = t.clone();
                Box::pin(event(
                    run,
                    move |builder| {
                        builder.on("x", async move |_: Socket| {
                            t.later().await;
                            1
                        })
                    },
                    |_| {},
                ))
            },
        ),
        row("handler", &["client/builder: on_event"], HANDLER, |t| {
            let run = t.clone();
            Box::pin(event(
                run,
                move |builder| {
                    builder.on_event::<Typed, _>(async move |_: Socket| {
                        t.later().await;
                        1
                    })
                },
                |_| {},
            ))
        }),
        row("handler", &["client/socket: on_any"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |socket| {
                socket.on_any(async move |_: Socket| t.later().await);
            }))
        }),
        row("handler", &["client/socket: prepend_any"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |socket| {
                socket.prepend_any(async move |_: Socket| t.later().await);
            }))
        }),
        row("handler", &["client/socket: on_connect"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |socket| {
                socket.on_connect(async move |_: Socket| t.later().await);
            }))
        }),
        row(
            "handler",
            &["client/socket: on_connect_error"],
            AGAIN,
            |t| Box::pin(refused(t)),
        ),
        row("handler", &["client/socket: on_disconnect"], AGAIN, |t| {
            Box::pin(lost(t.clone(), move |socket| {
                socket.on_disconnect(async move |_: Socket, _: Disconnected| t.later().await);
            }))
        }),
        row(
            "on_any_outgoing",
            &["client/socket: on_any_outgoing"],
            &[(Panic, "answered 1, connected")],
            |t| {
                Box::pin(handled(t.clone(), move |socket| {
                    socket.on_any_outgoing(move |_, _, _| t.now());
                }))
            },
        ),
        row(
            "manager.on",
            &["client/manager: on"],
            &[(Panic, "connected")],
            |t| {
                Box::pin(lost(t.clone(), move |socket| {
                    socket.manager().on(move |_| t.now());
                }))
            },
        ),
        row("auth_with", &["client/builder: auth_with"], AUTH, |t| {
            Box::pin(auth(t, false))
        }),
        row("auth_with", &["client/manager: auth_with"], AUTH, |t| {
            Box::pin(auth(t, true))
        }),
        row(
            "parser",
            &["parser: Parser"],
            &[(Panic, "connected, the same true")],
            |t| Box::pin(parser(t, true)),
        ),
        row(
            "parser",
            &["parser: PacketDecoder"],
            &[(Panic, "connected, the same false")],
            |t| Box::pin(parser(t, false)),
        ),
        row("drop", &[], &[(Panic, "answered 1, connected")], |t| {
            Box::pin(removed(t))
        }),
    ]
}
