//! A client: connects to any Socket.IO server, and stays connected.
//!
//! ```no_run
//! use socketio::Client;
//! use socketio::client::Socket;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = Client::connect("http://localhost:3000").await?;
//! socket.on("news", async |_: Socket, text: String| println!("{text}"));
//! let stored: bool = socket.emit_with_ack("message", "hi").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`ClientBuilder`] has the options, [`Socket`] what can be sent and handled, [`Manager`] the connection
//! that several namespaces share.

mod ack;
mod address;
mod auth;
mod backlog;
mod builder;
mod clock;
mod config;
mod cookies;
#[cfg(feature = "doctor")]
mod diagnose;
mod dial;
mod emit;
mod error;
mod events;
mod handlers;
mod hints;
mod http;
mod inbox;
mod link;
mod manager;
mod polling;
mod running;
mod shared;
mod socket;
mod task;
mod unsent;
mod websocket;

pub use ack::AckFuture;
pub use builder::ClientBuilder;
pub use config::Version;
#[cfg(feature = "doctor")]
pub use diagnose::DiagnoseError;
pub use dial::TlsError;
pub use emit::Emit;
pub use error::{BuildError, ConnectError, Disconnected};
pub use events::{Events, ReceivedEvent};
pub use manager::{Manager, ManagerEvent, SocketBuilder, Stats};
pub use socket::{Connecting, Disconnecting, Socket, SocketEmit};

/// Answers one event of the server, at most once.
pub type Ack = crate::Ack<Socket>;

/// Where a client begins.
#[derive(Debug)]
pub struct Client(());

impl Client {
    /// Connects to a server; resolves when the namespace, which is the path of the URL, is joined.
    ///
    /// # Errors
    ///
    /// When the URL cannot be used, and when the first attempt fails: nothing goes on then. To keep
    /// trying, [`build`](ClientBuilder::build) the socket and hold it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    #[doc(alias = "io")]
    pub async fn connect(url: impl AsRef<str>) -> Result<Socket, ConnectError> {
        Client::builder(url).connect().await
    }

    /// Begins with the options of a client.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use serde_json::json;
    /// use socketio::client::{Client, Socket};
    ///
    /// # fn example() -> Result<(), socketio::client::BuildError> {
    /// let socket = Client::builder("https://example.com/admin")
    ///     .auth(json!({ "token": "t" }))
    ///     .header("X-Tenant", "7")
    ///     .reconnection_delay_max(Duration::from_secs(30))
    ///     .on("news", async |_: Socket, text: String| println!("{text}"))
    ///     .build()?;
    /// # drop(socket);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(url: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(url.as_ref())
    }
}
