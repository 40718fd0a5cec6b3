//! Real servers on loopback. What the tests of TLS and of proxies share stands here.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Nothing that is tested takes as long as this; it only ends a test that hangs.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future)
        .await
        .expect("in time")
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// An address at which nobody listens, and which nobody else is given meanwhile.
pub(super) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((Ipv4Addr::LOCALHOST, 0).into())
        .expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// Says "pong" to each connection's first four bytes.
pub(super) async fn server() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pong(stream));
        }
    });
    address
}

pub(super) async fn pong(mut stream: impl Io) {
    let mut ping = [0; 4];
    if stream.read_exact(&mut ping).await.is_ok() {
        let _ = stream.write_all(b"pong").await;
        // A client that reads after the end gets to see it, and not a reset.
        let _ = stream.shutdown().await;
    }
}

pub(super) async fn assert_pong(mut stream: Stream) {
    stream.write_all(b"ping").await.expect("to write");
    let mut answer = [0; 4];
    soon(stream.read_exact(&mut answer))
        .await
        .expect("an answer");
    assert_eq!(&answer, b"pong");
}

pub(super) fn dialer(options: DialOptions) -> Dialer {
    Dialer::new(options).expect("options")
}

pub(super) fn direct() -> DialOptions {
    DialOptions {
        proxy: ProxyChoice::None,
        ..DialOptions::default()
    }
}

pub(super) fn through(proxy: impl Into<String>) -> DialOptions {
    DialOptions {
        proxy: ProxyChoice::Url(proxy.into()),
        ..DialOptions::default()
    }
}

pub(super) fn plain(host: &str, port: u16) -> Target {
    Target {
        host: host.to_owned(),
        port,
        is_tls: false,
    }
}

pub(super) fn tls(host: &str, port: u16) -> Target {
    Target {
        is_tls: true,
        ..plain(host, port)
    }
}

pub(super) async fn connected(options: DialOptions, target: Target) -> Stream {
    match soon(dialer(options).dial(&target)).await {
        Ok(stream) => stream,
        Err(error) => panic!("{error}"),
    }
}

pub(super) async fn failure(options: DialOptions, target: Target) -> DialError {
    match soon(dialer(options).dial(&target)).await {
        Ok(_) => panic!("a stream"),
        Err(error) => error,
    }
}

/// A directory for the files of one test.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(name: &str) -> Files {
        let name = format!("socketio-dial-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        Files(directory)
    }

    pub(super) fn write(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, pem).expect("to write");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_server_is_reached_by_name_and_by_address() {
    let port = server().await.port();
    for host in ["localhost", "127.0.0.1"] {
        assert_pong(connected(direct(), plain(host, port)).await).await;
    }
}

#[tokio::test]
async fn a_refused_connection_names_the_addresses_that_were_tried() {
    let (_bound, address) = refusing();
    let error = failure(direct(), plain("127.0.0.1", address.port())).await;
    let expected = format!("{address} cannot be reached: ");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(
        error.hint(),
        Some("nothing listens there: is the server running, and is the port right?")
    );
    let error = failure(direct(), plain("localhost", address.port())).await;
    let DialError::Connect { address, .. } = error else {
        panic!("{error}")
    };
    assert!(
        address.starts_with("localhost:") && address.contains("127.0.0.1"),
        "{address}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_as_such() {
    // Too long to be asked for.
    let host = "a".repeat(300);
    let error = failure(direct(), plain(&host, 80)).await;
    assert!(matches!(&error, DialError::Dns { host: named, .. } if *named == host));
    assert!(error.hint().is_some_and(|hint| hint.contains("spelling")));
}

#[tokio::test]
async fn an_address_that_refuses_does_not_keep_the_next_from_being_tried() {
    let (_bound, refusing) = refusing();
    let open = server().await;
    let dialer = dialer(direct());
    let stream = soon(dialer.tcp_to("host", 1, vec![refusing, open])).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), open);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_is_silent_does_not_keep_the_next_from_being_tried() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("port");
    // The kernel does not answer what exceeds the backlog, which is one connection.
    let full = socket.listen(0).expect("to listen");
    let silent = full.local_addr().expect("an address");
    let _filling = TcpStream::connect(silent).await.expect("to connect");
    let open = server().await;
    let dialer = dialer(direct());
    let stream = soon(dialer.tcp_to("host", 1, vec![silent, open])).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), open);
}

#[test]
fn families_take_turns_and_addresses_are_bounded() {
    let parse = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1"]);
    let tried = parse(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"]);
    assert_eq!(alternating(found), tried);
    let many = vec![tried[0]; 1000];
    assert_eq!(alternating(many).len(), MAX_ADDRESSES);
    assert_eq!(shown("::1", 1, &tried), "[::1]:1");
    assert_eq!(shown("host", 1, &tried[..2]), "host:1 (::1, 1.0.0.1)");
}

#[tokio::test]
async fn a_connection_comes_from_the_local_address() {
    let (listener, address) = listener().await;
    let options = |local: &str| DialOptions {
        local_address: Some(local.parse().unwrap()),
        ..direct()
    };
    // All of 127.0.0.0/8 is local on Linux only.
    let local = if cfg!(target_os = "linux") {
        "127.0.0.2"
    } else {
        "127.0.0.1"
    };
    let _stream = connected(options(local), plain("127.0.0.1", address.port())).await;
    let (_, peer) = soon(listener.accept()).await.expect("a connection");
    assert_eq!(peer.ip().to_string(), local);

    let error = failure(options("::1"), plain("127.0.0.1", address.port())).await;
    assert_eq!(
        error.to_string(),
        format!("{address} cannot be reached: the local address ::1 is of the other family")
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("`local_address`"))
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_replaces_host_port_and_proxy() {
    let files = Files::new("unix");
    let path = files.0.join("socket");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let options = || DialOptions {
        unix_socket: Some(path.clone()),
        ..through("http://127.0.0.1:1")
    };
    let accepting = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        pong(stream).await;
    });
    assert_pong(connected(options(), plain("nowhere.invalid", 1)).await).await;
    soon(accepting).await.expect("no panic");

    // The listener is gone, its file is not.
    let error = failure(options(), plain("nowhere.invalid", 1)).await;
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("left behind"))
    );
    std::fs::remove_file(&path).expect("to remove");
    let error = failure(options(), plain("nowhere.invalid", 1)).await;
    assert!(
        error.to_string().starts_with(&format!(
            "the Unix socket {} cannot be reached: ",
            path.display()
        )),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("path")));
}

#[tokio::test]
async fn dropping_the_future_closes_the_connection() {
    // Neither a server of TLS nor a proxy ever answers here.
    for scheme in ["", "http", "https", "socks5h"] {
        let (listener, address) = listener().await;
        let options = match scheme {
            "" => direct(),
            _ => through(format!("{scheme}://{address}")),
        };
        let dialing = tokio::spawn(async move {
            let _ = dialer(options)
                .dial(&tls("127.0.0.1", address.port()))
                .await;
        });
        let (mut stream, _) = soon(listener.accept()).await.expect("a connection");
        let mut first = [0];
        soon(stream.read_exact(&mut first)).await.expect("a byte");
        dialing.abort();
        let mut rest = Vec::new();
        soon(stream.read_to_end(&mut rest)).await.expect("an end");
    }
}
