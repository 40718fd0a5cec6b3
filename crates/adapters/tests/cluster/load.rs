//! What becomes of messages when the backend of a bus has trouble while they are sent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socketio::cluster::Bus;

use tokio::time::MissedTickBehavior;

use super::{Cluster, Guest, soon};

pub(super) struct Figures {
    /// How many were sent while there was trouble.
    pub(super) meanwhile: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// How many came after a later one.
    pub(super) late: u64,
}

/// Sends numbers from the first server while `trouble` happens, and until all hear it again.
pub(super) async fn under_load<B: Bus>(
    what: &str,
    bus: impl Fn() -> B,
    trouble: impl AsyncFnOnce(),
) -> Figures {
    let mut cluster = Cluster::new(bus, 0).await;
    let (io, sent) = (cluster.of(0), AtomicU64::new(0));
    let sending = async {
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        // A slow machine is not to be drowned: the backend is what is tested.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            io.emit("news", sent.fetch_add(1, Ordering::Relaxed));
        }
    };
    let mut meanwhile = 0;
    let mut heard: [Vec<u64>; 3] = Default::default();
    let healed = async {
        soon(async {
            while sent.load(Ordering::Relaxed) < 100 {
                tokio::task::yield_now().await
            }
        })
        .await;
        let start = sent.load(Ordering::Relaxed);
        trouble().await;
        let mark = sent.load(Ordering::Relaxed);
        meanwhile = mark - start;
        for (client, heard) in cluster.clients.iter_mut().zip(&mut heard) {
            while heard.last().is_none_or(|&last| last < mark) {
                heard.push(number(client).await.expect("a number"));
            }
        }
    };
    tokio::select! { () = sending => {} () = healed => {} }
    cluster.of(0).emit("news", "end");
    let sent = sent.into_inner();
    let mut figures = Figures {
        meanwhile,
        lost: 0,
        doubled: 0,
        late: 0,
    };
    for (i, (client, mut heard)) in cluster.clients.iter_mut().zip(heard).enumerate() {
        while let Some(number) = number(client).await {
            heard.push(number);
        }
        let mut times: HashMap<u64, u64> = HashMap::new();
        for number in &heard {
            *times.entry(*number).or_default() += 1;
        }
        let lost = (0..sent)
            .filter(|number| !times.contains_key(number))
            .count() as u64;
        let doubled = times.values().filter(|times| **times > 1).count() as u64;
        let late = heard.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        let delivered = times.len();
        println!(
            "{what}, client {i}: sent {sent}, delivered {delivered}, lost {lost}, doubled {doubled}"
        );
        figures.lost += lost;
        figures.doubled += doubled;
        figures.late += late;
        if i == 0 {
            assert_eq!(
                (lost, doubled),
                (0, 0),
                "the sender's own client needs no backend"
            );
        }
    }
    figures
}

/// What is heard next; `None` at the end.
async fn number(client: &mut Guest) -> Option<u64> {
    soon(client.heard.recv()).await.expect("news").parse().ok()
}
