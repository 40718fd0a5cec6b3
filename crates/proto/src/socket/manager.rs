//! When a client connects, and connects again: the client's owner of a connection.
//!
//! It knows of time and of attempts; what a connection is, and what travels on it, is its caller's
//! affair. Randomness comes in as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::backoff::Backoff;

/// Decides when to open a connection.
///
/// After every `handle_*`, [`open`](Manager::open) and [`close`](Manager::close): drain
/// [`poll_action`](Manager::poll_action), then [`poll_event`](Manager::poll_event), and call
/// [`handle_timeout`](Manager::handle_timeout) at [`poll_timeout`](Manager::poll_timeout).
#[derive(Debug)]
pub struct Manager {
    config: ReconnectConfig,
    backoff: Backoff,
    phase: Phase,
    /// A pause, or an attempt after one: [`open`](Manager::open) then waits for the loop.
    reconnecting: bool,
    actions: VecDeque<ManagerAction>,
    events: VecDeque<ManagerEvent>,
}

/// Whether, how often and in which time a client connects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReconnectConfig {
    /// Whether it connects again at all. Default: yes.
    pub enabled: bool,
    /// How often it tries before it gives up; without a number it never does. Default: none.
    pub attempts: Option<u32>,
    /// The first pause. Default: 1 s.
    pub delay: Duration,
    /// The longest pause. Default: 5 s.
    pub delay_max: Duration,
    /// Which part of a pause is random. Default: 0.5.
    pub randomization_factor: f64,
    /// How long a connection may take to be opened. Default: 20 s; `None` is without bound.
    pub timeout: Option<Duration>,
}

impl Default for ReconnectConfig {
    fn default() -> ReconnectConfig {
        ReconnectConfig {
            enabled: true,
            attempts: None,
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(5),
            randomization_factor: 0.5,
            timeout: Some(Duration::from_secs(20)),
        }
    }
}

/// What to do with the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManagerAction {
    /// Opens one; [`Manager::handle_opened`] or [`Manager::handle_open_failed`] is called then.
    Open,
    /// Gives up the one that is being opened: it has taken too long.
    Abort,
    /// Closes the one that is open, or being opened.
    Close,
}

/// What has happened, for those who watch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ManagerEvent {
    /// A connection is about to be opened, for the given time since the last success.
    ReconnectAttempt(u32),
    /// The connection that was lost is there again, after so many attempts.
    Reconnected(u32),
    /// An attempt has failed.
    ReconnectError,
    /// All attempts have failed.
    ReconnectFailed,
}

/// ```text
///             open()                 opened
///    Closed ─────────► Opening ────────────────► Open
///      ▲                │   ▲                     │
///      │  no more tries │   │ pause is over       │ lost
///      ├────────────────┤   │                     │
///      │                └─► Pausing ◄─────────────┤
///      └───────────── close(), lost without reconnection
/// ```
#[derive(Debug, PartialEq)]
enum Phase {
    Closed,
    Opening { deadline: Option<Instant> },
    Open,
    Pausing { until: Instant },
}

impl Manager {
    /// Begins without a connection.
    pub fn new(config: ReconnectConfig) -> Manager {
        Manager {
            backoff: backoff(&config),
            config,
            phase: Phase::Closed,
            reconnecting: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the settings.
    pub fn config(&self) -> &ReconnectConfig {
        &self.config
    }

    /// Changes the settings, from the next pause on.
    pub fn set_config(&mut self, config: ReconnectConfig) {
        self.backoff.min = config.delay;
        self.backoff.max = config.delay_max;
        self.backoff.jitter = config.randomization_factor;
        self.config = config;
    }

    /// Says whether the connection is there.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Says whether nothing is there, and nothing will be unless asked for.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Says whether the connection is being opened after one was lost, or will be after a pause.
    pub fn is_reconnecting(&self) -> bool {
        self.reconnecting
    }

    /// Opens a connection, if none is there or on its way.
    pub fn open(&mut self, now: Instant) {
        if self.phase == Phase::Closed {
            self.start(now);
        }
    }

    /// Learns that the connection is open.
    pub fn handle_opened(&mut self) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        self.phase = Phase::Open;
        let attempts = self.backoff.attempts();
        self.backoff.reset();
        if std::mem::take(&mut self.reconnecting) {
            self.events.push_back(ManagerEvent::Reconnected(attempts));
        }
    }

    /// Learns that the connection could not be opened.
    pub fn handle_open_failed(&mut self, now: Instant, random: f64) {
        if !matches!(self.phase, Phase::Opening { .. }) {
            return;
        }
        self.phase = Phase::Closed;
        let was_reconnecting = std::mem::take(&mut self.reconnecting);
        if was_reconnecting {
            // As in the reference, the failure of all is told before that of the last.
            self.pause(now, random);
            self.events.push_back(ManagerEvent::ReconnectError);
        } else if self.config.enabled {
            self.pause(now, random);
        }
    }

    /// Learns that the connection is lost.
    pub fn handle_lost(&mut self, now: Instant, random: f64) {
        if self.phase != Phase::Open {
            return;
        }
        self.backoff.reset();
        self.phase = Phase::Closed;
        if self.config.enabled {
            self.pause(now, random);
        }
    }

    /// Closes the connection, or ends the attempts to open one.
    pub fn close(&mut self) {
        match self.phase {
            Phase::Open | Phase::Opening { .. } => self.actions.push_back(ManagerAction::Close),
            Phase::Closed | Phase::Pausing { .. } => {}
        }
        self.phase = Phase::Closed;
        self.reconnecting = false;
        self.backoff.reset();
    }

    /// Returns when [`handle_timeout`](Manager::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opening { deadline } => deadline,
            Phase::Pausing { until } => Some(until),
            Phase::Closed | Phase::Open => None,
        }
    }

    /// Does what is due. One whose time is up is reported by
    /// [`handle_open_failed`](Manager::handle_open_failed), as all that fail.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Pausing { until } if *until <= now => {
                let attempt = self.backoff.attempts();
                self.events
                    .push_back(ManagerEvent::ReconnectAttempt(attempt));
                self.start(now);
            }
            Phase::Opening { deadline } if deadline.is_some_and(|deadline| deadline <= now) => {
                *deadline = None;
                self.actions.push_back(ManagerAction::Abort);
            }
            Phase::Closed | Phase::Opening { .. } | Phase::Open | Phase::Pausing { .. } => {}
        }
    }

    /// Returns what is to be done next, and leaves it to be done.
    pub fn next_action(&self) -> Option<ManagerAction> {
        self.actions.front().copied()
    }

    /// Returns what to do next.
    pub fn poll_action(&mut self) -> Option<ManagerAction> {
        self.actions.pop_front()
    }

    /// Returns what has happened next.
    pub fn poll_event(&mut self) -> Option<ManagerEvent> {
        self.events.pop_front()
    }

    fn start(&mut self, now: Instant) {
        let deadline = self
            .config
            .timeout
            .and_then(|timeout| now.checked_add(timeout));
        self.phase = Phase::Opening { deadline };
        self.actions.push_back(ManagerAction::Open);
    }

    fn pause(&mut self, now: Instant, random: f64) {
        let is_last = |attempts| self.backoff.attempts() >= attempts;
        if self.config.attempts.is_some_and(is_last) {
            self.backoff.reset();
            self.events.push_back(ManagerEvent::ReconnectFailed);
            return;
        }
        let pause = self.backoff.next_pause(random);
        self.reconnecting = true;
        // Nobody waits for as long as time can be counted.
        let until = now.checked_add(pause).unwrap_or(now + LONGEST);
        self.phase = Phase::Pausing { until };
    }
}

/// The longest pause, where one was asked for that time cannot be added to.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn backoff(config: &ReconnectConfig) -> Backoff {
    Backoff::new(config.delay, config.delay_max, config.randomization_factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test begins at some time")]
        Instant::now()
    }

    fn manager(change: impl FnOnce(&mut ReconnectConfig)) -> Manager {
        let mut config = ReconnectConfig {
            randomization_factor: 0.0,
            ..ReconnectConfig::default()
        };
        change(&mut config);
        Manager::new(config)
    }

    fn events(manager: &mut Manager) -> Vec<ManagerEvent> {
        std::iter::from_fn(|| manager.poll_event()).collect()
    }

    fn actions(manager: &mut Manager) -> Vec<ManagerAction> {
        std::iter::from_fn(|| manager.poll_action()).collect()
    }

    // C014, C015: a server that is away for 20 minutes is asked for about every 5 s, not more often.
    #[test]
    fn a_server_that_is_away_for_long_is_not_stormed() {
        let begin = start();
        let mut manager = manager(|_| {});
        manager.open(begin);
        let (mut now, mut opened) = (begin, Vec::new());
        while now < begin + Duration::from_secs(20 * 60) {
            for action in actions(&mut manager) {
                assert_eq!(action, ManagerAction::Open);
                opened.push((now - begin).as_millis());
                manager.handle_open_failed(now, 0.5);
            }
            now = manager.poll_timeout().expect("another attempt");
            manager.handle_timeout(now);
        }
        assert_eq!(opened[..6], [0, 1000, 3000, 7000, 12_000, 17_000]);
        assert_eq!(opened.len(), 3 + (20 * 60 - 3) / 5);
    }

    // C014, C017
    #[test]
    fn a_lost_connection_is_opened_again() {
        let now = start();
        let mut manager = manager(|_| {});
        manager.open(now);
        assert_eq!(actions(&mut manager), [ManagerAction::Open]);
        manager.handle_opened();
        assert!(manager.is_open() && events(&mut manager).is_empty());
        manager.handle_lost(now, 0.5);
        let due = manager.poll_timeout().expect("a pause");
        assert_eq!(due - now, Duration::from_secs(1));
        manager.handle_timeout(due - Duration::from_millis(1));
        assert_eq!(actions(&mut manager), []);
        manager.handle_timeout(due);
        assert_eq!(actions(&mut manager), [ManagerAction::Open]);
        manager.handle_opened();
        assert_eq!(
            events(&mut manager),
            [
                ManagerEvent::ReconnectAttempt(1),
                ManagerEvent::Reconnected(1)
            ]
        );
        // The next pause is the first again.
        manager.handle_lost(due, 0.5);
        assert_eq!(manager.poll_timeout(), Some(due + Duration::from_secs(1)));
    }

    // C016
    #[test]
    fn after_the_last_attempt_it_gives_up_until_it_is_asked() {
        let mut now = start();
        let mut manager = manager(|config| config.attempts = Some(2));
        for _ in 0..2 {
            manager.open(now);
            manager.handle_open_failed(now, 0.5);
            for _ in 0..2 {
                now = manager.poll_timeout().expect("a pause");
                manager.handle_timeout(now);
                manager.handle_open_failed(now, 0.5);
            }
            assert_eq!(
                events(&mut manager),
                [
                    ManagerEvent::ReconnectAttempt(1),
                    ManagerEvent::ReconnectError,
                    ManagerEvent::ReconnectAttempt(2),
                    ManagerEvent::ReconnectFailed,
                    ManagerEvent::ReconnectError,
                ]
            );
            assert!(manager.is_closed() && manager.poll_timeout().is_none());
        }
    }

    // C018
    #[test]
    fn without_reconnection_it_stays_closed() {
        let now = start();
        let mut manager = manager(|config| config.enabled = false);
        manager.open(now);
        manager.handle_open_failed(now, 0.5);
        assert!(manager.is_closed());
        manager.open(now);
        manager.handle_opened();
        manager.handle_lost(now, 0.5);
        assert!(manager.is_closed() && events(&mut manager).is_empty());
    }

    // C012
    #[test]
    fn a_connection_that_takes_too_long_is_given_up() {
        let now = start();
        let mut manager = manager(|_| {});
        manager.open(now);
        actions(&mut manager);
        let due = manager.poll_timeout().expect("a deadline");
        assert_eq!(due - now, Duration::from_secs(20));
        manager.handle_timeout(due);
        manager.handle_timeout(due);
        assert_eq!(actions(&mut manager), [ManagerAction::Abort]);
        manager.handle_open_failed(due, 0.5);
        assert_eq!(manager.poll_timeout(), Some(due + Duration::from_secs(1)));
    }

    // C021, C045
    #[test]
    fn close_ends_the_connection_and_all_attempts() {
        let now = start();
        let mut manager = manager(|_| {});
        manager.open(now);
        manager.handle_opened();
        actions(&mut manager);
        manager.close();
        assert_eq!(actions(&mut manager), [ManagerAction::Close]);
        manager.handle_lost(now, 0.5);
        assert!(manager.is_closed());
        manager.open(now);
        manager.handle_open_failed(now, 0.5);
        actions(&mut manager);
        manager.close();
        assert_eq!(manager.poll_timeout(), None);
        assert_eq!(actions(&mut manager), []);
    }

    #[test]
    fn a_pause_beyond_all_time_is_a_long_one() {
        let now = start();
        let mut manager = manager(|config| {
            config.delay = Duration::MAX;
            config.delay_max = Duration::MAX;
            config.timeout = Some(Duration::MAX);
        });
        manager.open(now);
        manager.handle_open_failed(now, 0.9);
        assert!(manager.poll_timeout().is_some());
    }

    // C047
    #[test]
    fn settings_can_be_changed_between_attempts() {
        let now = start();
        let mut manager = manager(|_| {});
        manager.open(now);
        manager.handle_open_failed(now, 0.5);
        manager.set_config(ReconnectConfig {
            delay: Duration::from_millis(100),
            randomization_factor: 0.0,
            ..*manager.config()
        });
        let due = manager.poll_timeout().expect("a pause");
        manager.handle_timeout(due);
        manager.handle_open_failed(due, 0.5);
        assert_eq!(
            manager.poll_timeout(),
            Some(due + Duration::from_millis(200))
        );
    }
}
