//! Answers of all kinds on a pipe.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_util::future::join_all;
use http::header::SET_COOKIE;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::client::dial::Stream;

/// A whole answer, and then the end of the connection.
async fn answer(bytes: &[u8]) -> (Exchange<DuplexStream>, Result<Head, HttpError>) {
    let (near, mut far) = duplex(1 << 20);
    far.write_all(bytes).await.expect("room");
    far.shutdown().await.expect("an end");
    let mut exchange = Exchange::new(near, Vec::new());
    let head = exchange.head().await;
    (exchange, head)
}

async fn body(bytes: &[u8], max: usize) -> Result<(Vec<u8>, End), String> {
    let (mut exchange, head) = answer(bytes).await;
    let head = head.map_err(|error| error.to_string())?;
    let body = exchange.body(&head, max).await;
    body.map_err(|error| error.to_string())
}

async fn text(head: &str, rest: &[u8]) -> Result<String, String> {
    let bytes = [b"HTTP/1.1 200 OK\r\n", head.as_bytes(), b"\r\n", rest].concat();
    let (body, _) = body(&bytes, 1000).await?;
    Ok(String::from_utf8(body).expect("text"))
}

async fn head_error(bytes: &str) -> String {
    let (_, head) = answer(bytes.as_bytes()).await;
    head.expect_err("no head").to_string()
}

#[tokio::test]
async fn a_body_ends_by_its_length_its_chunks_or_with_the_connection() {
    for (head, rest, expected) in [
        ("Content-Length: 2\r\n", "abc", "ab"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "abc", "ab"),
        ("Content-Length: 2, 2\r\n", "abc", "ab"),
        ("Content-Length: 0\r\n", "", ""),
        ("", "abc", "abc"),
        (
            "Transfer-Encoding: chunked\r\n",
            "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            "abc",
        ),
        (
            "Transfer-Encoding: CHUNKED\r\n",
            "1;x=\"y\"\r\na\r\n2 \r\nbc\r\n0\r\nX: y\r\n\r\n",
            "abc",
        ),
        // RFC 9112, section 6.3: the chunks decide.
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n",
            "1\r\na\r\n0\r\n\r\n",
            "a",
        ),
        ("Transfer-Encoding: identity\r\n", "abc", "abc"),
    ] {
        assert_eq!(
            text(head, rest.as_bytes()).await.as_deref(),
            Ok(expected),
            "{head}"
        );
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(
            body(answer.as_bytes(), 10).await,
            Ok((Vec::new(), End::Complete))
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_told() {
    let endless = "1\r\na\r\n".repeat(120_000);
    let extended = format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(20);
    for (head, rest, expected) in [
        (
            "Content-Length: 9\r\n",
            "abc",
            "the connection ended after 3 bytes of it, of 9",
        ),
        (
            "Content-Length: +3\r\n",
            "abc",
            "its length is given as \"+3\"",
        ),
        (
            "Content-Length: 3, 4\r\n",
            "abc",
            "its length is given as \"3, 4\"",
        ),
        (
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "abc",
            "its length is given as \"3, 4\"",
        ),
        (
            "Content-Length: 1001\r\n",
            "abc",
            "the connection ended after 3 bytes of it, of 1001",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "x\r\n",
            "its chunks are malformed: a length is not one",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "1\r\nab\r\n",
            "its chunks are malformed: one is longer than it says",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "2\r\nab\r\n",
            "the connection ended after 2 bytes of it",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "3e9\r\na",
            "the connection ended after 1 bytes of it",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            &extended,
            "its chunks are malformed: they have too much beside them",
        ),
    ] {
        let error = text(head, rest.as_bytes()).await.expect_err("an error");
        assert_eq!(
            error,
            format!("in the body of the answer: {expected}"),
            "{head}"
        );
    }
    let error = text("Content-Encoding: br\r\n", b"\x0b\x02\x80").await;
    let expected =
        "in the body of the answer: it is compressed with br, for which nobody has asked";
    assert_eq!(error, Err(expected.to_owned()));
    // A name is not believed where the body needs no unpacking.
    assert_eq!(
        text("Content-Encoding: none\r\n", b"abc").await.as_deref(),
        Ok("abc")
    );
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{endless}");
    let error = body(chunked.as_bytes(), 1 << 20)
        .await
        .expect_err("too many");
    assert!(
        error.ends_with("they are too many and too small"),
        "{error}"
    );
    for head in [
        "",
        "Content-Length: 2000\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let rest = ["7d0\r\n", &"x".repeat(2000)].concat();
        let error = text(head, rest.as_bytes()).await.expect_err("too large");
        assert!(
            error.ends_with("it is larger than the 1000 bytes of `max_message`"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_body_that_was_packed_unasked_is_unpacked_within_bounds() {
    let packed = |plain: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(plain).expect("memory");
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(plain).expect("memory");
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(plain).expect("memory");
        [
            ("gzip", gzip.finish().expect("memory")),
            ("X-GZip", [packed_gzip(plain), Vec::new()].concat()),
            ("deflate", zlib.finish().expect("memory")),
            ("deflate", raw.finish().expect("memory")),
            ("identity", plain.to_vec()),
        ]
    };
    for (name, bytes) in packed(b"0{} and more") {
        let head = format!("Content-Encoding: {name}\r\n");
        assert_eq!(
            text(&head, &bytes).await.as_deref(),
            Ok("0{} and more"),
            "{name}"
        );
    }
    for (name, bytes) in packed(&[b'x'; 1001]) {
        let head = format!("Content-Encoding: {name}\r\n");
        let error = text(&head, &bytes).await.expect_err("too large");
        assert!(
            error.ends_with("larger than the 1000 bytes of `max_message`"),
            "{error}"
        );
    }
    let cut = packed_gzip(b"0{} and more");
    let error = text("Content-Encoding: gzip\r\n", &cut[..cut.len() - 9]).await;
    let error = error.expect_err("cut");
    assert!(error.contains("it cannot be unpacked"), "{error}");
}

fn packed_gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain).expect("memory");
    gzip.finish().expect("memory")
}

#[tokio::test]
async fn answers_that_only_say_to_wait_are_skipped() {
    let waits = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    for status in [101, 200, 403] {
        let bytes = format!("{waits}HTTP/1.1 {status} X\r\n\r\n");
        let (_, head) = answer(bytes.as_bytes()).await;
        assert_eq!(head.expect("a head").status, status);
    }
    let error = head_error(&waits.repeat(2000)).await;
    assert_eq!(
        error,
        "the head of the answer cannot be used: it is longer than 64 KiB"
    );
}

#[tokio::test]
async fn heads_are_read_as_leniently_as_browsers_do() {
    let good = "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n";
    assert!(!Head::parse(good.as_bytes()).expect("good").is_odd);
    for odd in [
        "HTTP/1.1  200  OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Folded: a\r\n\tb\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Space : a\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon at all\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: nameless\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX(y): a\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \x01\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\n",
    ] {
        let (mut exchange, head) = answer(format!("{odd}ab").as_bytes()).await;
        let head = head.unwrap_or_else(|error| panic!("{odd}: {error}"));
        // Who reads it otherwise may find another end.
        assert!(head.is_odd && !head.keeps_connection(), "{odd}");
        assert_eq!(
            (head.status, &head.headers[SET_COOKIE]),
            (200, &"a=b".parse().expect("text"))
        );
        let (body, end) = exchange.body(&head, 10).await.expect("a body");
        assert_eq!((&*body, end), (&b"ab"[..], End::Complete), "{odd}");
    }
    for lines in ["X: y\r\n".repeat(500), "X: y\n".repeat(500)] {
        let head = Head::parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes());
        assert!(!head.expect("not too many").is_odd);
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(501));
    assert_eq!(
        head_error(&many).await,
        "the head of the answer cannot be used: it has more than 500 lines"
    );
}

#[tokio::test]
async fn the_length_of_a_body_is_never_guessed() {
    for name in ["Content-Length", "transfer-encoding"] {
        let value = if name.len() == 14 { "2" } else { "chunked" };
        for line in [
            format!("{name} : {value}"),
            format!(" {name}: {value}"),
            format!("\t{name}: {value}"),
            format!("{name}\x0b: {value}"),
            format!("\x00{name}: {value}"),
            name.to_owned(),
            format!("{name}:\r\n {value}"),
            format!("{name}: {value}\r\n\t"),
            format!("{name}: {value}\x01"),
            format!("({name}): {value}"),
        ] {
            // The second line makes sure that it is looked at leniently.
            let head = format!("HTTP/1.1 200 OK\r\nX: y\r\n{line}\r\nodd\r\n\r\n");
            let error = head_error(&head).await;
            assert!(
                error.contains("a line that gives the length of its body is malformed"),
                "{line:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_told_apart_from_http_that_cannot_be_used() {
    for (bytes, expected, is_silence) in [
        (
            "",
            "the server closed the connection without an answer",
            true,
        ),
        (
            "SSH-2.0-OpenSSH_9.6\r\n",
            "the answer is not HTTP: it begins with \"SSH-2.0-OpenSSH_\"",
            true,
        ),
        (
            "\x15\x03\x01",
            "the answer is not HTTP: it begins with \"\\x15\\x03\\x01\"",
            true,
        ),
        (
            "HTTP",
            "the connection ended within the head of the answer: \"HTTP\"",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nX:",
            "the connection ended within the head of the answer: \"HTTP/1.1 200 OK\\\"",
            false,
        ),
        (
            "HTTP/3 200\r\n\r\n",
            "the head of the answer cannot be used: invalid HTTP version",
            false,
        ),
    ] {
        let (_, head) = answer(bytes.as_bytes()).await;
        let error = head.expect_err("no head");
        if !expected.contains("OK") {
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(error.is_silence(), is_silence, "{bytes}");
    }
}

#[tokio::test]
async fn the_body_of_a_refusal_is_not_waited_for_without_end() {
    let cases = [
        ("Transfer-Encoding: chunked\r\n", "3\r\nwhy\r\n", "why"),
        ("", "why", "why"),
        ("Content-Length: 9\r\n", "why", "why"),
        ("Content-Length: 3\r\n", "why", "why"),
        ("Content-Length: -1\r\n", "why", ""),
    ];
    join_all(cases.map(async |(head, rest, expected)| {
        let (near, mut far) = duplex(1 << 20);
        let bytes = format!("HTTP/1.1 403 Forbidden\r\n{head}\r\n{rest}");
        far.write_all(bytes.as_bytes()).await.expect("room");
        let mut exchange = Exchange::new(near, Vec::new());
        let head = exchange.head().await.expect("a head");
        assert_eq!(exchange.refusal(&head).await, expected.as_bytes());
        drop(far);
    }))
    .await;
}

#[tokio::test]
async fn a_server_may_refuse_what_it_does_not_read() {
    // The request does not fit into the pipe.
    let (near, mut far) = duplex(1024);
    far.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        .await
        .expect("room");
    let mut exchange = Exchange::new(near, vec![b'x'; 1 << 20]);
    let head = exchange.head().await.expect("a head");
    assert_eq!(head.status, 413);
    assert_eq!(exchange.refusal(&head).await, b"big");
}

#[tokio::test]
async fn a_server_may_agree_before_it_has_read() {
    let (near, mut far) = duplex(1024);
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .expect("room");
    let mut exchange = Exchange::new(near, vec![b'x'; 1 << 20]);
    let reading = tokio::spawn(async move {
        let mut request = Vec::new();
        far.read_to_end(&mut request).await.expect("a request");
        request.len()
    });
    let head = exchange.head().await.expect("a head");
    assert_eq!(exchange.body(&head, 10).await.expect("a body").0, b"ok");
    drop(exchange);
    assert_eq!(reading.await.expect("no panic"), 1 << 20);
}

#[test]
fn a_request_cannot_be_split_by_its_target() {
    let request = |target| request(&Method::GET, target, &HeaderMap::new());
    assert_eq!(
        request("/a?b=c").expect("a request"),
        b"GET /a?b=c HTTP/1.1\r\n"
    );
    for target in ["/a b", "/a\r\nX: y", "/\n"] {
        assert!(request(target).is_err(), "{target:?}");
    }
}

fn idle() -> (Stream, DuplexStream) {
    let (near, far) = duplex(64);
    (Box::new(near), far)
}

fn kept(lines: &str) -> Head {
    let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    Head::parse(head.as_bytes()).expect("a head")
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn watch(connections: &Connections, habits: &Habits, now: Instant) {
    poll_fn(|cx| {
        connections.watch(habits, now, cx);
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn reuse_is_earned_and_lost() {
    let (habits, connections) = (Habits::default(), Connections::new());
    let now = Instant::now();
    let (near, _far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    watch(&connections, &habits, now + ms(99)).await;
    assert!(
        connections.take(&habits, now + ms(99)).await.is_none(),
        "too early"
    );
    watch(&connections, &habits, now + ms(100)).await;
    let now = now + ms(100);
    let stream = connections.take(&habits, now).await.expect("earned");
    // From then on at once.
    connections.keep(&habits, stream, &kept(""), now);
    assert!(connections.take(&habits, now).await.is_some());

    // Nor one on which something has come.
    let (near, mut far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    far.write_all(b"HTTP/1.1 408 X\r\n\r\n")
        .await
        .expect("room");
    assert!(connections.take(&habits, now + ms(3900)).await.is_none());

    // What ends a connection late says how patient something on the way is.
    let (near, far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    drop(far);
    assert!(connections.take(&habits, now + ms(2000)).await.is_none());
    let (near, _far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    assert!(
        connections.take(&habits, now + ms(1600)).await.is_none(),
        "idle for too long"
    );

    // Closed right after its answer: never again.
    assert!(!habits.closes());
    let (near, far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    drop(far);
    watch(&connections, &habits, now + ms(99)).await;
    assert!(habits.closes());
    let (near, _far) = idle();
    connections.keep(&habits, near, &kept(""), now);
    assert!(connections.take(&habits, now).await.is_none());
}

#[tokio::test]
async fn what_the_server_says_of_its_connections_is_heeded() {
    for (lines, idle_for, is_kept) in [
        ("", 3900, true),
        ("", 4100, false),
        ("Keep-Alive: timeout=2, max=100\r\n", 900, true),
        ("Keep-Alive: timeout=2\r\n", 1100, false),
        ("Keep-Alive: timeout=1\r\n", 600, false),
        ("Keep-Alive: timeout=0\r\n", 0, false),
        ("Keep-Alive: timeout=60\r\n", 3900, true),
        ("Keep-Alive: timeout=60\r\n", 4100, false),
        ("Connection: close\r\n", 0, false),
        ("Connection: foo, Close\r\n", 0, false),
        ("Connection: keep-alive\r\n", 0, true),
    ] {
        let (habits, connections) = (Habits::default(), Connections::new());
        let now = Instant::now();
        let (near, _far) = idle();
        connections.keep(&habits, near, &kept(""), now);
        watch(&connections, &habits, now + ms(100)).await;
        drop(connections.take(&habits, now).await.expect("earned"));
        let (near, _far) = idle();
        connections.keep(&habits, near, &kept(lines), now);
        let taken = connections.take(&habits, now + ms(idle_for)).await;
        assert_eq!(taken.is_some(), is_kept, "{lines}{idle_for}");
    }
    let habits = Habits::default();
    let (near, _far) = idle();
    let old = Head::parse(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").expect("a head");
    Connections::new().keep(&habits, near, &old, Instant::now());
    assert!(habits.closes());
}
