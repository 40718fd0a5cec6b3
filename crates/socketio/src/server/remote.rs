//! A socket that may be on another server.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::broadcast::{Broadcast, RoomNames};
use super::emit::Emit;
use super::namespace::Namespace;
use super::socket::Socket;
use crate::error::{AckError, BroadcastAckError};
use crate::id::SocketId;

/// A description of a socket of any server, and a handle to it.
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    id: SocketId,
    namespace: Namespace,
    handshake: Value,
    rooms: Vec<String>,
    data: Value,
}

impl RemoteSocket {
    pub(crate) fn of(socket: &Socket) -> RemoteSocket {
        RemoteSocket {
            id: socket.id().clone(),
            namespace: socket.namespace(),
            handshake: socket.handshake_json(),
            rooms: socket.rooms(),
            data: socket.data_value(),
        }
    }

    /// A socket that another server has described.
    pub(crate) fn new(
        id: SocketId,
        namespace: Namespace,
        handshake: Value,
        rooms: Vec<String>,
        data: Value,
    ) -> RemoteSocket {
        RemoteSocket {
            id,
            namespace,
            handshake,
            rooms,
            data,
        }
    }

    /// The socket's id.
    pub fn id(&self) -> &SocketId {
        &self.id
    }

    /// The handshake, as the JavaScript server has it.
    pub fn handshake(&self) -> &Value {
        &self.handshake
    }

    /// The rooms the socket was in when it was asked for.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// The data the application kept with the socket when it was asked for.
    pub fn data(&self) -> &Value {
        &self.data
    }

    fn this(&self) -> Broadcast {
        self.namespace.to(&self.id)
    }

    /// Sends an event to the socket.
    pub fn emit(&self, event: impl AsRef<str>, args: impl Serialize) -> Emit<'static> {
        self.this().emit(event, args)
    }

    /// Sends an event to the socket and gives its one answer.
    ///
    /// # Errors
    ///
    /// [`AckError::Timeout`] after `timeout`, and the other causes of [`AckError`].
    ///
    /// # Panics
    ///
    /// When it is awaited outside of a tokio runtime.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        event: impl AsRef<str>,
        args: impl Serialize,
    ) -> Result<T, AckError> {
        match self
            .this()
            .timeout(timeout)
            .emit_with_ack::<T>(event, args)
            .await
        {
            Ok(mut responses) => responses.pop().ok_or(AckError::Disconnected),
            Err(BroadcastAckError::Decode { undecodable, .. }) => {
                let mut undecodable = undecodable.into_iter();
                Err(undecodable
                    .next()
                    .map_or(AckError::Disconnected, Into::into))
            }
            Err(BroadcastAckError::Emit(error)) => Err(error.into()),
            Err(BroadcastAckError::Incomplete { .. }) => Err(AckError::Timeout),
        }
    }

    /// Makes the socket join rooms.
    pub fn join(&self, rooms: impl RoomNames) {
        self.this().sockets_join(rooms);
    }

    /// Makes the socket leave rooms.
    pub fn leave(&self, rooms: impl RoomNames) {
        self.this().sockets_leave(rooms);
    }

    /// Makes the socket leave the namespace; its connection stays.
    pub fn disconnect(&self) {
        self.this().disconnect_sockets();
    }

    /// Closes the socket's connection.
    pub fn disconnect_and_close(&self) {
        self.this().disconnect_and_close_sockets();
    }
}
