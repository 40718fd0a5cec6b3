//! Events as a stream, for those who prefer a loop to handlers.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::socket::Socket;
use crate::args::{Args, DecodeError};
use crate::handler::Ack;

/// All events of a socket, one after the other.
///
/// They are kept until they are taken: when 1,024 wait, further ones of this namespace, for handlers as
/// well, wait until there is room. Other namespaces of the connection go on. When
/// [`max_queue`](super::ClientBuilder::max_queue) bytes wait, nothing more is taken from the server, if
/// this is the connection's only namespace; else what comes for this one is dropped, and counted by
/// [`missed`](Events::missed). Handlers of the same events run as well. The stream ends when the socket is not
/// connected and does not connect again by itself: it was disconnected, refused, or has given up.
///
/// # Examples
///
/// ```no_run
/// # async fn example(socket: socketio::client::Socket) -> Result<(), Box<dyn std::error::Error>> {
/// let mut events = socket.events();
/// while let Some(event) = events.next().await {
///     match &*event.name {
///         "chat message" => println!("{}", event.decode::<String>()?),
///         other => println!("{other} {:?}", event.args),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    queue: Arc<EventQueue>,
    socket: Socket,
}

/// An event of the server.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// The event's name.
    pub name: String,
    /// The arguments, as they came.
    pub args: Args,
    /// What answers the event, if the server asks for an answer.
    pub ack: Option<Ack<Socket>>,
}

impl ReceivedEvent {
    /// Decodes the arguments as a handler's argument is decoded.
    ///
    /// # Errors
    ///
    /// When they are not of this type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.args.decode()
    }
}

#[derive(Default)]
pub(crate) struct EventQueue {
    state: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<(String, Args, Option<u64>)>,
    waker: Option<Waker>,
    ended: bool,
    missed: u64,
}

/// So many events wait to be taken.
const BOUND: usize = 1024;

impl EventQueue {
    pub(crate) fn push(
        &self,
        name: &str,
        args: &str,
        attachments: &[bytes::Bytes],
        id: Option<u64>,
    ) {
        let mut state = self.state.lock();
        let args = Args::new(args, attachments.to_vec());
        state.events.push_back((name.to_owned(), args, id));
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().events.len() >= BOUND
    }

    /// An event was dropped that would have come; says whether it is the first.
    pub(crate) fn miss(&self) -> bool {
        let mut state = self.state.lock();
        state.missed += 1;
        state.missed == 1
    }

    /// Ends the stream, when what has come is taken.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Events {
    pub(crate) fn new(socket: &Socket) -> Events {
        let queue = Arc::new(EventQueue::default());
        socket.core.inner.lock().streams.push(queue.clone());
        Events {
            queue,
            socket: socket.clone(),
        }
    }

    /// The task may be at work, past the place where it looks whether there is room.
    fn make_room(&self) {
        self.socket.shared().with_state(|state| {
            state.has_room = true;
            state.wake();
        });
    }

    /// Returns how many events were dropped because this stream was not read and other namespaces of the
    /// connection had to go on.
    pub fn missed(&self) -> u64 {
        self.queue.state.lock().missed
    }

    /// Gives the next event.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<ReceivedEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = ReceivedEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReceivedEvent>> {
        let mut state = self.queue.state.lock();
        let Some((name, args, id)) = state.events.pop_front() else {
            if state.ended {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let was_full = state.events.len() + 1 == BOUND;
        drop(state);
        if was_full {
            self.make_room();
        }
        Poll::Ready(Some(ReceivedEvent {
            name,
            args,
            ack: id.map(|id| Ack::new(self.socket.clone(), Some(id))),
        }))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut inner = self.socket.core.inner.lock();
        inner
            .streams
            .retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        drop(inner);
        // What waited for this stream goes on.
        self.make_room();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
