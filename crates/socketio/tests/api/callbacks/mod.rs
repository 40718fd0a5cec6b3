//! An application's code may fail anywhere: a table of all callbacks, each of which is made to panic and,
//! where it can wait, to be slow and never to end. Each row says what becomes of the callback's own act
//! and of its client; nobody else may notice.
//!
//! The table is checked against the sources: whoever adds a callback adds a row.

mod client;
mod http;
mod lab;
mod plugins;
mod server;
mod sources;

use std::collections::BTreeSet;
use std::sync::Once;
use std::time::Duration;

use lab::{Bomb, Fault, Lab, Row, Trouble};
use socketio::{RoomEvent, Server, Socket};

use crate::support::{soon, until};

/// What stands in the sources and has no row, and why.
const NO_CALLBACKS: &[(&str, &str)] = &[
    ("event: Event", "a name; it has no methods"),
    (
        "emitter: Emit",
        "implemented here only, for buses' emitters",
    ),
    ("handler: Endpoint", "implemented here only"),
    (
        "server/broadcast: RoomNames",
        "called on the caller's stack, before anything else",
    ),
    (
        "server/cluster/bus: Inbox",
        "implemented here only; buses call it",
    ),
    (
        "server/cluster/bus: together",
        "called on the bus's own stack",
    ),
];

fn rows() -> Vec<Row> {
    let parts: [fn() -> Vec<Row>; 4] = [client::rows, http::rows, plugins::rows, server::rows];
    parts.into_iter().flat_map(|rows| rows()).collect()
}

#[test]
fn every_callback_of_the_sources_stands_in_the_table() {
    let rows = rows();
    let in_table = rows.iter().flat_map(|row| row.sources.iter().copied());
    let named = NO_CALLBACKS.iter().map(|(source, _)| *source);
    let in_table: BTreeSet<&str> = in_table.chain(named).collect();
    let in_sources = sources::callbacks();
    let in_sources: BTreeSet<&str> = in_sources.iter().map(String::as_str).collect();
    let missing: Vec<_> = in_sources.difference(&in_table).collect();
    assert!(missing.is_empty(), "add to the table: {missing:#?}");
    let gone: Vec<_> = in_table.difference(&in_sources).collect();
    assert!(
        gone.is_empty(),
        "in the table, and not in the sources: {gone:#?}"
    );

    let names = sources::names();
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let tested: BTreeSet<&str> = rows.iter().map(|row| row.callback).collect();
    // The watch of the deadlines is no callback; it has a test of its own.
    let missing: Vec<_> = names
        .difference(&tested)
        .filter(|n| **n != "deadline")
        .collect();
    assert!(missing.is_empty(), "add to the table: {missing:#?}");
    assert!(tested.is_subset(&names), "{tested:?} and {names:?}");
}

/// Panics that are meant say nothing.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str();
            if text.is_some_and(|text| !text.contains("on purpose")) {
                before(info);
            }
        }));
    });
}

async fn check(rows: Vec<Row>) {
    quiet_panics();
    let mut wrong = Vec::new();
    for row in rows {
        for (fault, expected) in row.cases {
            let trouble = Trouble::new(*fault);
            let (mut lab, becomes) = soon((row.run)(trouble)).await;
            let of = row.sources.join(", ");
            println!("{:<20} {fault:<5?} {becomes:<40} {of}", row.callback);
            if becomes != *expected {
                wrong.push(format!(
                    "{of} {fault:?}: {becomes:?} instead of {expected:?}"
                ));
            }
            lab.nobody_else_notices().await;
            if *fault == Fault::Panic {
                // What runs when a time is over may still be under way.
                until(|| lab.panics() > 0).await;
            } else if lab.panics() > 0 {
                wrong.push(format!("{of} {fault:?}: {} panics", lab.panics()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// The task that watches the deadlines of all runs listeners and `Drop`s of the application's, too.
#[tokio::test(flavor = "multi_thread")]
async fn what_panics_while_deadlines_are_watched_stops_no_ping() {
    quiet_panics();
    let trouble = Trouble::new(Fault::Panic);
    let builder = Server::builder().ping_timeout(Duration::from_secs(2));
    let mut lab = Lab::start(builder, |io| {
        let bad = io.of("/bad");
        bad.local_adapter().on_room_event({
            let trouble = trouble.clone();
            move |event| {
                if matches!(event, RoomEvent::Deleted(_)) {
                    trouble.now();
                }
            }
        });
        bad.on_connect(async move |socket: Socket| socket.set_extension(Bomb(trouble)));
    })
    .await;
    // Two clients that answer no ping.
    let silent = (lab.victim().await, lab.victim().await);
    while !lab.io.of("/bad").sockets().is_empty() || lab.panics() < 4 {
        lab.nobody_else_notices().await;
    }
    drop(silent);
    lab.nobody_else_notices().await;
    let stats = lab.io.stats();
    assert_eq!((stats.panics, stats.deadline_restarts), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_blocks_its_thread_for_a_second_is_counted_once() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let mut lab = Lab::start(Server::builder(), move |io| {
        io.of("/bad").local_adapter().on_room_event(move |event| {
            if matches!(event, RoomEvent::Joined(room, _) if room == "a room") {
                let _ = wait.lock().expect("no panic").recv();
            }
        });
        io.of("/bad").on("x", async |socket: Socket| {
            socket.join("a room");
            1
        });
    })
    .await;
    let mut ws = lab.victim().await;
    ws.send("42/bad,1[\"x\"]").await;
    until(|| lab.io.stats().blocked_callbacks == 1).await;
    release.send(()).expect("it waits");
    assert_eq!(ws.text().await, "43/bad,1[1]");
    lab.nobody_else_notices().await;
    assert_eq!(lab.io.stats().blocked_callbacks, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_s_handlers_do_concerns_their_event_alone() {
    check(server::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hooks_of_requests_do_concerns_their_request_alone() {
    check(http::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plug_ins_do_concerns_their_namespace_alone() {
    check(plugins::rows()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_s_callbacks_do_leaves_it_connected() {
    check(client::rows()).await;
}
