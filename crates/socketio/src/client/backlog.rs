//! Events that wait for handlers to end, or for a stream to be read: a line for each namespace, so that
//! none holds up the others.

use std::collections::VecDeque;
use std::sync::Arc;

use socketio_proto::socket::StoredEvent;

use super::shared::SocketCore;

#[derive(Default)]
pub(crate) struct Backlog {
    /// None is empty.
    lines: VecDeque<Line>,
    bytes: usize,
}

struct Line {
    core: Arc<SocketCore>,
    events: VecDeque<StoredEvent>,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Bytes of all events.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says whether events of this namespace wait.
    pub(crate) fn has(&self, core: &Arc<SocketCore>) -> bool {
        self.lines.iter().any(|line| Arc::ptr_eq(&line.core, core))
    }

    pub(crate) fn push(&mut self, core: &Arc<SocketCore>, event: StoredEvent) {
        self.bytes += event.size();
        let mut lines = self.lines.iter_mut();
        match lines.find(|line| Arc::ptr_eq(&line.core, core)) {
            Some(line) => line.events.push_back(event),
            None => self.lines.push_back(Line {
                core: core.clone(),
                events: VecDeque::from([event]),
            }),
        }
    }

    /// Takes the next event of a namespace that can go on; each has its turn.
    pub(crate) fn pop(
        &mut self,
        can_go_on: impl Fn(&SocketCore) -> bool,
    ) -> Option<(Arc<SocketCore>, StoredEvent)> {
        let at = self.lines.iter().position(|line| can_go_on(&line.core))?;
        let mut line = self.lines.remove(at)?;
        let event = line.events.pop_front()?;
        self.bytes -= event.size();
        let core = line.core.clone();
        if !line.events.is_empty() {
            self.lines.push_back(line);
        }
        Some((core, event))
    }
}
