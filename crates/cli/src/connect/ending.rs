//! When to leave, and with which exit code.

use std::process::ExitCode;

/// How it ended. The help documents the codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exit {
    Done = 0,
    NotConnected = 1,
    Usage = 2,
    /// What was waited for did not come.
    Missing = 3,
    Disconnected = 4,
    /// As shells report SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Events that were asked for and have not come.
    pub(super) missing_events: Option<u64>,
    /// Something else than the end of the input says when to leave.
    pub(super) is_listening: bool,
    /// Whether there may be more to emit.
    pub(super) has_input: bool,
    pub(super) awaited_acks: usize,
    /// Events that were not sent, and answers that did not come.
    pub(super) failures: usize,
}

impl Work {
    /// The exit if all is done.
    pub(super) fn exit(&self) -> Option<Exit> {
        let is_done = match self.missing_events {
            Some(missing) => missing == 0,
            None => !self.is_listening && !self.has_input,
        };
        (is_done && self.awaited_acks == 0).then(|| self.of_failures())
    }

    /// The exit when the time is over.
    pub(super) fn exit_now(&self) -> Exit {
        match self.awaited_acks == 0 && self.missing_events.unwrap_or(0) == 0 {
            true => self.of_failures(),
            false => Exit::Missing,
        }
    }

    /// The exit when the user wants to leave.
    pub(super) fn exit_interrupted(&self) -> Exit {
        let only_listens = self.missing_events.is_none() && self.awaited_acks == 0;
        match only_listens && (self.is_listening || !self.has_input) {
            true => self.of_failures(),
            false => Exit::Interrupted,
        }
    }

    pub(super) fn note_event(&mut self) {
        self.missing_events = self.missing_events.map(|missing| missing.saturating_sub(1));
    }

    fn of_failures(&self) -> Exit {
        match self.failures {
            0 => Exit::Done,
            _ => Exit::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emits_end_when_they_are_sent_and_answered() {
        let mut work = Work {
            has_input: true,
            ..Work::default()
        };
        assert_eq!(work.exit(), None);
        work.has_input = false;
        work.awaited_acks = 1;
        assert_eq!(work.exit(), None);
        work.awaited_acks = 0;
        assert_eq!(work.exit(), Some(Exit::Done));
        work.failures = 1;
        assert_eq!(work.exit(), Some(Exit::Missing));
    }

    #[test]
    fn listening_ends_with_its_count_or_its_time() {
        let work = Work {
            is_listening: true,
            ..Work::default()
        };
        assert_eq!((work.exit(), work.exit_now()), (None, Exit::Done));
        let mut work = Work {
            missing_events: Some(1),
            ..work
        };
        assert_eq!((work.exit(), work.exit_now()), (None, Exit::Missing));
        work.awaited_acks = 1;
        work.note_event();
        work.note_event();
        assert_eq!((work.exit(), work.exit_now()), (None, Exit::Missing));
        work.awaited_acks = 0;
        assert_eq!(
            (work.exit(), work.exit_now()),
            (Some(Exit::Done), Exit::Done)
        );
    }

    #[test]
    fn who_only_listens_may_be_interrupted() {
        let listening = || Work {
            is_listening: true,
            ..Work::default()
        };
        assert_eq!(listening().exit_interrupted(), Exit::Done);
        let work = Work {
            has_input: true,
            ..listening()
        };
        assert_eq!(work.exit_interrupted(), Exit::Done);
        let work = Work {
            awaited_acks: 1,
            ..listening()
        };
        assert_eq!(work.exit_interrupted(), Exit::Interrupted);
        let work = Work {
            missing_events: Some(1),
            ..listening()
        };
        assert_eq!(work.exit_interrupted(), Exit::Interrupted);
        let work = Work {
            has_input: true,
            ..Work::default()
        };
        assert_eq!(work.exit_interrupted(), Exit::Interrupted);
    }
}
