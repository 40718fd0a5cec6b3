//! Handlers, middlewares and listeners of a server.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use socketio::cluster::MemoryBus;
use socketio::{Args, Event, Namespace, Server, Socket};
use tokio::sync::Notify;

use super::lab::Fault::{Never, Panic, Slow};
use super::lab::{Bomb, BoxFuture, Lab, Row, SharedBomb, Trouble, ask, join, state};
use crate::support::{HANDSHAKE, Polling, Ws, until};

#[derive(Deserialize, Serialize)]
struct Typed;

impl Event for Typed {
    const NAME: &str = "x";
}

async fn lab(install: impl FnOnce(Namespace)) -> Lab {
    Lab::start(Server::builder(), |io| install(io.of("/bad"))).await
}

/// An event is sent to handlers that misbehave, or to one that does not beside something that does.
async fn event(trouble: Trouble, install: impl FnOnce(Namespace)) -> (Lab, String) {
    let lab = lab(install).await;
    let mut ws = lab.victim().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

/// The same, with a handler of the event that does nothing wrong.
async fn handled(trouble: Trouble, install: impl FnOnce(&Namespace)) -> (Lab, String) {
    event(trouble, |bad| {
        bad.on("x", async |_: Socket| 1);
        install(&bad);
    })
    .await
}

/// An event is refused, which is told.
async fn refused(trouble: Trouble) -> (Lab, String) {
    let t = trouble.clone();
    let lab = lab(move |bad| {
        bad.on("x", async |_: Socket| 1);
        bad.event_middleware(|_, event, _| match event {
            "refused" => Err("no".to_owned()),
            _ => Ok(()),
        });
        bad.on_error(async move |_: Socket, _: String| t.later().await);
    })
    .await;
    let mut ws = lab.victim().await;
    ws.send("42/bad,[\"refused\"]").await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

/// The end of a client's time is announced.
async fn expires(trouble: Trouble) -> (Lab, String) {
    let (t, announced) = (trouble.clone(), Arc::new(Notify::new()));
    let announces = announced.clone();
    let lab = lab(move |bad| {
        bad.on("x", async |_: Socket| 1);
        bad.on_expiring(async move |_: Socket| {
            announces.notify_one();
            t.later().await;
        });
    })
    .await;
    let mut ws = lab.victim().await;
    let soon = SystemTime::now() + Duration::from_secs(20);
    lab.io.of("/bad").sockets().remove(0).expires_at(soon);
    announced.notified().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

/// A client leaves, and comes again.
async fn leave(install: impl FnOnce(Namespace)) -> (Lab, String) {
    let lab = lab(install).await;
    let mut ws = lab.victim().await;
    ws.send("41/bad,").await;
    ws.send("40/bad,").await;
    let text = ws.text().await;
    let index = lab.io.of("/bad").local_adapter().len();
    let becomes = match text.starts_with("40/bad,") && index == 1 {
        true => format!("left, {} again", state(&mut ws).await.0),
        false => format!("{text}, {index} sockets"),
    };
    (lab, becomes)
}

/// A client joins a namespace.
async fn enter(trouble: Trouble, nsp: &str, install: impl FnOnce(&Server)) -> (Lab, String) {
    let lab = Lab::start(Server::builder(), install).await;
    let mut ws = Ws::open(lab.address).await;
    let becomes = join(&mut ws, &trouble, &format!("40{nsp},")).await;
    let is_in = becomes == "let in";
    until(|| lab.io.of("/bad").local_adapter().len() <= usize::from(is_in)).await;
    (lab, becomes)
}

async fn upgrade(trouble: Trouble) -> (Lab, String) {
    let lab = lab(|bad| {
        bad.on_connect(async move |socket: Socket| {
            socket.connection().on_upgrade(move |_| trouble.now());
        });
    })
    .await;
    let polling = Polling::open(lab.address).await;
    polling.post("40/bad,").await;
    polling.get().await;
    let target = HANDSHAKE.replace("polling", "websocket");
    let mut ws = Ws::upgrade(lab.address, &format!("{target}&sid={}", polling.sid())).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws.send("5").await;
    let becomes = state(&mut ws).await.0.to_owned();
    (lab, becomes)
}

async fn server_side(trouble: Trouble) -> (Lab, String) {
    let bus = MemoryBus::new();
    let told = Arc::new(std::sync::Mutex::new(0));
    let count = told.clone();
    let lab = Lab::start(Server::builder().cluster(bus.clone()), |io| {
        let bad = io.of("/bad");
        bad.on_server_side("x", move |_| {
            trouble.now();
            None
        });
        bad.on_server_side("x", move |_| {
            *count.lock().expect("no panic") += 1;
            None
        });
    })
    .await;
    let other = Server::builder().cluster(bus).build();
    let sent = other.of("/bad").server_side_emit("x", ()).await;
    let becomes = format!(
        "sent {}, told {}",
        sent.is_ok(),
        told.lock().expect("no panic")
    );
    (lab, becomes)
}

/// Something of the application's is dropped while a client leaves.
async fn dropped(install: impl FnOnce(Namespace)) -> (Lab, String) {
    let (lab, becomes) = leave(install).await;
    until(|| lab.panics() > 0).await;
    (lab, becomes)
}

async fn never_upgraded(trouble: Trouble) -> (Lab, String) {
    let lab = lab(|bad| {
        bad.on_connect(async move |socket: Socket| {
            let bomb = Bomb(trouble);
            socket.connection().on_upgrade(move |_| drop(bomb));
        });
    })
    .await;
    drop(lab.victim().await);
    until(|| lab.panics() > 0 && lab.io.of("/bad").sockets().is_empty()).await;
    (lab, "left".to_owned())
}

#[expect(unreachable_code, reason = "it says what would be answered")]
async fn thrown(trouble: Trouble) -> (Lab, String) {
    let run = trouble.clone();
    event(run, |bad| {
        bad.on("x", async move |_: Socket| {
            std::panic::panic_any(Bomb(trouble));
            1
        });
    })
    .await
}

/// A namespace's own handlers go while clients are there.
async fn removed(trouble: Trouble) -> (Lab, String) {
    let bomb: SharedBomb = Arc::new(Bomb(trouble.clone()));
    let lab = lab(|bad| {
        bad.on("x", async |_: Socket| 1);
        bad.on("y", async move |_: Socket| drop(bomb.clone()));
    })
    .await;
    lab.io.of("/bad").off("y");
    let mut ws = lab.victim().await;
    let becomes = ask(&mut ws, &trouble).await;
    (lab, becomes)
}

const HANDLER: &[(super::Fault, &str)] = &[
    (Panic, "no answer, connected"),
    (Slow, "answered late, connected"),
    (Never, "no answer, connected"),
];
const BESIDE: &[(super::Fault, &str)] = &[
    (Panic, "answered, connected"),
    (Slow, "answered, connected"),
    (Never, "answered, connected"),
];
const LEAVING: &[(super::Fault, &str)] = &[
    (Panic, "left, connected again"),
    (Slow, "left, connected again"),
    (Never, "left, connected again"),
];

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

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "handler",
            &["server/handlers: on", "handler: Handler"],
            HANDLER,
            |t| {
                Box::pin(event(t.clone(), move |bad| {
                    bad.on("x", async move |_: Socket| {
                        t.later().await;
                        1
                    });
                }))
            },
        ),
        row("handler", &["server/handlers: once"], HANDLER, |t| {
            Box::pin(event(t.clone(), move |bad| {
                bad.once("x", async move |_: Socket| {
                    t.later().await;
                    1
                });
            }))
        }),
        row("handler", &["server/handlers: on_event"], HANDLER, |t| {
            Box::pin(event(t.clone(), move |bad| {
                bad.on_event::<Typed, _>(async move |_: Socket| {
                    t.later().await;
                    1
                });
            }))
        }),
        row("handler", &["server/handlers: on_any"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |bad| {
                bad.on_any(async move |_: Socket| t.later().await);
            }))
        }),
        row("handler", &["server/handlers: prepend_any"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |bad| {
                bad.prepend_any(async move |_: Socket| t.later().await);
            }))
        }),
        row("handler", &["server/handlers: on_connect"], BESIDE, |t| {
            Box::pin(handled(t.clone(), move |bad| {
                bad.on_connect(async move |_: Socket| t.later().await);
            }))
        }),
        row("handler", &["server/handlers: on_error"], BESIDE, |t| {
            Box::pin(refused(t))
        }),
        row("handler", &["server/handlers: on_expiring"], BESIDE, |t| {
            Box::pin(expires(t))
        }),
        row(
            "handler",
            &["server/handlers: on_disconnecting"],
            LEAVING,
            |t| {
                Box::pin(leave(move |bad| {
                    bad.on_disconnecting(async move |_: Socket| t.later().await);
                }))
            },
        ),
        row(
            "handler",
            &["server/handlers: on_disconnect"],
            LEAVING,
            |t| {
                Box::pin(leave(move |bad| {
                    bad.on_disconnect(async move |_: Socket| t.later().await);
                }))
            },
        ),
        row(
            "middleware",
            &[
                "server/handlers: middleware",
                "server/middleware: Middleware",
            ],
            &[
                (Panic, "{\"message\":\"internal error\"}"),
                (Slow, "let in"),
                (Never, "closed"),
            ],
            |t| {
                Box::pin(enter(t.clone(), "/bad", move |io| {
                    io.of("/bad").middleware(async move |_: Socket| {
                        t.later().await;
                        Ok::<_, String>(())
                    });
                }))
            },
        ),
        row(
            "event_middleware",
            &["server/handlers: event_middleware"],
            &[(Panic, "no answer, connected")],
            |t| {
                Box::pin(handled(t.clone(), move |bad| {
                    bad.event_middleware(move |_, event, _| {
                        if event == "x" {
                            t.now();
                        }
                        Ok(())
                    });
                }))
            },
        ),
        row(
            "event_middleware",
            &["server/handlers: event_middleware_async"],
            HANDLER,
            |t| {
                Box::pin(handled(t.clone(), move |bad| {
                    bad.event_middleware_async(async move |_: Socket, event: String, _: Args| {
                        if event == "x" {
                            t.later().await;
                        }
                        Ok(())
                    });
                }))
            },
        ),
        row(
            "on_any_outgoing",
            &["server/handlers: on_any_outgoing"],
            &[(Panic, "answered, connected")],
            |t| {
                Box::pin(event(t.clone(), move |bad| {
                    bad.on_any_outgoing(move |_, _, _| t.now());
                    bad.on("x", async |socket: Socket| {
                        socket.emit("out", ()).now().expect("to be sent");
                        socket
                            .namespace()
                            .emit("to all", ())
                            .now()
                            .expect("to be sent");
                        1
                    });
                }))
            },
        ),
        row(
            "of_fn",
            &["server/mod: of_fn"],
            &[
                (Panic, "{\"message\":\"Invalid namespace\"}"),
                (Slow, "let in"),
                (Never, "closed"),
            ],
            |t| {
                Box::pin(enter(t.clone(), "/child", move |io| {
                    io.of_fn(async move |name: String, _: Value| {
                        t.later().await;
                        name == "/child"
                    });
                }))
            },
        ),
        row(
            "on_new_namespace",
            &["server/mod: on_new_namespace"],
            &[(Panic, "let in")],
            |t| {
                Box::pin(enter(t.clone(), "/child", move |io| {
                    io.of_pattern("^/child$");
                    io.on_new_namespace(move |_| t.now());
                }))
            },
        ),
        row(
            "on_server_side",
            &["server/namespace: on_server_side"],
            &[(Panic, "sent true, told 1")],
            |t| Box::pin(server_side(t)),
        ),
        row(
            "on_room_event",
            &["server/adapter: on_room_event"],
            &[(Panic, "answered, connected")],
            |t| {
                Box::pin(event(t.clone(), move |bad| {
                    bad.local_adapter().on_room_event(move |_| t.now());
                    bad.on("x", async |socket: Socket| {
                        socket.join("a room");
                        u8::from(socket.rooms().contains(&"a room".to_owned()))
                    });
                }))
            },
        ),
        row(
            "on_upgrade",
            &["server/socket: on_upgrade"],
            &[(Panic, "connected")],
            |t| Box::pin(upgrade(t)),
        ),
        row("drop", &[], &[(Panic, "no answer, connected")], |t| {
            Box::pin(thrown(t))
        }),
        row("drop", &[], &[(Panic, "answered, connected")], |t| {
            Box::pin(removed(t))
        }),
        row("drop", &[], &[(Panic, "left, connected again")], |t| {
            Box::pin(dropped(move |bad| {
                bad.on_connect(async move |socket: Socket| socket.set_extension(Bomb(t)));
            }))
        }),
        row("drop", &[], &[(Panic, "left, connected again")], |t| {
            Box::pin(dropped(move |bad| {
                bad.on_connect(async move |socket: Socket| {
                    let bomb: SharedBomb = Arc::new(Bomb(t));
                    socket.on("y", async move |_: Socket| drop(bomb.clone()));
                });
            }))
        }),
        row("drop", &[], &[(Panic, "left")], |t| {
            Box::pin(never_upgraded(t))
        }),
    ]
}
