//! The chat of `sio serve`: an ordinary Socket.IO application.

use socketio_proto::Printable;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketio::{Broadcast, Server, Socket, SocketId};

/// What a client tells about itself when it joins a room.
#[derive(Deserialize)]
struct Join {
    name: String,
    room: String,
}

#[derive(Serialize)]
struct Joined {
    ok: bool,
    users: Vec<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct User {
    id: SocketId,
    name: String,
}

/// Where a socket is, and as whom.
#[derive(Clone, Deserialize, Serialize)]
struct Seat {
    name: String,
    room: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a SocketId,
    name: &'a str,
    text: &'a str,
    at: u64,
}

#[derive(Deserialize)]
struct Image {
    name: String,
    r#type: String,
    data: Bytes,
}

#[derive(Serialize)]
struct SharedImage<'a> {
    id: &'a SocketId,
    name: &'a str,
    r#type: &'a str,
    data: &'a Bytes,
    at: u64,
}

#[derive(Serialize)]
struct Typing<'a> {
    id: &'a SocketId,
    name: &'a str,
    typing: bool,
}

#[derive(Serialize)]
struct System {
    text: String,
}

/// The longest name of a person or a room, and the longest message, in characters.
const MAX_NAME: usize = 40;
const MAX_TEXT: usize = 4000;

/// Registers the chat's handlers.
pub(crate) fn register(io: &Server) {
    io.on("join", join);
    io.on("ping", async |_: Socket| ());
    io.on("leave", async |socket: Socket| leave(&socket).await);
    io.on("message", async |socket: Socket, message: Text| {
        let Some(seat) = seat(&socket) else {
            return false;
        };
        let text: String = message.text.chars().take(MAX_TEXT).collect();
        let message = Message {
            id: socket.id(),
            name: &seat.name,
            text: &text,
            at: now(),
        };
        socket.to(&seat.room).emit("message", message);
        true
    });
    io.on("typing", async |socket: Socket, typing: bool| {
        if let Some(seat) = seat(&socket) {
            let typing = Typing {
                id: socket.id(),
                name: &seat.name,
                typing,
            };
            socket.to(&seat.room).volatile().emit("typing", typing);
        }
    });
    io.on("image", async |socket: Socket, image: Image| {
        let Some(seat) = seat(&socket) else {
            return false;
        };
        if !image.r#type.starts_with("image/") {
            return false;
        }
        tracing::debug!(
            name = image.name,
            bytes = image.data.len(),
            "an image is shared"
        );
        let image = SharedImage {
            id: socket.id(),
            name: &seat.name,
            r#type: &image.r#type,
            data: &image.data,
            at: now(),
        };
        socket.to(&seat.room).emit("image", image);
        true
    });
    io.on_disconnecting(async |socket: Socket| leave(&socket).await);
}

async fn join(socket: Socket, join: Join) -> Joined {
    let name = clean(&join.name);
    let room = clean(&join.room);
    if name.is_empty() || room.is_empty() {
        let error = Some("a name and a room are needed");
        return Joined {
            ok: false,
            users: Vec::new(),
            error,
        };
    }
    leave(&socket).await;
    // Rooms of people have a prefix, so that none of them is the room of a socket's id.
    let seat = Seat {
        name,
        room: format!("room:{room}"),
    };
    if let Err(error) = socket.set_data(&seat) {
        tracing::error!(error = %Printable::new(&error), "the seat of a socket cannot be kept");
    }
    socket.join(&seat.room);
    let text = format!("{} joined", seat.name);
    socket.to(&seat.room).emit("system", System { text });
    let users = tell_users(&socket, &seat).await;
    Joined {
        ok: true,
        users,
        error: None,
    }
}

async fn leave(socket: &Socket) {
    let Some(seat) = seat(socket) else { return };
    socket.leave(&seat.room);
    // `null`: without a seat again.
    if let Err(error) = socket.set_data(()) {
        tracing::error!(error = %Printable::new(&error), "the seat of a socket cannot be given up");
    }
    let text = format!("{} left", seat.name);
    socket.to(&seat.room).emit("system", System { text });
    tell_users(socket, &seat).await;
}

/// Tells the others in the room who is there, and gives the list.
async fn tell_users(socket: &Socket, seat: &Seat) -> Vec<User> {
    let users = users(&socket.namespace().to(&seat.room)).await;
    socket.to(&seat.room).emit("users", &users);
    users
}

async fn users(room: &Broadcast) -> Vec<User> {
    let sockets = room.fetch_sockets().await.unwrap_or_default();
    let user = |socket: &socketio::RemoteSocket| {
        let name = socket.data().get("name")?.as_str()?.to_owned();
        Some(User {
            id: socket.id().clone(),
            name,
        })
    };
    sockets.iter().filter_map(user).collect()
}

fn seat(socket: &Socket) -> Option<Seat> {
    socket.data()
}

fn clean(text: &str) -> String {
    text.trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect()
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::args::Args;

    #[test]
    fn help_and_guide_name_each_event() {
        let mut command = Args::command();
        let serve = command.find_subcommand_mut("serve").expect("a command");
        let help = serve.render_long_help().to_string();
        let guide = include_str!("../../../../docs/serve.md");
        let (code, _) = include_str!("chat.rs")
            .split_once("#[cfg(test)]")
            .expect("tests");
        let handled = code.split("io.on(\"").skip(1);
        let emitted = code.split("emit(\"").skip(1);
        let mut tried = 0;
        for event in handled.chain(emitted) {
            let (event, _) = event.split_once('"').expect("a name");
            tried += 1;
            assert!(help.contains(&format!("  {event} ")), "{event}: {help}");
            assert!(guide.contains(&format!("| `{event}` |")), "{event}");
        }
        assert!(tried >= 11, "{tried}");
    }
}
