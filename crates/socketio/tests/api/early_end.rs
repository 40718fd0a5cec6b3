//! Requests with the end of the client's stream right behind them.

use std::net::SocketAddr;

use socketio::{Cors, DisconnectReason, Server, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::support::{HANDSHAKE, Polling, soon, start, until};
use super::tls::{self, Files};

/// Writes all and the end of the stream before the server has a turn, and gives what is answered.
async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, target: &str, lines: &str, body: &str) -> Vec<u8> {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}{length}\r\n{body}").into()
}

fn chunked(target: &str, body: &str) -> Vec<u8> {
    let mut bytes = request("POST", target, "Transfer-Encoding: chunked\r\n", "");
    for piece in body.as_bytes().chunks(7) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn what_can_be_answered_at_once_is() {
    let (io, address) = start(Server::builder().cors(Cors::new())).await;
    let (heard, mut events) = mpsc::unbounded_channel();
    io.on("event", async move |_: Socket, text: String| {
        heard.send(text.len()).unwrap();
    });
    let target = |sid: &str| format!("{HANDSHAKE}&sid={sid}");
    let event = |size: usize| format!("42[\"event\",\"{}\"]", "x".repeat(size));
    for _ in 0..3 {
        for (request, status) in [
            (request("GET", HANDSHAKE, "", ""), 200),
            (request("GET", HANDSHAKE, "Origin: http://a\r\n", ""), 200),
            (
                request("OPTIONS", HANDSHAKE, "Origin: http://a\r\n", ""),
                204,
            ),
            (request("GET", "/socket.io/?transport=polling", "", ""), 400),
            (request("GET", "/elsewhere", "", ""), 404),
            (request("POST", "/elsewhere", "", "text"), 404),
        ] {
            let answer = ask(address, &request).await;
            let asked = String::from_utf8_lossy(&request);
            let is_expected = answer.starts_with(&format!("HTTP/1.1 {status} "));
            assert!(is_expected, "{asked}{answer}");
        }
        for size in [1, 1000, 20_000, 900_000] {
            for is_chunked in [false, true] {
                let polling = Polling::connect(address).await;
                let target = target(polling.sid());
                let request = match is_chunked {
                    true if size > 20_000 => continue,
                    true => chunked(&target, &event(size)),
                    false => request("POST", &target, "", &event(size)),
                };
                let answer = ask(address, &request).await;
                assert!(answer.ends_with("\r\n\r\nok"), "{size}: {answer}");
                assert_eq!(soon(events.recv()).await, Some(size));
            }
        }
        // What is there for a GET.
        let polling = Polling::open(address).await;
        polling.post("40").await;
        let answer = ask(address, &request("GET", &target(polling.sid()), "", "")).await;
        assert!(answer.contains("\r\n\r\n40{"), "{answer}");
        // Two at once.
        let both = [
            request("GET", HANDSHAKE, "", ""),
            request("GET", HANDSHAKE, "", ""),
        ];
        let answer = ask(address, &both.concat()).await;
        assert_eq!(answer.matches("\"sid\"").count(), 2, "{answer}");
    }
}

// A killed process and a closed tab do not say goodbye as TLS wants it.
#[tokio::test]
async fn an_end_without_a_goodbye_of_tls_is_an_end_like_others() {
    let files = Files::with("early-end", "localhost", |_| {});
    let io = Server::new();
    let (heard, mut events) = mpsc::unbounded_channel();
    io.on("event", async move |_: Socket, text: String| {
        heard.send(text.len()).unwrap();
    });
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let listening = listening.tls(files.cert(), files.key()).expect("valid");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(listening.into_future());
    let ask = async |request: Vec<u8>, says_goodbye: bool| {
        let mut stream = tls::connect(address, &files).await;
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        match says_goodbye {
            true => stream.shutdown().await.unwrap(),
            false => stream.get_mut().0.shutdown().await.unwrap(),
        }
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    for size in [1, 1000, 200_000] {
        for says_goodbye in [true, false] {
            let answer = ask(request("GET", HANDSHAKE, "", ""), says_goodbye).await;
            let sid = answer.split("\"sid\":\"").nth(1).expect(&answer);
            let sid = sid.split('"').next().unwrap();
            let target = format!("{HANDSHAKE}&sid={sid}");
            let event = format!("40\x1e42[\"event\",\"{}\"]", "x".repeat(size));
            let answer = ask(request("POST", &target, "", &event), says_goodbye).await;
            assert!(answer.ends_with("\r\n\r\nok"), "{size}: {answer}");
            assert_eq!(soon(events.recv()).await, Some(size));
            let answer = ask(request("GET", &target, "", ""), says_goodbye).await;
            assert!(answer.contains("\r\n\r\n40{"), "{answer}");
        }
    }
}

#[tokio::test]
async fn who_goes_while_a_get_waits_or_a_body_is_incomplete_ends_the_session() {
    for request_of in [
        (|target: &str| request("GET", target, "", "")) as fn(&str) -> Vec<u8>,
        |target| request("POST", target, "Content-Length: 5\r\n", ""),
        |target| request("POST", target, "Transfer-Encoding: chunked\r\n", ""),
    ] {
        let (io, address) = start(Server::builder()).await;
        let (left, mut reasons) = mpsc::unbounded_channel();
        io.on_connect(async move |socket: Socket| {
            let left = left.clone();
            socket.on_disconnect(async move |_: Socket, reason: DisconnectReason| {
                left.send(reason).unwrap();
            });
        });
        let polling = Polling::connect(address).await;
        let target = format!("{HANDSHAKE}&sid={}", polling.sid());
        ask(address, &request_of(&target)).await;
        assert!(soon(reasons.recv()).await.is_some());
        until(|| io.clients_count() == 0).await;
    }
}
