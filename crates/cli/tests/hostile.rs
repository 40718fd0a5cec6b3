//! A server (or a Redis) whose every text is meant for the terminal, the log or the report of who asks
//! it: nothing that `sio` prints or writes passes it on.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use socketio_proto::is_unprintable;

/// What is still running then hangs.
const HANGS: Duration = Duration::from_secs(120);

/// Colours, the terminal's title, lines and headings of one's own, marks of direction, a script.
const TEXT: &str = "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\r\nFORGED: all is well\n# FORGED\n\u{202e}evil\u{2066}\
                    \u{200f}\u{2028}<script>alert(1)</script><img src=x onerror=alert(1)>\u{7f}\u{0}";

/// The same, as far as a header may have it.
fn header() -> String {
    let is_kept = |c: &char| !matches!(c, '\r' | '\n' | '\0');
    TEXT.chars().filter(is_kept).collect()
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How the server is hostile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// What it says is no HTTP.
    Garbage,
    /// It refuses by a page.
    Page,
    /// It refuses as servers of Socket.IO do.
    Refusal,
    Redirect,
    /// Its open packet is odd.
    Open,
    /// It refuses the namespace.
    ConnectError,
    /// It lets everybody in, and talks.
    Events,
    /// Its WebSocket ends with a reason.
    Close,
}

const KINDS: [Kind; 8] = [
    Kind::Garbage,
    Kind::Page,
    Kind::Refusal,
    Kind::Redirect,
    Kind::Open,
    Kind::ConnectError,
    Kind::Events,
    Kind::Close,
];

fn serve(kind: Kind) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let queue = Arc::new(Mutex::new(VecDeque::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let queue = queue.clone();
            std::thread::spawn(move || while answer(kind, &stream, &queue).is_some() {});
        }
    });
    address
}

/// Answers one request; `None` ends the connection.
fn answer(kind: Kind, mut stream: &TcpStream, queue: &Mutex<VecDeque<String>>) -> Option<()> {
    let mut request = Vec::new();
    let mut bytes = [0; 4096];
    let end = loop {
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&bytes[..count]);
        if let Some(at) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
    while request.len() < end + length.unwrap_or(0) {
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&bytes[..count]);
    }
    let header = header();
    let respond = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} {header}\r\nServer: {header}\r\nX-Powered-By: {header}\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let open = |sid: &str| {
        let sid = json(sid);
        format!(
            r#"0{{"sid":{sid},"upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
        )
    };
    let is_websocket = head.contains("upgrade: websocket");
    let text = match kind {
        Kind::Garbage => TEXT.to_owned(),
        Kind::Page => respond("400", "Content-Type: text/html\r\n", TEXT),
        Kind::Refusal => {
            let body = format!(r#"{{"code":4,"message":{}}}"#, json(TEXT));
            respond("403", "Content-Type: application/json\r\n", &body)
        }
        Kind::Redirect => {
            let location = format!("Location: http://{header}/\r\n");
            respond("302", &location, TEXT)
        }
        Kind::Close if is_websocket => {
            let mut reason = vec![0x03, 0xe8];
            let text: String = TEXT.chars().take(60).collect();
            reason.extend_from_slice(text.as_bytes());
            let key = head
                .lines()
                .find_map(|line| line.strip_prefix("sec-websocket-key: "));
            let key = key.map(|_| {
                // The key as it was, since its letters count.
                let head = String::from_utf8_lossy(&request[..end]).into_owned();
                let line = head
                    .lines()
                    .find(|line| line.to_lowercase().starts_with("sec-websocket-key: "));
                line.map(|line| line[19..].trim().to_owned())
                    .unwrap_or_default()
            });
            let accept = socketio_proto::websocket::accept_key(key.unwrap_or_default().as_bytes());
            let accept = String::from_utf8_lossy(accept.as_ref()).into_owned();
            let head = format!(
                "HTTP/1.1 101 {header}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nServer: {header}\r\n\r\n"
            );
            let mut bytes = head.into_bytes();
            bytes.push(0x88);
            bytes.push(reason.len() as u8);
            bytes.extend_from_slice(&reason);
            stream.write_all(&bytes).ok()?;
            return None;
        }
        _ if is_websocket => respond("400", "", TEXT),
        Kind::Open => respond("200", "", &open(TEXT)),
        _ if !head.contains("sid=") => respond("200", "", &open("id")),
        _ if head.starts_with("post") => {
            let body = String::from_utf8_lossy(&request[end..]).into_owned();
            let mut queue = queue.lock().expect("no panic");
            if body.starts_with("40") {
                if kind == Kind::ConnectError {
                    let text = json(TEXT);
                    queue.push_back(format!(
                        r#"44{{"message":{text},"data":{{{text}:{text}}}}}"#
                    ));
                } else {
                    queue.push_back(format!(r#"40{{"sid":{}}}"#, json(TEXT)));
                    queue.push_back(format!("42[{0},{0},{{{0}:[{0}]}}]", json(TEXT)));
                }
            } else if let Some(rest) = body.strip_prefix("42") {
                let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
                queue.push_back(format!("43{id}[{0},{{{0}:1}}]", json(TEXT)));
            }
            respond("200", "", "ok")
        }
        _ => loop {
            if let Some(packet) = queue.lock().expect("no panic").pop_front() {
                break respond("200", "", &packet);
            }
            // A GET waits until there is something, or its client has gone.
            stream
                .set_read_timeout(Some(Duration::from_millis(20)))
                .ok()?;
            let read = stream.peek(&mut bytes);
            stream.set_read_timeout(None).ok()?;
            if matches!(read, Ok(0)) {
                return None;
            }
        },
    };
    stream.write_all(text.as_bytes()).ok()?;
    (kind != Kind::Garbage).then_some(())
}

/// Ends what it runs when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it to its end; gives what it wrote to both outputs.
fn output(words: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio"));
    command.args(words).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("sio runs"));
    let (said, hears) = mpsc::channel();
    let mut pipes: [(usize, Box<dyn Read + Send>); 2] = [
        (0, Box::new(running.0.stdout.take().expect("a pipe"))),
        (1, Box::new(running.0.stderr.take().expect("a pipe"))),
    ];
    for (number, pipe) in &mut pipes {
        let (said, number) = (said.clone(), *number);
        let mut pipe = std::mem::replace(pipe, Box::new(std::io::empty()));
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let text = String::from_utf8(bytes).expect("UTF-8");
            let _ = said.send((number, text));
        });
    }
    let mut texts = [String::new(), String::new()];
    for _ in 0..2 {
        let (number, text) = hears
            .recv_timeout(HANGS)
            .unwrap_or_else(|_| panic!("{words:?} does not end"));
        texts[number] = text;
    }
    let _ = running.0.wait();
    let [out, errors] = texts;
    (out, errors)
}

/// What a text may be acted on by.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Terminal,
    Program,
    Browser,
}

fn check(what: &str, text: &str, reader: Reader) {
    let bad = text.chars().find(|c| *c != '\n' && is_unprintable(*c));
    assert_eq!(bad, None, "{what}: {text:?}");
    let is_forged = |line: &str| line.starts_with("FORGED") || line.starts_with("# FORGED");
    if reader == Reader::Terminal {
        assert!(!text.lines().any(is_forged), "{what}: {text}");
    }
    if reader == Reader::Browser {
        let lower = text.to_lowercase();
        assert!(
            !lower.contains("<script>alert") && !lower.contains("<img src=x"),
            "{what}: {text}"
        );
    }
}

fn check_output(kind: Kind, words: &[&str], reader: Reader) {
    let (out, errors) = output(words);
    let what = format!("{kind:?}: sio {}", words.join(" "));
    assert!(
        !(out.is_empty() && errors.is_empty()),
        "{what} says nothing"
    );
    check(&what, &out, reader);
    check(&what, &errors, Reader::Terminal);
}

/// Markdown shows what is fenced as it is: that is no markup.
fn without_fences(markdown: &str) -> String {
    let mut fence: Option<String> = None;
    let mut rest = String::new();
    for line in markdown.lines() {
        let marks: String = line
            .trim_start()
            .chars()
            .take_while(|c| *c == '`')
            .collect();
        match &fence {
            None if marks.len() >= 3 => fence = Some(marks),
            Some(begin) if marks.len() >= begin.len() && line.trim() == marks => fence = None,
            None => rest += &format!("{line}\n"),
            Some(_) => {}
        }
    }
    rest
}

#[test]
fn a_hostile_server_cannot_speak_through_connect() {
    for kind in KINDS {
        for transport in ["polling", "websocket"] {
            let url = format!("http://{}", serve(kind));
            let common = ["connect", &url, "--transport", transport, "--for", "1"];
            check_output(kind, &common, Reader::Terminal);
            let json = [&common[..], &["--json"]].concat();
            check_output(kind, &json, Reader::Program);
            let words = ["connect", &url, "--transport", transport];
            let emit = [&words[..], &["--timeout", "1", "--emit", "hello", "--ack"]].concat();
            check_output(kind, &emit, Reader::Terminal);
        }
    }
}

#[test]
fn a_hostile_server_cannot_speak_through_bench() {
    for kind in KINDS {
        for transport in ["polling", "websocket"] {
            let url = format!("http://{}", serve(kind));
            let common = [
                "bench",
                &url,
                "echo",
                "-c",
                "1",
                "--for",
                "1",
                "--warm-up",
                "0",
                "--transport",
                transport,
            ];
            for (more, reader) in [
                (&[][..], Reader::Terminal),
                (&["--json", "-"], Reader::Program),
                (&["--html", "-"], Reader::Browser),
            ] {
                check_output(kind, &[&common[..], more].concat(), reader);
            }
        }
    }
}

#[test]
fn a_hostile_server_cannot_speak_through_the_doctor() {
    let directory = std::env::temp_dir().join(format!("sio-hostile-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    std::thread::scope(|scope| {
        for kind in KINDS {
            let directory = &directory;
            scope.spawn(move || {
                let url = format!("http://{}", serve(kind));
                let file = |end: &str| {
                    let path = directory.join(format!("{kind:?}.{end}"));
                    path.display().to_string()
                };
                let (md, har, junit) = (file("md"), file("har"), file("xml"));
                let files = ["--md", &md, "--har", &har, "--junit", &junit];
                let words = [&["doctor", &url][..], &files].concat();
                check_output(kind, &words, Reader::Terminal);
                let read = |path: &str| fs::read_to_string(Path::new(path)).expect("a report");
                check(&md, &read(&md), Reader::Program);
                check(&md, &without_fences(&read(&md)), Reader::Browser);
                check(&har, &read(&har), Reader::Program);
                check(&junit, &read(&junit), Reader::Browser);
                for lang in ["en", "es"] {
                    let words = ["doctor", &url, "--json", "--lang", lang];
                    check_output(kind, &words, Reader::Program);
                }
            });
        }
    });
    let _ = fs::remove_dir_all(&directory);
}

// Errors of a Redis that is none.
#[test]
fn a_hostile_redis_cannot_speak_through_emit() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                let answer = format!("-ERR {}\r\n", header());
                if stream.write_all(answer.repeat(8).as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    let url = format!("redis://{address}");
    check_output(
        Kind::Refusal,
        &["emit", "--redis", &url, "hello"],
        Reader::Terminal,
    );
    let url = format!("postgres://a:b@{address}/c");
    check_output(
        Kind::Refusal,
        &["emit", "--postgres", &url, "hello"],
        Reader::Terminal,
    );
}
