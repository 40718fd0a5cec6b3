//! Proxies that lead to one server whatever they are asked for, and tell what that was, so that no
//! test needs a name server.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::socks::SocksError;
use super::tests::{
    Files, assert_pong, connected, dialer, direct, failure, listener, plain, pong, refusing,
    server, soon, through, tls,
};
use super::tls_tests::{Authority, config, params, tls_server};
use super::*;

/// An HTTP proxy, which tells the heads of its requests. Without an answer it leads to the server.
async fn http_proxy(
    server: SocketAddr,
    answer: Option<String>,
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (listener, address) = listener().await;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let _ = sender.send(String::from_utf8(head).expect("text"));
            match &answer {
                Some(answer) => {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
                None => {
                    let established = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
                    stream.write_all(established).await.expect("to write");
                    let mut onward = TcpStream::connect(server).await.expect("the server");
                    let _ = copy_bidirectional(&mut stream, &mut onward).await;
                }
            }
        }
    });
    (address, receiver)
}

#[tokio::test]
async fn an_http_proxy_leads_to_plain_targets_and_to_those_with_tls() {
    let files = Files::new("tunnel");
    let authority = Authority::new();
    let identity = authority.issue(params(&["server.test"]));
    let (tls_port, _told) = tls_server(config(&identity)).await;

    let (proxy, mut asked) = http_proxy(server().await, None).await;
    let options = through(format!("http://{proxy}"));
    assert_pong(connected(options, plain("server.test", 80)).await).await;
    assert_eq!(
        soon(asked.recv()).await.as_deref(),
        Some("CONNECT server.test:80 HTTP/1.1\r\nHost: server.test:80\r\n\r\n")
    );

    let (proxy, mut asked) = http_proxy((Ipv4Addr::LOCALHOST, tls_port).into(), None).await;
    let options = DialOptions {
        tls: authority.trusted(&files).tls,
        ..through(format!("http://user:p%40ss@{proxy}"))
    };
    assert_pong(connected(options, tls("server.test", 443)).await).await;
    assert_eq!(
        soon(asked.recv()).await.as_deref(),
        Some(
            "CONNECT server.test:443 HTTP/1.1\r\nHost: server.test:443\r\n\
             Proxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn an_ipv6_target_is_asked_for_in_brackets() {
    let (proxy, mut asked) = http_proxy(server().await, None).await;
    let options = through(format!("http://{proxy}"));
    assert_pong(connected(options, plain("2001:db8::1", 3000)).await).await;
    assert_eq!(
        soon(asked.recv()).await.as_deref(),
        Some("CONNECT [2001:db8::1]:3000 HTTP/1.1\r\nHost: [2001:db8::1]:3000\r\n\r\n")
    );
}

#[tokio::test]
async fn a_proxy_is_spoken_to_by_tls_when_its_url_says_so() {
    let files = Files::new("tls-proxy");
    let authority = Authority::new();
    let identity = authority.issue(params(&["127.0.0.1"]));
    let (listener, address) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config(&identity)));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("TLS");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.expect("a request");
        }
        let ok = b"HTTP/1.1 200 OK\r\n\r\n";
        stream.write_all(ok).await.expect("to write");
        pong(stream).await;
    });
    let options = || DialOptions {
        tls: authority.trusted(&files).tls,
        ..through(format!("https://{address}"))
    };
    assert_pong(connected(options(), plain("server.test", 80)).await).await;
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_without_its_credentials() {
    let told = async |answer: &str| {
        let server = (Ipv4Addr::LOCALHOST, 1).into();
        let (proxy, _asked) = http_proxy(server, Some(answer.to_owned())).await;
        let options = through(format!("http://user:secret@{proxy}"));
        let error = failure(options, tls("server.test", 443)).await;
        assert!(error.hint().is_some_and(|hint| hint.contains("NO_PROXY")));
        let prefix = format!("the proxy http://{proxy} cannot be used: ");
        let text = error.to_string();
        text.strip_prefix(&prefix).expect(&text).to_owned()
    };
    assert_eq!(
        told("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno").await,
        "the proxy refused: 407 Proxy Authentication Required"
    );
    assert_eq!(
        told("HTTP/1.1 502 \r\n\r\n").await,
        "the proxy refused: 502 Bad Gateway"
    );
    assert_eq!(told("").await, "it closed the connection without an answer");
    assert!(
        told("SSH-2.0-x\r\n")
            .await
            .starts_with("its answer is not HTTP: ")
    );
    assert_eq!(
        told("HTTP/1.1 200 OK\r\n\r\n<html>").await,
        "it sent more than the head of its answer"
    );
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(64 * 1024));
    assert_eq!(
        told(&endless).await,
        "the head of its answer cannot be used: it is longer than 64 KiB"
    );
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_to_blame() {
    let (_bound, address) = refusing();
    for scheme in ["http", "socks5h"] {
        let options = through(format!("{scheme}://{address}"));
        let text = failure(options, plain("server.test", 80)).await.to_string();
        let expected =
            format!("the proxy {scheme}://{address} cannot be used: {address} cannot be reached: ");
        assert!(text.starts_with(&expected), "{text}");
    }
}

/// A SOCKS proxy, which tells what it is asked for.
struct Socks {
    /// Name and password.
    credentials: Option<(&'static str, &'static str)>,
    reply: u8,
    /// Addresses of other kinds are refused.
    kinds: &'static [u8],
    /// The address from which it says to connect.
    bound: &'static [u8],
}

const SOCKS: Socks = Socks {
    credentials: None,
    reply: 0,
    kinds: &[1, 3, 4],
    bound: &[1, 127, 0, 0, 1, 0, 80],
};

impl Socks {
    async fn start(self, server: SocketAddr) -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (listener, address) = listener().await;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Ok(request) = self.serve(&mut stream, server).await {
                    let _ = sender.send(request);
                }
            }
        });
        (address, receiver)
    }

    async fn serve(&self, stream: &mut TcpStream, server: SocketAddr) -> io::Result<Vec<u8>> {
        assert_eq!(stream.read_u8().await?, 5);
        let mut methods = vec![0; stream.read_u8().await?.into()];
        stream.read_exact(&mut methods).await?;
        let method = if self.credentials.is_some() { 2 } else { 0 };
        if !methods.contains(&method) {
            stream.write_all(&[5, 0xff]).await?;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.write_all(&[5, method]).await?;
        if let Some((user, password)) = self.credentials {
            assert_eq!(stream.read_u8().await?, 1);
            let mut is_right = true;
            for expected in [user, password] {
                let mut text = vec![0; stream.read_u8().await?.into()];
                stream.read_exact(&mut text).await?;
                is_right &= text == expected.as_bytes();
            }
            stream.write_all(&[1, u8::from(!is_right)]).await?;
        }
        let mut request = vec![0; 4];
        stream.read_exact(&mut request).await?;
        let length = match request[3] {
            1 => 4,
            4 => 16,
            _ => usize::from(stream.read_u8().await?),
        };
        request.resize(4 + length + 2, 0);
        stream.read_exact(&mut request[4..]).await?;
        let is_known = self.kinds.contains(&request[3]);
        let reply = if is_known { self.reply } else { 8 };
        stream.write_all(&[5, reply, 0]).await?;
        stream.write_all(self.bound).await?;
        if reply == 0 {
            let mut onward = TcpStream::connect(server).await?;
            let _ = copy_bidirectional(stream, &mut onward).await;
        }
        Ok(request)
    }
}

#[tokio::test]
async fn a_socks_proxy_resolves_names_itself_only_with_socks5h() {
    let server = server().await;
    let (proxy, mut asked) = SOCKS.start(server).await;
    let options = through(format!("socks5h://{proxy}"));
    assert_pong(connected(options, plain("server.test", 0x1234)).await).await;
    assert_eq!(
        soon(asked.recv()).await.as_deref(),
        Some(b"\x05\x01\x00\x03server.test\x12\x34".as_slice())
    );

    let options = || through(format!("socks5://{proxy}"));
    for (host, expected) in [
        (
            "127.0.0.9",
            b"\x05\x01\x00\x01\x7f\0\0\x09\x12\x34".to_vec(),
        ),
        (
            "::7",
            [b"\x05\x01\x00\x04".as_slice(), &[0; 15], b"\x07\x12\x34"].concat(),
        ),
    ] {
        assert_pong(connected(options(), plain(host, 0x1234)).await).await;
        assert_eq!(soon(asked.recv()).await, Some(expected));
    }
    assert_pong(connected(options(), plain("localhost", 0x1234)).await).await;
    let kind = soon(asked.recv()).await.expect("a request")[3];
    assert!(kind == 1 || kind == 4, "an address of kind {kind}");
}

#[tokio::test]
async fn a_socks_proxy_is_asked_for_one_address_after_the_other() {
    let server = server().await;
    let only_ipv4 = Socks {
        kinds: &[1],
        ..SOCKS
    };
    let (address, mut asked) = only_ipv4.start(server).await;
    let dialer = dialer(through(format!("socks5://{address}")));
    let proxy = dialer
        .0
        .proxies
        .of(&plain("localhost", 1))
        .expect("a proxy");
    let connect = async |hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        soon(proxy.socks_to(&dialer, &hosts, 1)).await
    };
    assert_pong(
        connect(&["::7", "127.0.0.9", "127.0.0.8"])
            .await
            .expect("connected"),
    )
    .await;
    for expected in [4, 1] {
        assert_eq!(soon(asked.recv()).await.expect("a request")[3], expected);
    }
    let refused = connect(&["::7", "::8"]).await.map(|_| ());
    let text = "the proxy refused: it does not know this kind of address";
    assert_eq!(refused, Err(text.to_owned()));
}

#[tokio::test]
async fn a_socks_proxy_may_answer_with_any_kind_of_address() {
    let server = server().await;
    for bound in [b"\x04abcdefghijklmnopqr".as_slice(), b"\x03\x03abcqr"] {
        let (proxy, _asked) = Socks { bound, ..SOCKS }.start(server).await;
        let options = through(format!("socks5h://{proxy}"));
        assert_pong(connected(options, plain("server.test", 80)).await).await;
    }
}

#[tokio::test]
async fn a_socks_proxy_is_told_name_and_password_only_if_it_asks() {
    let server = server().await;
    let credentials = Some(("user", "p@ss"));
    let (asking, _asked) = Socks {
        credentials,
        ..SOCKS
    }
    .start(server)
    .await;
    let (open, _asked) = SOCKS.start(server).await;
    for proxy in [asking, open] {
        let options = through(format!("socks5h://user:p%40ss@{proxy}"));
        assert_pong(connected(options, plain("server.test", 80)).await).await;
    }
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_understood() {
    let told = async |socks: Socks, credentials: &str| {
        let (proxy, _asked) = socks.start((Ipv4Addr::LOCALHOST, 1).into()).await;
        let options = through(format!("socks5h://{credentials}{proxy}"));
        let text = failure(options, plain("server.test", 80)).await.to_string();
        let prefix = format!("the proxy socks5h://{proxy} cannot be used: ");
        text.strip_prefix(&prefix).expect(&text).to_owned()
    };
    let asking = || Socks {
        credentials: Some(("user", "secret")),
        ..SOCKS
    };
    assert_eq!(
        told(asking(), "").await,
        "it wants a user name and a password"
    );
    assert_eq!(
        told(asking(), "user:wrong@").await,
        "it refused the user name or the password"
    );
    let long = format!("user:{}@", "x".repeat(256));
    assert_eq!(
        told(asking(), &long).await,
        "the password is longer than 255 bytes"
    );
    let refusing = |reply| Socks { reply, ..SOCKS };
    assert_eq!(
        told(refusing(5), "").await,
        "the proxy refused: connection refused"
    );
    assert_eq!(told(refusing(99), "").await, "the proxy refused: reply 99");

    let (mut stream, mut other) = duplex(64);
    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
    other.write_all(answer).await.expect("to write");
    let what = soon(socks::connect(&mut stream, "server.test", 80, None)).await;
    let expected = SocksError::Failed("it does not speak SOCKS 5".to_owned());
    assert_eq!(what, Err(expected));
}

#[test]
fn the_environment_chooses_the_proxy_of_each_target() {
    let proxies = |variables: &[(&str, &str)]| {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Proxies::from_variables(move |name| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        })
    };
    let all = [
        ("ALL_PROXY", "socks5://all"),
        ("http_proxy", "http://for-http:8080"),
        ("NO_PROXY", "localhost, .internal.test,10.0.0.0/8,::1"),
    ];
    let chosen = |proxies: &Proxies, target: Target| {
        let proxy = proxies.of(&target)?;
        Some(proxy.url())
    };
    let both = proxies(&all);
    assert_eq!(
        chosen(&both, plain("server.test", 80)).as_deref(),
        Some("http://for-http:8080")
    );
    assert_eq!(
        chosen(&both, tls("server.test", 443)).as_deref(),
        Some("socks5://all")
    );
    for host in ["localhost", "a.internal.test", "10.1.2.3", "::1"] {
        assert_eq!(chosen(&both, tls(host, 443)), None, "{host}");
    }
    assert!(chosen(&both, tls("2001:db8::1", 443)).is_some());

    let none = proxies(&[]);
    assert_eq!(chosen(&none, plain("server.test", 80)), None);
    let every = proxies(&[("ALL_PROXY", "http://all"), ("NO_PROXY", "*")]);
    assert_eq!(chosen(&every, plain("server.test", 80)), None);
    let empty = proxies(&[("HTTP_PROXY", ""), ("http_proxy", "lower:1")]);
    assert_eq!(
        chosen(&empty, plain("server.test", 80)).as_deref(),
        Some("http://lower:1")
    );
    let both = proxies(&[("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1")]);
    assert_eq!(
        chosen(&both, plain("server.test", 80)).as_deref(),
        Some("http://lower:1")
    );
    assert_eq!(chosen(&every, plain("10.1.2.3", 80)), None);
    assert_eq!(chosen(&every, plain("::1", 80)), None);
    // A dot at the end changes nothing, on either side.
    let dotted = proxies(&[
        ("ALL_PROXY", "http://all"),
        ("NO_PROXY", "server.test., b.test"),
    ]);
    for host in ["server.test", "server.test.", "b.test."] {
        assert_eq!(chosen(&dotted, plain(host, 80)), None, "{host}");
    }
    assert!(chosen(&dotted, plain("c.test.", 80)).is_some());
    let script = proxies(&[("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")]);
    assert_eq!(chosen(&script, plain("server.test", 80)), None);
}

#[tokio::test]
async fn a_variable_that_names_no_proxy_is_an_error_where_it_applies() {
    let proxies = Proxies::from_variables(|name| match name {
        "HTTPS_PROXY" => Some("ftp://user:secret@host".to_owned()),
        "NO_PROXY" => Some("direct.test".to_owned()),
        _ => None,
    });
    assert!(proxies.of(&plain("server.test", 80)).is_none());
    assert!(proxies.of(&tls("direct.test", 443)).is_none());
    let proxy = proxies.of(&tls("server.test", 443)).expect("a proxy");
    let dialer = Dialer::new(direct()).expect("options");
    let target = tls("server.test", 443);
    let error = proxy.connect(&dialer, &target, true).await.map(drop);
    assert_eq!(
        error.expect_err("no proxy").to_string(),
        "the proxy host cannot be used: what HTTPS_PROXY says is no URL of a proxy: it has to \
         begin with http://, https://, socks5:// or socks5h://, and its port, if there is one, to be a \
         number from 1 to 65535"
    );
}

#[test]
fn a_proxy_of_another_kind_is_refused_without_its_password() {
    for url in [
        "ftp://user:secret@host",
        "socks4://user:secret@host",
        "http://user:80/secret@host",
        "http://user:80#secret@host",
        "http://user:secret@host:99999",
        "http://user:secret@host:x",
        "http://user:secret@host:0",
    ] {
        let error = Dialer::new(through(url)).expect_err("a mistake");
        let error = error.to_string();
        let text = "the proxy's URL has to begin with http://, https://, socks5:// or socks5h://, \
                    to have a host, and a port from 1 to 65535 if any, unlike \"host";
        assert!(
            error.starts_with(text) && !error.contains("secret"),
            "{error}"
        );
    }
    let options = through("http://user:secret@host");
    assert!(!format!("{options:?}").contains("secret"));
}
