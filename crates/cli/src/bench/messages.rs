//! `echo` and `broadcast`: events that are emitted, and the same that come back.

use std::sync::Arc;
use std::time::Instant;

use socketio::client::Socket;

use super::client::{Connected, Member};
use super::lane::Lane;
use super::stamp::Received;

/// Takes what comes back.
pub(crate) fn register(member: &Arc<Member>, socket: &Socket) {
    let here = member.clone();
    socket.on(
        member.bench.options.reply_event(),
        async move |socket: Socket, received: Received| received_one(&here, &socket, received),
    );
}

fn received_one(member: &Member, socket: &Socket, received: Received) {
    let now_us = member.bench.recorder.now_us();
    let mut lane = member.lane.lock();
    if let Some(stamp) = lane.received(received, now_us) {
        let latency_us = now_us.saturating_sub(stamp.due_us);
        member.bench.recorder.record(member.index, latency_us);
    }
    fill(member, &mut lane, socket);
}

/// Begins to send; without a rate each answer then brings the next message.
pub(crate) fn begin(connected: &Connected) {
    let Connected { member, socket } = connected;
    fill(member, &mut member.lane.lock(), socket);
}

/// Goes on after a connection is back: what was under way may never come.
pub(crate) fn begin_anew(member: &Member, socket: &Socket) {
    let mut lane = member.lane.lock();
    lane.write_off();
    fill(member, &mut lane, socket);
}

/// Sees to it that a connection goes on whose messages do not come.
pub(crate) fn nudge(connected: &Connected) {
    let Connected { member, socket } = connected;
    let mut lane = member.lane.lock();
    if lane.is_stuck(member.bench.recorder.now_us()) {
        lane.write_off();
    }
    fill(member, &mut lane, socket);
}

/// Sends a message that is due at a fixed time.
pub(crate) fn send_due(connected: &Connected, due: Instant) {
    let Connected { member, socket } = connected;
    let mut lane = member.lane.lock();
    if lane.in_flight() >= MOST_IN_FLIGHT {
        let cause = format!("not sent, because {MOST_IN_FLIGHT} of the connection were under way");
        member.bench.recorder.errors.lock().add(cause);
        return;
    }
    send(member, &mut lane, socket, member.bench.recorder.us_of(due));
}

/// Sends until as many are under way as should be, unless there is a rate.
fn fill(member: &Member, lane: &mut Lane, socket: &Socket) {
    let options = &member.bench.options;
    if options.rate.is_some() || !lane.is_sender() {
        return;
    }
    while member.bench.is_sending() && lane.in_flight() < options.depth {
        let now_us = member.bench.recorder.now_us();
        if !send(member, lane, socket, now_us) {
            return;
        }
    }
}

fn send(member: &Member, lane: &mut Lane, socket: &Socket, due_us: u64) -> bool {
    let bench = &member.bench;
    match socket.emit(bench.options.event(), lane.stamp(due_us)).now() {
        Ok(()) => {
            lane.sent(bench.recorder.now_us());
            true
        }
        Err(error) => {
            bench.recorder.errors.lock().add(error);
            false
        }
    }
}

/// What a connection may owe at a fixed rate, so that a server that is too slow does not cost all
/// memory.
const MOST_IN_FLIGHT: u32 = 10_000;
