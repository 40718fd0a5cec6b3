//! How a client reaches a server: TLS, proxies, Unix sockets, addresses.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rcgen::date_time_ymd;
use socketio::client::{ClientBuilder, ConnectError};
use socketio::{Server, Socket, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::client::{ALL, POLLING, WEBSOCKET, builder, channel, echo_server, next};
use crate::client_proxy::{Act, Proxy, through};
use crate::fake::{Reply, open, serve};
use crate::support::{listen, soon};
use crate::tls::Files;

pub(crate) const EACH: [&[Transport]; 2] = [WEBSOCKET, POLLING];

/// A client that is told no proxy by the environment.
pub(crate) fn direct(url: &str, transports: &[Transport]) -> ClientBuilder {
    builder(url, transports)
        .without_proxy()
        .without_reconnection()
}

/// Connects and asks the server something.
pub(crate) async fn works(client: ClientBuilder) {
    let socket = soon(client.connect()).await.expect("connected");
    let answer: u32 = soon(socket.emit_with_ack("ack", 7)).await.expect("answer");
    assert_eq!(answer, 7);
    soon(socket.disconnect()).await;
}

pub(crate) async fn fails(client: ClientBuilder) -> ConnectError {
    let connected = soon(client.connect()).await;
    connected.map(|_| ()).expect_err("no connection")
}

/// The server on a port with TLS.
pub(crate) async fn listen_tls(files: &Files) -> SocketAddr {
    let listening = echo_server().listen("127.0.0.1:0").await.expect("a port");
    let listening = listening
        .tls(files.cert(), files.key())
        .expect("a certificate");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(listening.into_future());
    address
}

// --- TLS ---

// C041
#[tokio::test]
async fn a_certificate_is_trusted_that_the_application_names() {
    let files = Files::with("dial-trusted", "localhost", |_| {});
    let port = listen_tls(&files).await.port();
    for transports in ALL {
        for scheme in ["https", "wss"] {
            let client = direct(&format!("{scheme}://localhost:{port}"), transports);
            works(client.root_certificate(files.cert())).await;
        }
    }
}

// C041
#[tokio::test]
async fn a_certificate_for_an_address_is_trusted_as_well() {
    let files = Files::with("dial-address", "127.0.0.1", |_| {});
    let address = listen_tls(&files).await;
    let client = direct(&format!("https://{address}"), POLLING);
    works(client.root_certificate(files.cert())).await;
}

// C041
#[tokio::test]
async fn each_mistake_of_a_certificate_has_its_own_words() {
    let good = Files::with("dial-good", "localhost", |_| {});
    let other = Files::with("dial-other", "example.org", |_| {});
    let expired = Files::with("dial-expired", "localhost", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let early = Files::with("dial-early", "localhost", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    for (files, is_named, detail, hint) in [
        (&good, false, "not trusted here", "`root_certificate`"),
        (
            &other,
            true,
            "is for example.org, not for localhost",
            "by a name that is in the certificate",
        ),
        (
            &expired,
            true,
            "certificate has expired",
            "renew the server's certificate",
        ),
        (&early, true, "not valid yet", "this machine's clock"),
    ] {
        let url = format!("https://localhost:{}", listen_tls(files).await.port());
        for transports in EACH {
            let client = || match is_named {
                true => direct(&url, transports).root_certificate(files.cert()),
                false => direct(&url, transports),
            };
            let error = fails(client()).await;
            let told = error.detail().expect("a detail");
            assert!(told.starts_with("TLS with localhost failed: "), "{told}");
            assert!(told.contains(detail), "{told}");
            assert!(error.hint().expect("a hint").contains(hint), "{error:?}");
            works(client().danger_accept_invalid_certificates()).await;
        }
    }
}

// C041
#[tokio::test]
async fn certificate_files_are_read_before_anything_is_sent() {
    let files = Files::with("dial-files", "localhost", |_| {});
    let build = |change: &dyn Fn(ClientBuilder) -> ClientBuilder| {
        let client = direct("https://localhost", WEBSOCKET);
        let built = change(client).build();
        built.map(|_| ()).expect_err("a mistake").to_string()
    };
    let missing = build(&|client| client.root_certificate("/nonexistent.pem"));
    assert!(missing.starts_with("/nonexistent.pem: "), "{missing}");
    let key = build(&|client| client.root_certificate(files.key()));
    assert!(
        key.ends_with("key.pem: there is no certificate in it"),
        "{key}"
    );
    let swapped = build(&|client| client.client_certificate(files.key(), files.cert()));
    assert!(swapped.contains("key.pem: "), "{swapped}");
}

/// A server that lets in only whoever shows this certificate, and speaks HTTP by hand.
async fn strict(
    files: &Files,
    client: &Files,
    version: &'static SupportedProtocolVersion,
) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    roots.add(client.der.clone()).expect("a certificate");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .expect("a verifier");
    let config = ServerConfig::builder_with_protocol_versions(&[version])
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![files.der.clone()],
            PrivateKeyDer::from_pem_file(files.key()).expect("a key"),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let accepting = acceptor.accept(stream).into_fallible();
            tokio::spawn(async move {
                match accepting.await {
                    Ok(stream) => {
                        serve(stream, &Mutex::default(), &answer).await;
                    }
                    // Closing with something unread would reset the connection, and might overtake
                    // the alert.
                    Err((_, mut stream)) => {
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                }
            });
        }
    });
    address
}

/// Lets a client in.
fn answer(head: &str, body: &str) -> Reply {
    let joined = || "40{\"sid\":\"x\"}".to_owned();
    match (head.contains("sid="), body) {
        _ if head.contains("transport=websocket") => {
            Reply::WebSocket(vec![open("a", ""), joined()])
        }
        (false, _) => Reply::Http(200, "", open("a", "")),
        (true, "") => Reply::Http(200, "", joined()),
        (true, _) => Reply::Http(200, "", "ok".to_owned()),
    }
}

// C041
#[tokio::test]
async fn a_client_shows_its_certificate_where_one_is_wanted() {
    let files = Files::with("dial-strict", "localhost", |_| {});
    let own = Files::with("dial-own", "client", |_| {});
    let stranger = Files::with("dial-stranger", "client", |_| {});
    for version in [&TLS12, &TLS13] {
        let port = strict(&files, &own, version).await.port();
        for transports in EACH {
            let client = || {
                direct(&format!("https://localhost:{port}"), transports)
                    .root_certificate(files.cert())
            };
            let shown = client().client_certificate(own.cert(), own.key());
            soon(shown.connect()).await.expect("let in");
            let others = client().client_certificate(stranger.cert(), stranger.key());
            for (client, what) in [
                (client(), "it wants a certificate of the client"),
                (others, "does it accept its certificate?"),
            ] {
                let error = fails(client).await;
                let told = error.detail().expect("a detail");
                assert!(told.contains("refused the handshake: "), "{told}");
                assert!(told.ends_with(what), "{told}");
                let hint = error.hint().expect("a hint");
                assert!(hint.contains("`client_certificate`"), "{hint}");
            }
        }
    }
}

// C041
#[tokio::test]
async fn tls_to_a_port_without_it_is_recognised() {
    let address = listen(&echo_server()).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closing = silent.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            // What is unread would reset the connection.
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    for transports in EACH {
        for address in [address, closing] {
            let error = fails(direct(&format!("https://{address}"), transports)).await;
            let told = error.detail().expect("a detail");
            assert!(told.starts_with("TLS with 127.0.0.1 failed: "), "{told}");
            let hint = error.hint().expect("a hint");
            assert!(hint.contains("use http:// or ws://"), "{hint}");
        }
    }
}

// C041: also the ways in which other servers say it.
#[tokio::test]
async fn a_port_of_tls_is_recognised_without_tls() {
    let files = Files::with("dial-secure", "localhost", |_| {});
    let mut addresses = vec![listen_tls(&files).await];
    for text in [
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>",
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        "",
    ] {
        addresses.push(saying(text).await);
    }
    for transports in EACH {
        for address in &addresses {
            let error = fails(direct(&format!("http://{address}"), transports)).await;
            let hint = error.hint().unwrap_or_else(|| panic!("no hint: {error}"));
            assert!(hint.contains("https://"), "{error}: {hint}");
        }
    }
}

/// A server that answers whatever it gets with this, and closes.
async fn saying(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    address
}

// --- Other ways ---

/// Brings what comes over a Unix socket to a port.
#[cfg(unix)]
fn pipe(path: &Path, to: SocketAddr) {
    let listener = tokio::net::UnixListener::bind(path).expect("a path");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.expect("a server");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_leads_to_a_server_with_and_without_tls() {
    let files = Files::with("dial-unix", "chat.example", |_| {});
    let beside = |name| files.cert().with_file_name(name);
    let io = echo_server();
    let (sender, mut hosts) = channel();
    io.on_connect(async move |socket: Socket| {
        let host = socket.handshake().header("host").map(str::to_owned);
        let _ = sender.send(host);
    });
    let (plain, secure) = (beside("plain"), beside("secure"));
    pipe(&plain, listen(&io).await);
    pipe(&secure, listen_tls(&files).await);
    for transports in ALL {
        // The proxy is of no use on the way to a Unix socket.
        let proxied = through("http://127.0.0.1:9", "http://chat.example", transports);
        works(proxied.unix_socket(&plain)).await;
        assert_eq!(next(&mut hosts).await.as_deref(), Some("chat.example"));
        let client = direct("https://chat.example", transports).unix_socket(&secure);
        works(client.root_certificate(files.cert())).await;
        let error = fails(direct("http://x", transports).unix_socket("/nonexistent/socket")).await;
        let told = error.detail().expect("a detail");
        assert!(
            told.starts_with("the Unix socket /nonexistent/socket cannot be "),
            "{told}"
        );
        assert!(error.hint().expect("a hint").contains("is the path right"));
    }
}

#[tokio::test]
async fn a_client_connects_from_the_address_that_it_is_told() {
    let io: Server = echo_server();
    let (sender, mut addresses) = channel();
    io.on_connect(async move |socket: Socket| {
        let _ = sender.send(socket.handshake().address().map(|address| address.ip()));
    });
    let port = listen(&io).await.port();
    let local = IpAddr::from([127, 0, 0, 2]);
    let proxy = Proxy::http(Act::Tunnel).await;
    for transports in ALL {
        for host in ["127.0.0.1", "localhost"] {
            let client = direct(&format!("http://{host}:{port}"), transports);
            works(client.local_address(local)).await;
            assert_eq!(next(&mut addresses).await, Some(local));
        }
        // Then the proxy is what is reached from there.
        let url = format!("http://127.0.0.1:{port}");
        let client = through(&proxy.url("http", ""), &url, transports);
        works(client.local_address(local)).await;
        assert_eq!(
            next(&mut addresses).await,
            Some(IpAddr::from([127, 0, 0, 1]))
        );
        // An address that this machine does not have, and one of the other kind.
        for wrong in ["203.0.113.1", "::1"] {
            let wrong = wrong.parse().expect("an address");
            let error = fails(direct(&url, transports).local_address(wrong)).await;
            let told = error.detail().expect("a detail");
            assert!(told.contains("cannot be reached: "), "{told}");
            let hint = error.hint().expect("a hint");
            assert!(hint.contains("`local_address`"), "{hint}");
        }
    }
}

#[tokio::test]
async fn a_name_leads_to_whichever_of_its_addresses_is_served() {
    let mut served = 0;
    for local in ["127.0.0.1:0", "[::1]:0"] {
        // Not every machine has version 6 of IP.
        let Ok(listening) = echo_server().listen(local).await else {
            continue;
        };
        let address = listening.local_addr().expect("an address");
        tokio::spawn(listening.into_future());
        works(direct(&format!("http://{address}"), POLLING)).await;
        let mut addresses = tokio::net::lookup_host(("localhost", 0))
            .await
            .expect("a name");
        if addresses.any(|known| known.ip() == address.ip()) {
            served += 1;
            for transports in ALL {
                let url = format!("http://localhost:{}", address.port());
                works(direct(&url, transports)).await;
            }
        }
    }
    assert!(served > 0);
}

// --- The end of an attempt ---

/// Takes connections and says nothing; tells when one has sent something and when it has ended.
async fn hanging(events: UnboundedSender<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let events = events.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let _ = stream.read_buf(&mut bytes).await;
                let _ = events.send("asked");
                while stream.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {}
                let _ = events.send("ended");
            });
        }
    });
    address
}

#[tokio::test]
async fn an_attempt_that_is_given_up_leaves_no_connection() {
    let (sender, mut events) = channel();
    let address = hanging(sender).await;
    let no_proxy = "";
    for transports in EACH {
        for (url, proxy) in [
            (format!("http://{address}"), no_proxy.to_owned()),
            (format!("https://{address}"), no_proxy.to_owned()),
            ("http://a.example".to_owned(), format!("http://{address}")),
            (
                "http://a.example".to_owned(),
                format!("socks5h://{address}"),
            ),
            ("http://127.0.0.1".to_owned(), format!("socks5://{address}")),
        ] {
            let client = || match &*proxy {
                "" => direct(&url, transports),
                proxy => through(proxy, &url, transports),
            };
            // By the application.
            let mut connecting = Box::pin(client().connect());
            tokio::select! {
                connected = &mut connecting => panic!("connected: {connected:?}"),
                event = next(&mut events) => assert_eq!(event, "asked"),
            }
            drop(connecting);
            assert_eq!(next(&mut events).await, "ended", "{url} {proxy}");
            // By the client.
            let error = fails(client().timeout(Duration::from_millis(20))).await;
            match &*proxy {
                "" => assert_eq!(error.message(), "timeout"),
                // Who hangs is named.
                proxy => {
                    let told = error.detail().expect("a detail");
                    let expected =
                        format!("the proxy {proxy} cannot be used: it has not connected");
                    assert!(told.starts_with(&expected), "{told}");
                }
            }
            assert_eq!(next(&mut events).await, "asked");
            assert_eq!(next(&mut events).await, "ended", "{url} {proxy}");
        }
    }
}
