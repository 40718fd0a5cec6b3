//! Hooks of a server's requests: only those with `bad=1` in their query suffer from them.

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, Uri};
use socketio::{Cors, EngineRefusal, Forbidden, RequestInfo, Server, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::lab::Fault::{Never, Panic, Slow};
use super::lab::{BoxFuture, Lab, Row, Trouble};
use crate::support::{HANDSHAKE, soon};

fn is_bad(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.contains("bad=1"))
}

/// Sends a bad request, and tells what came of it: the status, and what the body says.
async fn request(
    trouble: Trouble,
    target: &str,
    build: impl FnOnce(ServerBuilder) -> ServerBuilder,
    install: impl FnOnce(&Server),
) -> (Lab, String) {
    let mut lab = Lab::start(build(Server::builder()), install).await;
    let mut stream = TcpStream::connect(lab.address).await.expect("to connect");
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: x\r\nOrigin: http://bad.example\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("to write");
    if trouble.fault != Panic {
        // It waits, and nobody with it.
        lab.nobody_else_notices().await;
        assert!(stream.try_read(&mut [0]).is_err(), "no answer yet");
    }
    if trouble.fault == Never {
        return (lab, "waits".to_owned());
    }
    trouble.release();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer))
        .await
        .expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    let allows = head.contains("access-control-allow-origin");
    let becomes = match body.starts_with("0{") {
        true if allows => "200 with origin".to_owned(),
        true => "200".to_owned(),
        false => format!("{status} {body}").trim().to_owned(),
    };
    (lab, becomes)
}

const BAD: &str = "/socket.io/?EIO=4&transport=polling&bad=1";

async fn handshake(
    trouble: Trouble,
    build: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> (Lab, String) {
    request(trouble, BAD, build, |_| {}).await
}

fn change(trouble: Trouble) -> impl Fn(&mut HeaderMap, &RequestInfo) + Send + Sync + 'static {
    move |_, request| {
        if is_bad(&request.uri) {
            trouble.now();
        }
    }
}

/// A WebSocket offers subprotocols.
async fn protocol(trouble: Trouble) -> (Lab, String) {
    let builder = Server::builder().select_protocol(move |offered, _| {
        trouble.now();
        offered.first().copied()
    });
    let lab = Lab::start(builder, |_| {}).await;
    let mut stream = TcpStream::connect(lab.address).await.expect("to connect");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: one\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .await
        .expect("to write");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = soon(stream.read_buf(&mut answer)).await;
        assert!(read.expect("an answer") > 0);
    }
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let status = answer.split(' ').nth(1).expect("a status");
    let with = answer.contains("sec-websocket-protocol");
    (lab, format!("{status}, a protocol: {with}"))
}

/// A service beside the server that panics.
async fn fallback(trouble: Trouble) -> (Lab, String) {
    let (lab, _) = handshake(trouble.clone(), |builder| builder).await;
    let io = lab.io.clone();
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let address = listening.local_addr().expect("an address");
    let router = Router::new().route("/bad", get(async move || trouble.later().await));
    tokio::spawn(async move { listening.fallback(router).await });
    let answer = crate::support::http(address, "GET", "/bad", "").await;
    let next = crate::support::http(address, "GET", HANDSHAKE, "").await;
    (lab, format!("{}, then {}", answer.status, next.status))
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

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "allow_request",
            &["server/config: allow_request"],
            &[
                (Panic, r#"403 {"code":4,"message":"Forbidden"}"#),
                (Slow, "200"),
                (Never, "waits"),
            ],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.allow_request(async move |request: RequestInfo| {
                        if is_bad(&request.uri) {
                            t.later().await;
                        }
                        Ok::<_, Forbidden>(())
                    })
                }))
            },
        ),
        row(
            "generate_id",
            &["server/config: generate_id"],
            &[
                (Panic, r#"400 {"code":3,"message":"Bad request"}"#),
                (Slow, "200"),
                (Never, "waits"),
            ],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.generate_id(async move |request: RequestInfo| {
                        if is_bad(&request.uri) {
                            t.later().await;
                        }
                        Ok(format!("id{}", next_id()))
                    })
                }))
            },
        ),
        row(
            "engine_middleware",
            &["server/config: engine_middleware"],
            &[
                (Panic, r#"400 {"code":3,"message":"Bad request"}"#),
                (Slow, "200"),
                (Never, "waits"),
            ],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.engine_middleware(async move |request: RequestInfo| {
                        if is_bad(&request.uri) {
                            t.later().await;
                        }
                        Ok::<_, EngineRefusal>(HeaderMap::new())
                    })
                }))
            },
        ),
        row(
            "on_headers",
            &["server/config: on_headers"],
            &[(Panic, "200")],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.on_headers(change(t))
                }))
            },
        ),
        row(
            "on_headers",
            &["server/config: on_initial_headers"],
            &[(Panic, "200")],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.on_initial_headers(change(t))
                }))
            },
        ),
        row(
            "peer_address",
            &["server/config: peer_address"],
            &[(Panic, "200")],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.peer_address(move |parts| {
                        if is_bad(&parts.uri) {
                            t.now();
                        }
                        None
                    })
                }))
            },
        ),
        row(
            "origin_fn",
            &["server/cors: origin_fn"],
            &[(Panic, "200")],
            |t| {
                Box::pin(handshake(t.clone(), |builder| {
                    builder.cors(Cors::new().origin_fn(move |_| {
                        t.now();
                        true
                    }))
                }))
            },
        ),
        row(
            "on_connection_error",
            &["server/mod: on_connection_error"],
            &[(Panic, r#"400 {"code":1,"message":"Session ID unknown"}"#)],
            |t| {
                let target = "/socket.io/?EIO=4&transport=polling&bad=1&sid=none";
                Box::pin(request(
                    t.clone(),
                    target,
                    |builder| builder,
                    move |io| io.on_connection_error(move |_| t.now()),
                ))
            },
        ),
        row(
            "select_protocol",
            &["server/config: select_protocol"],
            &[(Panic, "101, a protocol: false")],
            |t| Box::pin(protocol(t)),
        ),
        row("fallback", &[], &[(Panic, "500, then 200")], |t| {
            Box::pin(fallback(t))
        }),
    ]
}

/// No id is made twice.
fn next_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
