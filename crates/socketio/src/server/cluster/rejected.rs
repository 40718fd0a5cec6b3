//! What came from other servers and was not understood: which line of the log tells it, and when.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socketio_proto::Printable;
use socketio_proto::cluster::{DecodeError, Limits, sender_of};

/// What came on a channel of the cluster, and is no message of Socket.IO's.
///
/// Its texts are one line each, without control characters, and are cut after 100 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    channel: String,
    sender: Option<String>,
    reason: String,
}

impl Rejected {
    /// Describes it by the name of the channel or stream, by who has sent it, as far as that can be
    /// read, and by what is wrong with it.
    pub fn new(channel: &str, sender: Option<&str>, reason: &dyn fmt::Display) -> Rejected {
        Rejected {
            channel: one_line(channel),
            sender: sender.map(one_line),
            reason: one_line(reason),
        }
    }

    /// Describes a message whose sender stands in itself.
    pub fn message(channel: &str, payload: &[u8], error: &DecodeError) -> Rejected {
        let sender = sender_of(payload, &Limits::default());
        Rejected::new(channel, sender.as_ref().map(|uid| uid.as_str()), error)
    }
}

fn one_line(text: impl fmt::Display) -> String {
    Printable::new(text).up_to(100).to_string()
}

/// When which reason of which sender was told.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    told: Mutex<HashMap<(Option<String>, String), Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    suppressed: u64,
}

const MINUTE: Duration = Duration::from_secs(60);
/// Whoever sends under ever new names gets no more lines than this in a minute.
const MAX_TOLD: usize = 64;

impl Rejections {
    pub(super) fn log(&self, rejected: &Rejected) {
        if let Some(suppressed) = self.admit(rejected, Instant::now()) {
            tracing::warn!(
                channel = rejected.channel,
                sender = rejected.sender.as_deref().unwrap_or("unknown"),
                reason = rejected.reason,
                suppressed,
                "a message of the cluster is not understood"
            );
        }
    }

    /// Says whether to log now; then how many like it were not since the last line.
    fn admit(&self, rejected: &Rejected, now: Instant) -> Option<u64> {
        let is_recent = |told: &Told| now.saturating_duration_since(told.at) < MINUTE;
        let key = (rejected.sender.clone(), rejected.reason.clone());
        let mut all = self.told.lock();
        if let Some(told) = all.get_mut(&key) {
            if is_recent(told) {
                told.suppressed += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.suppressed));
        }
        if all.len() >= MAX_TOLD {
            all.retain(|_, told| is_recent(told));
        }
        if all.len() >= MAX_TOLD {
            return None;
        }
        all.insert(
            key,
            Told {
                at: now,
                suppressed: 0,
            },
        );
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_each_sender_is_told_once_a_minute() {
        let (rejections, start) = (Rejections::default(), Instant::now());
        let admit = |sender, reason: &str, after| {
            rejections.admit(&Rejected::new("c", sender, &reason), start + after)
        };
        let none = Duration::ZERO;
        assert_eq!(admit(Some("a"), "x", none), Some(0));
        assert_eq!(admit(Some("a"), "x", MINUTE / 2), None);
        assert_eq!(admit(Some("a"), "y", none), Some(0));
        assert_eq!(admit(Some("b"), "x", none), Some(0));
        assert_eq!(admit(None, "x", none), Some(0));
        assert_eq!(admit(Some("a"), "x", MINUTE), Some(1));
        // Ever new names: so many lines, and so many names kept.
        let names: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let lines = names
            .iter()
            .filter(|name| admit(Some(name), "x", none).is_some());
        assert_eq!(lines.count(), MAX_TOLD - 4);
        assert_eq!(admit(Some("new"), "x", 3 * MINUTE), Some(0));
        assert_eq!(rejections.told.lock().len(), 1);
    }

    #[test]
    fn what_others_say_is_cut_to_one_short_line() {
        let long = "a\nb\u{1b}[31m".to_owned() + &"c".repeat(1000);
        let rejected = Rejected::new(&long, Some(&long), &long);
        for text in [&rejected.channel, &rejected.reason] {
            assert!(text.starts_with("a\\nb\\u{1b}[31mc"), "{text}");
            // The escapes of two characters, and the mark of the cut.
            assert_eq!(text.chars().count(), 100 + 1 + 5 + 1);
        }
        assert_eq!(rejected.sender, Some(rejected.channel));
    }

    #[test]
    fn the_sender_is_found_in_a_message_that_lacks_something() {
        let payload = br#"{"type":11,"uid":"go-1","data":{"requestId":"r","clientcount":2}}"#;
        let error = socketio_proto::cluster::Message::decode(payload, "/", &Limits::default());
        let rejected = Rejected::message("socket.io#/#", payload, &error.expect_err("no message"));
        assert_eq!(rejected.sender.as_deref(), Some("go-1"));
        assert_eq!(
            rejected.reason,
            "`clientCount` is missing, or not what it has to be"
        );
    }
}
