//! Corking by turn: while a connection's task works through what it has read, emits only fill
//! outboxes; when the turn ends, each outbox is written once.
//!
//! So eight pipelined echoes leave in one write, and two broadcasts to a thousand sockets in a
//! thousand writes. An emit outside any turn writes at once.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

use super::session::Session;

thread_local! {
    static TURN: RefCell<Turn> = const {
        RefCell::new(Turn { depth: 0, dirty: Vec::new(), left: Vec::new() })
    };
}

struct Turn {
    depth: usize,
    dirty: Vec<Arc<Session>>,
    /// Those with sockets that have left.
    left: Vec<Arc<Session>>,
}

/// A turn in progress on this thread; its end flushes what was marked.
#[derive(Debug)]
pub(crate) struct TurnGuard(());

/// How many connections a turn's end writes in place, which takes about a millisecond. A larger
/// broadcast goes on in a task which yields after each portion, so that it does not hold up its worker.
const IN_PLACE: usize = 256;
/// The memory of a list for so many is used again.
const KEPT: usize = 2048;

/// Begins a turn, or joins the one in progress.
pub(crate) fn begin() -> TurnGuard {
    TURN.with_borrow_mut(|turn| turn.depth += 1);
    TurnGuard(())
}

/// Sees to it that the session's outbox is flushed: at the end of the turn, or now.
pub(crate) fn mark(session: &Arc<Session>) {
    let outside = TURN.with_borrow_mut(|turn| {
        if turn.depth > 0 {
            turn.dirty.push(session.clone());
        }
        turn.depth == 0
    });
    if outside {
        session.flush();
    }
}

/// Lets sockets that have left be forgotten at the end of the turn: the handler that runs may still look
/// at them. False outside of any turn.
pub(crate) fn forget_later(session: &Arc<Session>) -> bool {
    TURN.with_borrow_mut(|turn| {
        if turn.depth > 0 {
            turn.left.push(session.clone());
        }
        turn.depth > 0
    })
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        let ended = TURN.with_borrow_mut(|turn| {
            turn.depth -= 1;
            let has_work = turn.depth == 0 && !(turn.dirty.is_empty() && turn.left.is_empty());
            has_work.then(|| (mem::take(&mut turn.dirty), mem::take(&mut turn.left)))
        });
        if let Some((dirty, left)) = ended {
            flush(dirty);
            left.iter().for_each(|session| session.forget_if_idle());
        }
    }
}

fn flush(mut dirty: Vec<Arc<Session>>) {
    if dirty.len() > IN_PLACE {
        let rest = dirty.split_off(IN_PLACE);
        let shared = rest[0].shared().clone();
        shared.spawn(async move {
            for portion in rest.chunks(IN_PLACE) {
                for session in portion {
                    session.flush();
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for session in dirty.drain(..) {
        session.flush();
    }
    // The list's memory is used again by the thread's next turn.
    if dirty.capacity() <= KEPT {
        TURN.with_borrow_mut(|turn| {
            if turn.dirty.capacity() == 0 {
                turn.dirty = dirty;
            }
        });
    }
}
