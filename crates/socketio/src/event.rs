//! Typed events: a type that carries its event's name.

use serde::Serialize;

/// An event whose name belongs to its type, so that the compiler checks what is sent and handled.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use socketio::{Event, Server, Socket};
///
/// #[derive(Deserialize, Serialize)]
/// struct Message {
///     text: String,
/// }
///
/// impl Event for Message {
///     const NAME: &str = "message";
/// }
///
/// let io = Server::new();
/// io.on_event::<Message, _>(async |socket: Socket, message: Message| {
///     socket.broadcast().emit_event(&message);
/// });
/// ```
pub trait Event: Serialize {
    /// The event's name.
    const NAME: &str;
}
