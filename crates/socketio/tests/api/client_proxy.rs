//! Proxies on a client's way to a server, and how the environment names them.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use socketio::Transport;
use socketio::client::{ClientBuilder, ConnectError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{ALL, Log, POLLING, WEBSOCKET, builder, echo_server};
use crate::client_dial::{EACH, fails, listen_tls, works};
use crate::fake::header;
use crate::support::{listen, soon};
use crate::tls::Files;

pub(crate) fn through(proxy: &str, url: &str, transports: &[Transport]) -> ClientBuilder {
    builder(url, transports).proxy(proxy).without_reconnection()
}

/// A proxy that records what it is asked for.
pub(crate) struct Proxy {
    address: SocketAddr,
    log: Log,
}

/// What an HTTP proxy does with a CONNECT.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Tunnel,
    Answer(&'static str),
    Close,
}

impl Proxy {
    /// One for HTTP; it logs the target, and the credentials if there are any.
    pub(crate) async fn http(act: Act) -> Proxy {
        Proxy::start(move |stream, log| async move {
            drop(http_proxy(stream, &log, act).await);
        })
        .await
    }

    /// One for SOCKS 5 that wants these credentials, and answers a request with this code.
    async fn socks(credentials: Option<&'static str>, code: u8) -> Proxy {
        Proxy::start(move |stream, log| async move {
            drop(socks_proxy(stream, &log, credentials, code).await);
        })
        .await
    }

    async fn start<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, Log) -> F + Send + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Log::default();
        let logging = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, logging.clone()));
            }
        });
        Proxy { address, log }
    }

    pub(crate) fn url(&self, scheme: &str, credentials: &str) -> String {
        format!("{scheme}://{credentials}{}", self.address)
    }

    /// What it was asked for, without repetitions.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.log.take();
        asked.dedup();
        asked
    }
}

async fn http_proxy(mut stream: TcpStream, log: &Log, act: Act) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&bytes);
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let target = match (words.next(), words.next()) {
        (Some("CONNECT"), Some(target)) => target,
        _ => {
            log.add(line);
            return Ok(());
        }
    };
    match header(&head, "proxy-authorization") {
        Some(credentials) => log.add(format!("{target} {credentials}")),
        None => log.add(target),
    }
    match act {
        Act::Tunnel => {
            let mut server = TcpStream::connect(target).await?;
            let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
            stream.write_all(established).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
        }
        Act::Answer(text) => stream.write_all(text.as_bytes()).await?,
        Act::Close => {}
    }
    Ok(())
}

async fn socks_proxy(
    mut stream: TcpStream,
    log: &Log,
    credentials: Option<&str>,
    code: u8,
) -> std::io::Result<()> {
    // RFC 1928: version, methods.
    assert_eq!(stream.read_u8().await?, 5);
    let methods = counted(&mut stream).await?;
    let method = if credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    if let Some(credentials) = credentials {
        // RFC 1929.
        assert_eq!(stream.read_u8().await?, 1);
        let user = counted(&mut stream).await?;
        let password = counted(&mut stream).await?;
        let shown = [user, password].join(&b':');
        let is_right = shown == credentials.as_bytes();
        stream.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0]);
    let host = match request[3] {
        1 => IpAddr::from(stream.read_u32().await?.to_be_bytes()).to_string(),
        3 => {
            let name = counted(&mut stream).await?;
            format!("name {}", String::from_utf8_lossy(&name))
        }
        4 => {
            let address = IpAddr::from(stream.read_u128().await?.to_be_bytes());
            format!("[{address}]")
        }
        other => panic!("no kind of address: {other}"),
    };
    let target = format!("{host}:{}", stream.read_u16().await?);
    log.add(target.clone());
    let answer = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    if code != 0 {
        return stream.write_all(&answer).await;
    }
    let Ok(mut server) = TcpStream::connect(target.trim_start_matches("name ")).await else {
        return stream.write_all(&[5, 5, 0, 1]).await;
    };
    stream.write_all(&answer).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}

async fn counted(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// All that an error tells.
fn text(error: &ConnectError) -> String {
    format!("{error}\n{error:?}\n{:?}", error.hint())
}

#[tokio::test]
async fn an_http_proxy_makes_tunnels_for_every_scheme_and_transport() {
    let files = Files::with("dial-proxy", "localhost", |_| {});
    let plain = listen(&echo_server()).await.port();
    let secure = listen_tls(&files).await.port();
    for (credentials, sent) in [
        ("", ""),
        // "user:p@ss/word" and "user:".
        ("user:p%40ss%2Fword@", " Basic dXNlcjpwQHNzL3dvcmQ="),
        ("user@", " Basic dXNlcjo="),
    ] {
        for transports in ALL {
            for (scheme, port) in [("http", plain), ("https", secure)] {
                let proxy = Proxy::http(Act::Tunnel).await;
                let url = format!("{scheme}://localhost:{port}");
                let client = through(&proxy.url("http", credentials), &url, transports);
                works(client.root_certificate(files.cert())).await;
                assert_eq!(proxy.asked(), [format!("localhost:{port}{sent}")]);
            }
        }
    }
}

#[tokio::test]
async fn an_http_proxy_that_does_not_serve_is_named_without_its_password() {
    let url = "http://127.0.0.1:9";
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let away = nobody.local_addr().expect("an address");
    drop(nobody);
    let proxy = async |act| Proxy::http(act).await.address;
    let wants =
        Act::Answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    let forbids = Act::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    for (address, what, hint) in [
        (proxy(wants).await, "407", "credentials"),
        (proxy(forbids).await, "403", "proxy"),
        (proxy(Act::Close).await, "closed the connection", "proxy"),
        (
            proxy(Act::Answer("220 ftp\r\n\r\n")).await,
            "is not HTTP",
            "proxy",
        ),
        (away, "refused", "proxy"),
    ] {
        for transports in EACH {
            let proxy = format!("http://somebody:secret@{address}");
            let error = fails(through(&proxy, url, transports)).await;
            let told = error.detail().expect("a detail");
            let start = format!("the proxy http://{address} cannot be used: ");
            assert!(told.starts_with(&start), "{told}");
            // Without TLS, polling is forwarded by a proxy that makes no tunnels; this one does not.
            let forwards = what == "403" && transports == POLLING;
            let what = if forwards {
                "what it is to forward"
            } else {
                what
            };
            assert!(told.contains(what), "{told}");
            assert!(error.hint().expect("a hint").contains(hint), "{error:?}");
            let text = text(&error);
            assert!(
                !text.contains("secret") && !text.contains("somebody"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_socks_proxy_gets_the_name_or_the_address() {
    let files = Files::with("dial-socks", "localhost", |_| {});
    let plain = listen(&echo_server()).await.port();
    let secure = listen_tls(&files).await.port();
    for (wanted, given) in [
        (None, ""),
        (None, "user:unasked@"),
        (Some("user:p@ss"), "user:p%40ss@"),
    ] {
        for (kind, host) in [("socks5h", "name localhost"), ("socks5", "127.0.0.1")] {
            for transports in ALL {
                for (scheme, port) in [("http", plain), ("https", secure)] {
                    let proxy = Proxy::socks(wanted, 0).await;
                    let url = format!("{scheme}://localhost:{port}");
                    let client = through(&proxy.url(kind, given), &url, transports);
                    works(client.root_certificate(files.cert())).await;
                    // Where the name has several addresses, the one that is served comes last.
                    let asked = proxy.asked().pop();
                    assert_eq!(asked, Some(format!("{host}:{port}")));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_socks_proxy_that_does_not_serve_is_named_without_its_password() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let away = nobody.local_addr().expect("an address");
    drop(nobody);
    let proxy = async |credentials, code| Proxy::socks(credentials, code).await.address;
    for (address, what) in [
        (proxy(Some("somebody:secret"), 5).await, "refused"),
        (
            proxy(Some("somebody:other"), 0).await,
            "refused the user name or the password",
        ),
        (away, "refused"),
    ] {
        for transports in EACH {
            for scheme in ["socks5", "socks5h"] {
                let proxy = format!("{scheme}://somebody:secret@{address}");
                let error = fails(through(&proxy, "http://localhost:9", transports)).await;
                let told = error.detail().expect("a detail");
                let start = format!("the proxy {scheme}://{address} cannot be used: ");
                assert!(told.starts_with(&start), "{told}");
                assert!(told.contains(what), "{told}");
                assert!(error.hint().expect("a hint").contains("proxy"), "{error:?}");
                let text = text(&error);
                assert!(
                    !text.contains("secret") && !text.contains("somebody"),
                    "{text}"
                );
            }
        }
    }
    let wanting = Proxy::socks(Some("user:password"), 0).await;
    let url = wanting.url("socks5h", "");
    let error = fails(through(&url, "http://localhost:9", WEBSOCKET)).await;
    let told = error.detail().expect("a detail");
    assert!(
        told.ends_with("it wants a user name and a password"),
        "{told}"
    );
}

#[tokio::test]
async fn proxies_get_an_address_of_version_6() {
    // Not every machine has one.
    let Ok(listening) = echo_server().listen("[::1]:0").await else {
        return;
    };
    let address = listening.local_addr().expect("an address").to_string();
    tokio::spawn(listening.into_future());
    for scheme in ["http", "socks5", "socks5h"] {
        for transports in EACH {
            let proxy = match scheme {
                "http" => Proxy::http(Act::Tunnel).await,
                _ => Proxy::socks(None, 0).await,
            };
            let url = format!("http://{address}");
            works(through(&proxy.url(scheme, ""), &url, transports)).await;
            assert_eq!(proxy.asked(), [&*address]);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_refused_without_its_password() {
    for url in [
        "ftp://somebody:secret@localhost:21",
        "socks4://somebody:secret@localhost",
        "http://somebody:se/secret@localhost",
        "http://somebody:80/secret@localhost",
        "http://somebody:80?secret@localhost",
        "http://somebody:80#secret@localhost",
        "http://somebody:secret@",
    ] {
        let client = through(url, "http://localhost", WEBSOCKET);
        let debug = format!("{client:?}");
        let error = client.build().map(|_| ()).expect_err(url).to_string();
        assert!(error.starts_with("the proxy's URL has to "), "{error}");
        for text in [error, debug] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

// --- The environment ---

/// Connects as the variables of this process say. The test below starts it in processes with their own;
/// without those there is nothing to do.
#[tokio::test]
async fn in_an_environment() {
    let Ok(url) = std::env::var("DIAL_URL") else {
        return;
    };
    for transports in EACH {
        let client = builder(&url, transports).without_reconnection();
        works(match std::env::var("DIAL_WITHOUT_PROXY") {
            Ok(_) => client.without_proxy(),
            Err(_) => client,
        })
        .await;
    }
}

#[tokio::test]
async fn the_environment_names_a_proxy_and_what_needs_none() {
    let address = listen(&echo_server()).await;
    let (http, socks) = (Proxy::http(Act::Tunnel).await, Proxy::socks(None, 0).await);
    let proxy = http.url("http", "user:password@");
    let by_socks = socks.url("socks5", "");
    let asked = format!("{address} Basic dXNlcjpwYXNzd29yZA==");
    let expect = async |variables: &[(&str, &str)], expected: &[&str]| {
        in_process(address, variables).await;
        assert_eq!(http.asked(), expected, "{variables:?}");
        assert_eq!(socks.asked(), [""; 0], "{variables:?}");
    };
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        expect(&[(name, &proxy)], &[&asked]).await;
    }
    let named = ("HTTP_PROXY", &*proxy);
    expect(&[named, ("NO_PROXY", "a.example")], &[&asked]).await;
    expect(&[named, ("ALL_PROXY", &by_socks)], &[&asked]).await;
    expect(&[named, ("NO_PROXY", "a.example, 127.0.0.0/8")], &[]).await;
    expect(&[named, ("DIAL_WITHOUT_PROXY", "1")], &[]).await;
    expect(&[("HTTPS_PROXY", &proxy)], &[]).await;
    expect(&[], &[]).await;
    in_process(address, &[("ALL_PROXY", &by_socks)]).await;
    assert_eq!(socks.asked(), [address.to_string()]);
}

async fn in_process(address: SocketAddr, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUEST_METHOD",
    ] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .args(["--exact", "client_proxy::in_an_environment"])
        .env("DIAL_URL", format!("http://{address}"))
        .envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = soon(output).await.expect("a thread").expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}
