//! Who may open a session now: limits on their number, on those of one address, and on how fast they
//! are opened.
//!
//! A refusal is cheap: it comes before the application's own `allow_request`, and says when to try
//! again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The limits; `None` means that there is none.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    /// TCP connections, WebSockets among them; by default what the sessions may need.
    pub(crate) max_tcp_connections: Option<usize>,
    pub(crate) max_per_address: Option<u32>,
    /// So many bits of an IPv6 address stand for one client: providers give each a network.
    pub(crate) ipv6_prefix: u8,
    pub(crate) handshakes: Option<HandshakeRate>,
}

impl Limits {
    /// A session that polls needs two TCP connections, and a third to upgrade; a few more are for those
    /// who are told that there are too many.
    pub(crate) fn max_tcp(&self) -> usize {
        let usual = self.max_connections.saturating_mul(3).saturating_add(64);
        self.max_tcp_connections.unwrap_or(usual)
    }

    /// How many sessions an address may have, and under which address they are counted; `None` if they
    /// are not.
    fn of_address(&self, address: Option<IpAddr>) -> Option<(u32, IpAddr)> {
        let address = match address?.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let host_bits = 128 - u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Some((self.max_per_address?, address))
    }
}

/// How fast sessions may be opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeRate {
    /// In the long run, each second.
    pub(crate) rate: u32,
    /// At once, after a quiet time.
    pub(crate) burst: u32,
}

/// The state of the limits.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    is_draining: AtomicBool,
    bucket: Mutex<Option<Bucket>>,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// A token bucket: it fills with time, and each handshake takes one out.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Why a session cannot be opened, or a request not be forwarded, now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Busy {
    /// The client's address has as many sessions as one may have.
    Address,
    /// The server has as many sessions as it may have.
    Connections,
    /// The server is being drained.
    Draining,
    /// Too many requests are on their way to other servers.
    Forwards,
    /// Sessions are being opened too fast.
    Rate,
}

impl Busy {
    /// What the client, or its operator, reads.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Busy::Address => "Too many connections from this address",
            Busy::Connections => "Too many connections",
            Busy::Draining => "Server is shutting down",
            Busy::Forwards => "Too many forwarded requests",
            Busy::Rate => "Too many handshakes",
        }
    }

    /// The seconds after which it makes sense to try again.
    pub(crate) fn retry_after(self) -> u16 {
        match self {
            Busy::Forwards | Busy::Rate => 1,
            Busy::Address | Busy::Connections | Busy::Draining => 5,
        }
    }
}

/// Why a session that was admitted is not opened after all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotStarted {
    /// A limit was reached while the application was asked.
    Busy(Busy),
    IdInUse,
}

impl Admission {
    /// Asks whether one more session may be opened, and takes a token if so.
    ///
    /// Between this and the session the application may be asked, and others may come: what is
    /// counted here is counted again when the session [opens](Admission::open).
    pub(crate) fn ask(
        &self,
        limits: &Limits,
        sessions: usize,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Busy> {
        if self.is_draining() {
            return Err(Busy::Draining);
        }
        if sessions >= limits.max_connections {
            return Err(Busy::Connections);
        }
        if let Some((max, address)) = limits.of_address(address)
            && self
                .by_address
                .lock()
                .get(&address)
                .is_some_and(|n| *n >= max)
        {
            return Err(Busy::Address);
        }
        match limits.handshakes {
            Some(rate) if !self.take_token(rate, now) => Err(Busy::Rate),
            Some(_) | None => Ok(()),
        }
    }

    fn take_token(&self, rate: HandshakeRate, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        let bucket = bucket.get_or_insert(Bucket {
            tokens: f64::from(rate.burst),
            filled: now,
        });
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        let filled = bucket.tokens + passed * f64::from(rate.rate);
        bucket.tokens = filled.min(f64::from(rate.burst));
        bucket.filled = now;
        let has_one = bucket.tokens >= 1.0;
        if has_one {
            bucket.tokens -= 1.0;
        }
        has_one
    }

    /// Counts a session of an address, where that is limited.
    pub(crate) fn open(&self, limits: &Limits, address: Option<IpAddr>) -> Result<(), Busy> {
        if let Some((max, address)) = limits.of_address(address) {
            let mut by_address = self.by_address.lock();
            if by_address.get(&address).is_some_and(|n| *n >= max) {
                return Err(Busy::Address);
            }
            *by_address.entry(address).or_default() += 1;
        }
        Ok(())
    }

    pub(crate) fn closed(&self, limits: &Limits, address: Option<IpAddr>) {
        let Some((_, address)) = limits.of_address(address) else {
            return;
        };
        let mut by_address = self.by_address.lock();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
            if by_address.capacity() > 4 * by_address.len() + 64 {
                by_address.shrink_to_fit();
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// From here on nobody is let in.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }
}

/// When each of `count` sessions is to be closed, so that they are spread over a window.
pub(crate) fn spread(count: usize, window: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |i| window.mul_f64(i as f64 / count.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_connections: 10,
        max_tcp_connections: None,
        max_per_address: Some(2),
        ipv6_prefix: 64,
        handshakes: Some(HandshakeRate { rate: 10, burst: 3 }),
    };

    fn address(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, n]))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let admission = Admission::default();
        let mut now = Instant::now();
        let ask = |now| admission.ask(&LIMITS, 0, None, now);
        for _ in 0..3 {
            assert_eq!(ask(now), Ok(()));
        }
        assert_eq!(ask(now), Err(Busy::Rate));
        now += Duration::from_millis(100);
        assert_eq!(ask(now), Ok(()));
        assert_eq!(ask(now), Err(Busy::Rate));
        now += Duration::from_secs(3600);
        for _ in 0..3 {
            assert_eq!(ask(now), Ok(()));
        }
        assert_eq!(ask(now), Err(Busy::Rate));
    }

    #[test]
    fn addresses_are_counted_up_and_down() {
        let admission = Admission::default();
        let now = Instant::now();
        let mut limits = LIMITS;
        limits.handshakes = None;
        for opened in [Ok(()), Ok(()), Err(Busy::Address)] {
            assert_eq!(admission.open(&limits, address(1)), opened);
        }
        assert_eq!(
            admission.ask(&limits, 2, address(1), now),
            Err(Busy::Address)
        );
        assert_eq!(admission.ask(&limits, 2, address(2), now), Ok(()));
        assert_eq!(
            admission.ask(&limits, 10, address(2), now),
            Err(Busy::Connections)
        );
        admission.closed(&limits, address(1));
        assert_eq!(admission.ask(&limits, 1, address(1), now), Ok(()));
        admission.closed(&limits, address(1));
        assert!(admission.by_address.lock().is_empty());
        admission.drain();
        assert_eq!(
            admission.ask(&limits, 0, address(1), now),
            Err(Busy::Draining)
        );
    }

    #[test]
    fn addresses_of_one_network_are_one_client_s() {
        for (prefix, first, second, are_one) in [
            (64, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            (64, "2001:db8::1", "2001:db8:0:1::1", false),
            (48, "2001:db8::1", "2001:db8:0:ffff::1", true),
            (48, "2001:db8::1", "2001:db8:1::1", false),
            (128, "2001:db8::1", "2001:db8::1", true),
            (128, "2001:db8::1", "2001:db8::2", false),
            (1, "::2", "7fff::1", true),
            (1, "::2", "8000::1", false),
            (0, "::2", "ffff::1", true),
            // An IPv4 address is one, however it is written.
            (64, "1.2.3.4", "::ffff:1.2.3.4", true),
            (64, "::ffff:1.2.3.4", "::ffff:1.2.3.5", false),
            (0, "1.2.3.4", "1.2.3.5", false),
        ] {
            let limits = Limits {
                max_per_address: Some(1),
                ipv6_prefix: prefix,
                handshakes: None,
                ..LIMITS
            };
            let admission = Admission::default();
            let address = |text: &str| Some(text.parse().unwrap());
            let (first, second) = (address(first), address(second));
            assert_eq!(admission.open(&limits, first), Ok(()));
            let expected = if are_one { Err(Busy::Address) } else { Ok(()) };
            let asked = admission.ask(&limits, 1, second, Instant::now());
            assert_eq!(asked, expected, "{prefix} {first:?} {second:?}");
            assert_eq!(admission.open(&limits, second), expected);
            admission.closed(&limits, if are_one { second } else { first });
            assert_eq!(admission.open(&limits, first), Ok(()));
        }
    }

    #[test]
    fn farewells_are_spread_evenly() {
        let all: Vec<_> = spread(4, Duration::from_secs(2)).collect();
        assert_eq!(all, [0, 500, 1000, 1500].map(Duration::from_millis));
    }
}
