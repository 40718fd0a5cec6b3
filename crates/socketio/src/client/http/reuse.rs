//! Which connections carry another request.
//!
//! A request that meets the end of its connection is lost, and must not be sent again. So reuse is
//! earned: until one connection has been seen open for a moment after its answer, each request has
//! its own; and none is used without a look at it just before.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Head;
use crate::client::dial::Stream;

/// What is known of a server's connections; for as long as its client lives.
#[derive(Debug)]
pub(crate) struct Habits(Mutex<Habit>);

#[derive(Debug)]
struct Habit {
    keeps: Keeps,
    /// A connection that has been idle for longer is not used.
    max_idle: Duration,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeps {
    /// It has closed one after its answer.
    No,
    Unknown,
    Yes,
}

/// The idle connections of one session.
pub(crate) struct Connections(Mutex<Kept>);

struct Kept {
    idle: Vec<Idle>,
    /// Runs until it is known whether the server keeps connections.
    proof: Option<Pin<Box<Sleep>>>,
}

struct Idle {
    stream: Stream,
    since: Instant,
    /// What the server has said about it, cut a little.
    max: Duration,
}

/// A server that closes connections after answers has done so by then.
const MOMENT: Duration = Duration::from_millis(100);
/// Node closes idle connections after 5 s.
const MAX_IDLE: Duration = Duration::from_secs(4);
/// One GET and one POST are sent at a time.
const MAX_KEPT: usize = 2;

impl Default for Habits {
    fn default() -> Habits {
        Habits(Mutex::new(Habit {
            keeps: Keeps::Unknown,
            max_idle: MAX_IDLE,
        }))
    }
}

impl Habits {
    /// Says whether connections are of no use after their answer.
    pub(crate) fn closes(&self) -> bool {
        self.0.lock().keeps == Keeps::No
    }

    /// Says whether one connection is still to be seen open.
    fn is_unknown(&self) -> bool {
        self.0.lock().keeps == Keeps::Unknown
    }

    fn learn(&self, keeps: Keeps) {
        self.0.lock().keeps = keeps;
    }

    /// An idle connection has ended.
    fn ended(&self, age: Duration) {
        let mut habit = self.0.lock();
        if age < MOMENT {
            habit.keeps = Keeps::No;
        } else {
            // Something on the way is less patient than the server says.
            habit.max_idle = habit.max_idle.min(age * 3 / 4);
        }
    }
}

impl Connections {
    pub(crate) fn new() -> Connections {
        Connections(Mutex::new(Kept {
            idle: Vec::new(),
            proof: None,
        }))
    }

    /// Looks for the end of those that are idle, and sees to it that it is noticed.
    pub(crate) fn watch(&self, habits: &Habits, now: Instant, cx: &mut Context<'_>) {
        let Kept { idle, proof } = &mut *self.0.lock();
        idle.retain_mut(|idle| {
            let is_open = is_quiet(&mut idle.stream, cx);
            if !is_open {
                habits.ended(now - idle.since);
            }
            is_open
        });
        let oldest = idle.iter().map(|idle| idle.since).min();
        *proof = match oldest.filter(|_| habits.is_unknown()) {
            None => None,
            Some(since) if now - since >= MOMENT => {
                habits.learn(Keeps::Yes);
                None
            }
            Some(since) => {
                let mut sleep = proof
                    .take()
                    .unwrap_or_else(|| Box::pin(sleep_until(since + MOMENT)));
                if sleep.as_mut().poll(cx).is_ready() {
                    // The clocks differ by a little.
                    cx.waker().wake_by_ref();
                    None
                } else {
                    Some(sleep)
                }
            }
        };
    }

    /// Takes a connection on which another request may be sent, if there is one.
    pub(crate) async fn take(&self, habits: &Habits, now: Instant) -> Option<Stream> {
        loop {
            let mut idle = self.candidate(habits, now)?;
            // Lets the runtime learn what has come until this moment.
            tokio::task::yield_now().await;
            if poll_fn(|cx| Poll::Ready(is_quiet(&mut idle.stream, cx))).await {
                return Some(idle.stream);
            }
            habits.ended(now - idle.since);
        }
    }

    fn candidate(&self, habits: &Habits, now: Instant) -> Option<Idle> {
        let (keeps, max_idle) = {
            let habit = habits.0.lock();
            (habit.keeps, habit.max_idle)
        };
        let idle = &mut self.0.lock().idle;
        idle.retain(|idle| keeps != Keeps::No && now - idle.since <= idle.max.min(max_idle));
        idle.pop_if(|_| keeps == Keeps::Yes)
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(crate) fn keep(&self, habits: &Habits, stream: Stream, head: &Head, now: Instant) {
        if head.is_old {
            habits.learn(Keeps::No);
        }
        let max = said(head).unwrap_or(MAX_IDLE);
        if habits.closes() || !head.keeps_connection() || max.is_zero() {
            return;
        }
        let idle = &mut self.0.lock().idle;
        if idle.len() < MAX_KEPT {
            idle.push(Idle {
                stream,
                since: now,
                max,
            });
        }
    }
}

/// How long the server says that it keeps an idle connection, less what a request needs to get there.
fn said(head: &Head) -> Option<Duration> {
    let value = head.headers.get("keep-alive")?.to_str().ok()?;
    let mut parts = value.split(',').filter_map(|part| part.split_once('='));
    let (_, seconds) = parts.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let said = Duration::from_secs(seconds.trim().parse().ok()?);
    Some(
        said.saturating_sub(Duration::from_secs(1))
            .max(said / 2)
            .min(MAX_IDLE),
    )
}

/// Says whether a connection is open and nothing has come on it: what comes without a request is not
/// the answer to the next one.
fn is_quiet(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    Pin::new(stream).poll_read(cx, &mut buffer).is_pending()
}
