//! Twenty lines: a chat with rooms, to be tried with any Socket.IO client.

use serde::{Deserialize, Serialize};
use socketio::{Cors, Server, Socket};

#[derive(Deserialize)]
struct Auth {
    name: Option<String>,
}

#[derive(Serialize)]
struct Receipt {
    stored: bool,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Server::builder().cors(Cors::new()).build();

    io.on_connect(async |socket: Socket, auth: Option<Auth>| {
        let name = auth
            .and_then(|auth| auth.name)
            .unwrap_or_else(|| "somebody".to_owned());
        socket.broadcast().emit("joined", &name);
        socket.set_extension(name);
    });
    io.on("join", async |socket: Socket, room: String| {
        socket.join(room)
    });
    io.on(
        "message",
        async |socket: Socket, (room, text): (String, String)| {
            let from = socket.extension::<String>();
            socket.to(room).emit("message", (from.as_deref(), &text));
            Receipt { stored: true }
        },
    );

    println!("listening on http://127.0.0.1:3000");
    io.serve("127.0.0.1:3000").await
}
