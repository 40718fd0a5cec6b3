//! What a server has counted, for those who ask.

use std::sync::atomic::{AtomicU64, Ordering};

use socketio_proto::socket::DisconnectReason;

use super::metrics::{AckTimes, Striped};
use crate::application::Application;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of a running server.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            events: Striped,
            packets: Striped,
            pub(crate) ack_times: AckTimes,
            refused: [AtomicU64; 6],
            disconnects: [AtomicU64; REASONS.len()],
            $($name: AtomicU64,)+
        }

        /// What a server has counted since its start.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Sessions that are open.
            pub clients: usize,
            /// Bytes that are kept for clients which may come back.
            pub recovery_bytes: usize,
            /// Events that came from clients.
            pub events: u64,
            /// Packets of Socket.IO that were queued for clients, one for each receiver.
            pub packets: u64,
            /// Calls of the application's code (handlers, hooks, listeners, plug-ins, the `Drop` of what
            /// it has given) that have ended in a panic.
            pub panics: u64,
            /// Calls of the application's code that have blocked their thread for a second.
            pub blocked_callbacks: u64,
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            $(pub(crate) fn $name(&self) {
                self.$name.fetch_add(1, Ordering::Relaxed);
            })+

            pub(crate) fn stats(
                &self,
                application: &Application,
                clients: usize,
                recovery_bytes: usize,
            ) -> Stats {
                Stats {
                    clients,
                    recovery_bytes,
                    panics: application.panics(),
                    blocked_callbacks: application.blocked(),
                    events: self.events.load(),
                    packets: self.packets.load(),
                    $($name: self.$name.load(Ordering::Relaxed),)+
                }
            }
        }
    };
}

counters! {
    /// Sessions that were opened.
    opened,
    /// Sessions that have moved from polling to WebSocket.
    upgraded,
    /// WebSockets of polling sessions that ended before the session had moved.
    failed_upgrades,
    /// Clients that came back with their id, rooms, data and missed events.
    recovered,
    /// Clients that came back and were unknown: away for too long, or this is another server.
    not_recovered_unknown,
    /// Clients that came back and whose offset is not known, or what they missed not kept any more.
    not_recovered_offset,
    /// Volatile packets that could not be written at once.
    dropped_volatile,
    /// Packets for clients whose queue was full.
    dropped_full,
    /// Events that nobody handled.
    unhandled_events,
    /// Events whose arguments a handler could not decode.
    undecodable_events,
    /// Events that were handled after their client had left: they were read before, and had to wait in
    /// a sequence or for a middleware.
    events_after_leaving,
    /// Events that were not, because the application had sent their client away.
    dropped_after_leaving,
    /// Requests that were refused, with one of the codes 0 to 5.
    refused_requests,
    /// Handshakes that were refused because the server had too many sessions.
    refused_connections,
    /// TCP connections that were dropped because there were too many of them, or of open files.
    dropped_connections,
    /// Handshakes that were refused because their address had too many sessions.
    refused_addresses,
    /// Connections that were dropped because their peer may not send the PROXY protocol, or sent
    /// something else.
    refused_proxies,
    /// Handshakes that were refused because too many came at once.
    refused_handshakes,
    /// Handshakes that were refused because the server is being drained, or closed.
    refused_draining,
    /// Connections that were closed after a packet which was malformed, did not fit the state, or was
    /// beyond a limit on attachments or namespaces.
    invalid_packets,
    /// Clients with long queues that were disconnected because those of all clients were full together.
    shed_clients,
    /// Connections that were closed because attachments that were announced did not come in time; they
    /// are counted in `invalid_packets`, too.
    late_attachments,
    /// Times that a client had as many handlers running as it may.
    saturated,
    /// WebSocket handshakes that were refused because a header of theirs was missing or malformed.
    malformed_handshakes,
    /// Sessions that were closed because they had joined no namespace in time.
    connect_timeouts,
    /// Connections that were dropped because their first request, a body, a TLS handshake or a PROXY
    /// header did not come in time, or an answer was not read.
    slow_clients,
    /// Requests that were refused because their head was too long.
    long_heads,
    /// Bodies that were refused, and WebSockets that were closed, because a message was too large.
    large_messages,
    /// Namespaces that were refused to clients because there were too many dynamic ones.
    refused_namespaces,
    /// Namespaces that were refused to a client because too much `auth` was kept for it already.
    large_auths,
    /// Times that a client had to wait because it sent faster than a
    /// [`RateLimit`](crate::RateLimit) allows.
    rate_waits,
    /// Events that were refused because their client sent faster than that.
    rate_refused,
    /// Events that were dropped because their client sent faster than that.
    rate_dropped,
    /// Clients that were disconnected because they sent faster than that.
    rate_disconnects,
    /// Sockets that were made to leave because [their time](crate::Socket::expires_at) was over.
    expired,
    /// Events to be acknowledged that were refused because too many answers were awaited.
    refused_acks,
    /// Requests that were forwarded to the servers of their sessions.
    forwarded,
    /// Requests that were not forwarded because too many were on their way.
    refused_forwards,
    /// Messages that other servers of the cluster did not get, because the bus refused them.
    cluster_refused,
    /// Messages from the bus that were none, or could not be read.
    cluster_rejected,
    /// Times that the task which watches all deadlines has ended and was started again.
    deadline_restarts,
    /// Emits that failed and whose outcome nobody has looked at.
    failed_emits,
}

impl Counters {
    pub(crate) fn event(&self) {
        self.events.add_one();
    }

    pub(crate) fn packet(&self) {
        self.packets.add_one();
    }

    /// Counts several packets at once for clients whose queue was full.
    pub(crate) fn dropped_full_by(&self, packets: u64) {
        self.dropped_full.fetch_add(packets, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, code: u8) {
        self.refused_requests();
        if let Some(count) = self.refused.get(usize::from(code)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused_by_code(&self) -> [u64; 6] {
        std::array::from_fn(|code| self.refused[code].load(Ordering::Relaxed))
    }

    pub(crate) fn disconnected(&self, reason: DisconnectReason) {
        if let Some(at) = REASONS.iter().position(|known| *known == reason) {
            self.disconnects[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn disconnects(&self) -> Vec<(DisconnectReason, u64)> {
        let counts = self
            .disconnects
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        REASONS.into_iter().zip(counts).collect()
    }
}

const REASONS: [DisconnectReason; 9] = [
    DisconnectReason::ClientNamespaceDisconnect,
    DisconnectReason::ForcedClose,
    DisconnectReason::ForcedServerClose,
    DisconnectReason::ParseError,
    DisconnectReason::PingTimeout,
    DisconnectReason::ServerNamespaceDisconnect,
    DisconnectReason::ServerShuttingDown,
    DisconnectReason::TransportClose,
    DisconnectReason::TransportError,
];
