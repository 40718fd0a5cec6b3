//! What reads from the network above the protocol: a server's requests and PROXY headers, the doctor's
//! answers, and the client.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use socketio::client::Client;
use socketio::{EmptyBody, ForwardedHeader, NotFound, ResponseBody, Routing, Server, SocketIoService, Transport};
use socketio_proto::websocket::accept_key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;

#[path = "../../crates/socketio/src/server/proxy_protocol.rs"]
mod proxy_protocol;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    static SERVERS: RefCell<Option<[Requests; 2]>> = const { RefCell::new(None) };
}

/// Awaits what never waits for anything.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// PROXY headers: no more is read than the header, and any address comes from its bytes.
pub fn server_proxy_protocol(data: &[u8]) {
    let mut rest = data;
    if at_once(proxy_protocol::read(&mut rest)).is_ok() {
        let used = data.len() - rest.len();
        assert!(used <= 16 + 4096, "{used}");
        // The same, whatever stands behind it.
        let mut alone = &data[..used];
        assert!(at_once(proxy_protocol::read(&mut alone)).is_ok());
    }
}

/// A server that says whom it takes for the client.
struct Requests {
    io: Server,
    service: SocketIoService<NotFound>,
    seen: Arc<Mutex<Option<Option<IpAddr>>>>,
}

const PEER: &str = "10.0.0.9:7";

impl Requests {
    fn new(header: ForwardedHeader) -> Requests {
        let io = Server::builder()
            .max_connections(50)
            .trusted_proxies(["10.0.0.0/8"])
            .forwarded_header(header)
            .peer_address(|_| PEER.parse::<SocketAddr>().ok())
            .routing(Routing::new("127.0.0.1:1", [7; 16]).without_forwarding())
            .build();
        let seen = Arc::new(Mutex::new(None));
        let told = seen.clone();
        io.on_connection_error(move |error| {
            *told.lock().expect("no panic") = Some(error.request.address.map(|address| address.ip()));
        });
        Requests { service: io.service(), io, seen }
    }

    fn ask(&mut self, request: Request<EmptyBody>) -> Option<Response<ResponseBody<EmptyBody>>> {
        *self.seen.lock().expect("no panic") = None;
        let mut answering = pin!(self.service.call(request));
        // What waits for a packet is dropped.
        match answering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer.unwrap_or_else(|never: Infallible| match never {})),
            Poll::Pending => None,
        }
    }
}

/// Requests: lines of which the first is the query (with the ids of sessions, and those that name their
/// server), and the others what proxies write.
pub fn server_request(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query: String = lines.next().unwrap_or_default().iter().map(|byte| char::from(*byte)).collect();
    let uri = format!("/socket.io/?{query}");
    let Ok(uri) = uri.parse::<http::Uri>() else { return };
    let values: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).take(100).collect();
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        SERVERS.with_borrow_mut(|servers| {
            let servers = servers.get_or_insert_with(|| {
                [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded].map(Requests::new)
            });
            for (server, name) in servers.iter_mut().zip(["x-forwarded-for", "forwarded"]) {
                for method in ["GET", "POST", "OPTIONS"] {
                    let mut request = Request::builder().method(method).uri(uri.clone());
                    for value in &values {
                        request = request.header(name, value);
                    }
                    let request = request.body(EmptyBody).expect("a request");
                    if let Some(answer) = server.ask(request) {
                        assert!(answer.status().as_u16() >= 200);
                    }
                    let Some(address) = *server.seen.lock().expect("no panic") else { continue };
                    let address = address.expect("an address");
                    let peer: SocketAddr = PEER.parse().expect("an address");
                    // It is the peer's, or one that was written.
                    if values.is_empty() {
                        assert_eq!(address, peer.ip());
                    }
                }
                server.io.close_connections();
            }
        });
    });
}

/// Answers that the doctor reads.
pub fn doctor_answer(data: &[u8]) {
    RUNTIME.with(|runtime| runtime.block_on(socketio_doctor::read_all_ways(data)));
}

/// The client against a server that answers each request with the next part of the input. Parts end with a
/// line of `--`; in the first, `KEY` stands for what a WebSocket's handshake is to be answered with.
pub fn client_server(data: &[u8]) {
    let (first, data) = data.split_first().map_or((0, data), |(first, data)| (*first, data));
    let transport = if first & 1 == 0 { Transport::Polling } else { Transport::WebSocket };
    let parts: Vec<Vec<u8>> = split(data, b"\n--\n").take(8).map(<[u8]>::to_vec).collect();
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let serving = tokio::spawn(async move {
                for part in parts {
                    let Ok((mut stream, _)) = listener.accept().await else { return };
                    let mut head = Vec::new();
                    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                        match stream.read_buf(&mut head).await {
                            Ok(count) if count > 0 => {}
                            _ => break,
                        }
                    }
                    let _ = stream.write_all(&with_key(&part, &head)).await;
                    let _ = stream.shutdown().await;
                    // What is left unread would reset the connection.
                    let mut rest = [0; 4096];
                    while matches!(stream.try_read(&mut rest), Ok(1..)) {}
                }
            });
            let client = Client::builder(format!("http://{address}"))
                .transports([transport])
                .without_reconnection()
                .timeout(Duration::from_millis(500))
                .build()
                .expect("valid");
            client.on_any(async |_: socketio::client::Socket, _: socketio::Args| {});
            let connecting = tokio::time::timeout(Duration::from_secs(5), client.connect());
            let connected = connecting.await.expect("an end");
            if connected.is_ok() {
                let _ = tokio::time::timeout(Duration::from_millis(20), client.emit("event", 1)).await;
            }
            let leaving = tokio::time::timeout(Duration::from_secs(5), client.disconnect());
            leaving.await.expect("an end");
            serving.abort();
        });
    });
}

fn split<'a>(data: &'a [u8], by: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let data = rest?;
        match data.windows(by.len()).position(|window| window == by) {
            Some(at) => {
                rest = Some(&data[at + by.len()..]);
                Some(&data[..at])
            }
            None => rest.take(),
        }
    })
}

/// Puts in what a WebSocket's key is to be answered with.
fn with_key(part: &[u8], head: &[u8]) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let Some(at) = part.windows(3).position(|window| window == b"KEY") else { return part.to_vec() };
    let accept = accept_key(key.unwrap_or_default().as_bytes());
    [&part[..at], accept.as_ref(), &part[at + 3..]].concat()
}
