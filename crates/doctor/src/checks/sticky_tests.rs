//! Whether sessions stick, told again and again of servers behind balancers of all kinds.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::ALL;
use super::sticky::Stickiness;
use crate::check::{Check, Id, Outcome};
use crate::facts::Patient;
use crate::options::Options;
use crate::target::Target;
use crate::texts::Verdict;
use crate::wire::Wire;

/// How the next server is chosen.
#[derive(Clone, Copy, Debug)]
enum Route {
    Random,
    Rotation,
}

/// Whether a cookie comes with the handshake.
#[derive(Clone, Copy, Debug)]
enum Cookie {
    None,
    /// The balancer follows it.
    Sticky,
    Unrelated,
}

struct Balancer {
    backends: Vec<HashSet<String>>,
    route: Route,
    cookie: Cookie,
    next: usize,
    /// Sessions are forgotten at once.
    forgets: bool,
    random: StdRng,
}

impl Balancer {
    fn answer(&mut self, head: &str) -> String {
        let after = |name: &str| {
            let found = head.split_once(name)?.1;
            found.split(['&', ' ', ';', '\r']).next().map(str::to_owned)
        };
        let count = self.backends.len();
        let by_rule = match self.route {
            Route::Random => self.random.random_range(0..count),
            Route::Rotation => self.next % count,
        };
        self.next += 1;
        let named = after("route=").and_then(|route| route.parse().ok());
        let backend = match (self.cookie, named) {
            (Cookie::Sticky, Some(named)) => named,
            _ => by_rule,
        };
        let (start, body, cookie) = match after("sid=") {
            None => {
                let sid = format!("sid{}", self.next);
                if !self.forgets {
                    self.backends[backend].insert(sid.clone());
                }
                let cookie = match self.cookie {
                    Cookie::None => String::new(),
                    _ => format!("Set-Cookie: route={backend}; Path=/\r\n"),
                };
                let open = format!(
                    r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":25000,"pingTimeout":20000}}"#
                );
                ("200 OK", open, cookie)
            }
            Some(sid) if self.backends[backend].contains(&sid) => {
                ("200 OK", "ok".to_owned(), String::new())
            }
            Some(_) => {
                let body = r#"{"code":1,"message":"Session ID unknown"}"#.to_owned();
                ("400 Bad Request", body, String::new())
            }
        };
        let length = body.len();
        format!("HTTP/1.1 {start}\r\n{cookie}Content-Length: {length}\r\n\r\n{body}")
    }
}

async fn serve(mut stream: TcpStream, balancer: Arc<Mutex<Balancer>>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = |head: &str| {
            let head = head.to_ascii_lowercase();
            let value = head.split_once("content-length: ")?.1.lines().next()?;
            value.trim().parse().ok()
        };
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let length = length(head).unwrap_or(0)
            && body.len() >= length
        {
            let answer = balancer.lock().answer(head);
            bytes.drain(..head.len() + 4 + length);
            stream.write_all(answer.as_bytes()).await.ok()?;
        } else if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// What the check says of so many servers.
async fn examined(backends: usize, route: Route, cookie: Cookie, seed: u64) -> Option<Verdict> {
    let balancer = Balancer {
        backends: vec![HashSet::new(); backends.max(1)],
        route,
        cookie,
        next: 0,
        forgets: backends == 0,
        random: StdRng::seed_from_u64(seed),
    };
    let balancer = Arc::new(Mutex::new(balancer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, balancer.clone()));
        }
    });
    let options = Options::new(&url);
    let target = Target::parse(&url, &options.path, None).unwrap();
    let wire = Wire::new(target, &options);
    let mut patient = Patient::new(options, wire, None);
    let needed = [Id::D01, Id::D02, Id::D03, Id::D05, Id::D06];
    for check in ALL.iter().filter(|check| needed.contains(&check.id())) {
        check.run(&mut patient).await;
    }
    let outcome = Stickiness.run(&mut patient).await;
    serving.abort();
    assert!(patient.wire.budget.used() <= 40);
    match outcome {
        Outcome::Passed(_, findings) | Outcome::Failed(findings) => {
            findings.into_iter().next().map(|finding| finding.verdict)
        }
        other => panic!("{other:?}"),
    }
}

const REPETITIONS: u64 = 40;

#[tokio::test]
async fn servers_that_share_nothing_are_told_whatever_the_balancer() {
    for seed in 0..REPETITIONS {
        for backends in [2, 3] {
            for route in [Route::Random, Route::Rotation] {
                for cookie in [Cookie::None, Cookie::Unrelated] {
                    let told = examined(backends, route, cookie, seed).await;
                    assert!(
                        matches!(told, Some(Verdict::NoStickiness { .. })),
                        "{backends} {route:?} {cookie:?} {seed}: {told:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_long_rotation_is_not_taken_for_a_server_that_forgets() {
    for backends in 2..=12 {
        let told = examined(backends, Route::Rotation, Cookie::None, 0).await;
        assert!(
            matches!(told, Some(Verdict::NoStickiness { .. })),
            "{backends}: {told:?}"
        );
    }
}

#[tokio::test]
async fn a_cookie_that_is_needed_is_told() {
    for seed in 0..REPETITIONS {
        for backends in [2, 3] {
            for route in [Route::Random, Route::Rotation] {
                let told = examined(backends, route, Cookie::Sticky, seed).await;
                assert!(
                    matches!(told, Some(Verdict::CookieStickiness { .. })),
                    "{backends} {route:?} {seed}: {told:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn one_server_is_left_alone() {
    for seed in 0..REPETITIONS {
        for cookie in [Cookie::None, Cookie::Sticky, Cookie::Unrelated] {
            assert_eq!(examined(1, Route::Random, cookie, seed).await, None);
        }
    }
}

#[tokio::test]
async fn a_server_that_forgets_is_told() {
    for cookie in [Cookie::None, Cookie::Unrelated] {
        let told = examined(0, Route::Random, cookie, 0).await;
        assert!(
            matches!(told, Some(Verdict::LostSessions { .. })),
            "{cookie:?}: {told:?}"
        );
    }
}
