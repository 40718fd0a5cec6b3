//! Emitting to the clients of all servers without being one of them.
//!
//! It writes what `@socket.io/postgres-emitter` writes, and the namespace, which servers of Node look for
//! since version 0.5 of their adapter. It reads nothing: there are no answers.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use socketio_proto::cluster::postgres::{Outgoing, channel};
use socketio_proto::cluster::{Body, Message, Uid};
use tokio::time::timeout;

use super::bus::TABLE;
use super::connection::{ANSWER, Address, Line};
use super::table::Table;
use crate::emitter::{Emit, EmitterError, Order, Target};

/// Emits to the clients of all servers that share a database of Postgres.
///
/// A handle: cheap to clone. The connection comes back when something is emitted; what is emitted while
/// Postgres is away fails.
///
/// # Examples
///
/// ```no_run
/// use socketio_adapters::postgres::Emitter;
///
/// # async fn example() -> Result<(), socketio_adapters::EmitterError> {
/// let emitter = Emitter::connect("postgres://user:password@127.0.0.1/chat").await?;
/// emitter.of("/").to("room 1").emit("news", ("hello", 1)).await?;
/// emitter.of("/admin").to("user 7").disconnect_sockets().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Emitter {
    address: Address,
    line: Arc<Mutex<Option<Arc<Line>>>>,
    prefix: Arc<str>,
    table: Arc<Table>,
}

impl Emitter {
    /// Connects to Postgres; the address is one for a [`PostgresBus`](super::PostgresBus). A pooler may be
    /// in between.
    ///
    /// # Errors
    ///
    /// When the address is none, or Postgres cannot be reached.
    pub async fn connect(url: &str) -> Result<Emitter, EmitterError> {
        let address = Address::new(url);
        let address = address.map_err(|error| EmitterError::Address(error.to_string()))?;
        let emitter = Emitter {
            address,
            line: Arc::default(),
            prefix: "socket.io".into(),
            table: Arc::new(Table::new(TABLE)),
        };
        emitter.line().await?;
        Ok(emitter)
    }

    /// Sets the prefix of the channels; the servers must have the same. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Emitter {
        self.prefix = prefix.into();
        self
    }

    /// Sets the table of large messages; the servers must have the same. Default:
    /// `socket_io_attachments`.
    #[doc(alias = "tableName")]
    #[must_use]
    pub fn table(mut self, name: &str) -> Emitter {
        self.table = Arc::new(Table::new(name));
        self
    }

    /// Addresses all sockets of a namespace.
    pub fn of(&self, namespace: &str) -> Target<Emitter> {
        Target::new(self.clone(), namespace)
    }

    async fn line(&self) -> Result<Arc<Line>, EmitterError> {
        let line = self.line.lock().clone();
        if let Some(line) = line.filter(|line| !line.client.is_closed()) {
            return Ok(line);
        }
        let line = self.address.open().await;
        let line = Arc::new(line.map_err(|error| failed(&error))?);
        *self.line.lock() = Some(line.clone());
        Ok(line)
    }
}

fn failed(error: &dyn fmt::Display) -> EmitterError {
    EmitterError::Backend(format!("Postgres: {error}"))
}

impl Emit for Emitter {
    /// Postgres does not say who listens.
    type Receipt = ();

    async fn send(&self, nsp: &str, order: Order) -> Result<(), EmitterError> {
        let name = channel(&self.prefix, nsp);
        let name = name.ok_or_else(|| EmitterError::Namespace(nsp.to_owned()))?;
        let message = Message {
            uid: Uid::new(Uid::EMITTER),
            nsp: nsp.to_owned(),
            body: order.into(),
        };
        let line = self.line().await?;
        let message = Outgoing::new(&message);
        let publishing = self.table.publish(&line.client, &name, &message);
        match timeout(ANSWER, publishing).await {
            Ok(published) => published.map_err(|error| failed(&self.table.explain(&error))),
            Err(_) => Err(failed(&"no answer")),
        }
    }
}

impl From<Order> for Body {
    fn from(order: Order) -> Body {
        match order {
            Order::Emit { event, opts } => Body::Broadcast {
                event,
                opts,
                request_id: None,
            },
            Order::Join { opts, rooms } => Body::SocketsJoin { opts, rooms },
            Order::Leave { opts, rooms } => Body::SocketsLeave { opts, rooms },
            Order::Disconnect { opts, close } => Body::DisconnectSockets { opts, close },
            Order::ServerSideEmit { event } => Body::ServerSideEmit {
                event,
                request_id: None,
            },
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may have a password.
        f.debug_struct("Emitter")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
