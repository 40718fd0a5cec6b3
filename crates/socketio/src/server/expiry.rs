//! Sockets whose time ends, as that of the token by which they came in.
//!
//! The time is kept with the socket, where it has one; its session looks for it with its other deadlines.

use std::time::{Duration, Instant, SystemTime};

use super::handlers::Moment;
use super::running::{self, Running};
use super::socket::Socket;

/// When a socket's time ends, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    pub(crate) at: SystemTime,
    pub(crate) is_announced: bool,
}

/// What is to be done about a socket now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    Nothing,
    Announce,
    End,
}

/// The wall clock may be set: it is looked at this often.
const LOOK: Duration = Duration::from_secs(600);

/// What `on_disconnect` reads as the description.
const EXPIRED: &str = "expired";

impl Expiry {
    /// What is to be done, and how long it takes until there is more.
    fn look(&mut self, now: SystemTime, warning: Duration) -> (Due, Duration) {
        let left = self.at.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            return (Due::End, Duration::ZERO);
        }
        let due = match left <= warning && !self.is_announced {
            true => {
                self.is_announced = true;
                Due::Announce
            }
            false => Due::Nothing,
        };
        let next = match self.is_announced {
            true => left,
            false => left - warning,
        };
        (due, next.clamp(Duration::from_millis(1), LOOK))
    }
}

/// Does what is due for a socket; gives when to look again.
pub(crate) fn look(socket: &Socket, now: Instant) -> Option<Instant> {
    let session = &socket.0.session;
    let warning = session.shared().config().expiry_warning;
    let look = |expiry: &mut Expiry| expiry.look(SystemTime::now(), warning);
    let (due, next) = socket.with_expiry(look)?;
    match due {
        Due::Nothing => {}
        Due::Announce => {
            let mut running = Running::default();
            running::lifecycle(socket, Moment::Expiring, "", &mut running);
            running.detach(session);
        }
        Due::End => {
            session.shared().counters().expired();
            session.disconnect_socket(socket, Some(EXPIRED));
            return None;
        }
    }
    Some(now + next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_announced_once_and_comes_when_the_clock_says_so() {
        let second = Duration::from_secs;
        let start = SystemTime::UNIX_EPOCH + second(1_000_000);
        let mut expiry = Expiry {
            at: start + second(10_000),
            is_announced: false,
        };
        let mut look = |passed: u64| expiry.look(start + second(passed), second(30));
        assert_eq!(look(0), (Due::Nothing, LOOK));
        assert_eq!(look(9_900), (Due::Nothing, second(70)));
        assert_eq!(look(9_980), (Due::Announce, second(20)));
        // The clock was set back.
        assert_eq!(look(9_000), (Due::Nothing, LOOK));
        assert_eq!(look(9_999), (Due::Nothing, second(1)));
        assert_eq!(look(10_000), (Due::End, Duration::ZERO));
        assert_eq!(look(20_000), (Due::End, Duration::ZERO));
    }

    #[test]
    fn any_time_is_one() {
        let far = SystemTime::now() + Duration::from_secs(1 << 40);
        for (at, warning, due) in [
            (far, Duration::from_secs(30), Due::Nothing),
            (far, Duration::MAX, Due::Announce),
            (SystemTime::UNIX_EPOCH, Duration::ZERO, Due::End),
        ] {
            let mut expiry = Expiry {
                at,
                is_announced: false,
            };
            assert_eq!(expiry.look(SystemTime::now(), warning).0, due);
        }
    }
}
