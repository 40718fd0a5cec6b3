//! One of three servers loses its way to Redis, which nobody tells anybody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socketio_adapters::redis::StreamsBus;

use super::load::{Figures, under_load};
use super::proxy::{Cut, Proxy};
use super::*;

/// Cuts the way of the last server, so that neither end learns of it, and heals it.
async fn cut<B: Bus>(redis: &Redis, what: &str, bus: impl Fn(&str) -> B) -> Figures {
    let address = format!("127.0.0.1:{}", redis.port());
    let proxy = Proxy::to(address.parse().expect("an address")).await;
    let way = proxy.url.replace("http", "redis");
    let made = AtomicUsize::new(0);
    let bus = || match made.fetch_add(1, Ordering::Relaxed) {
        2 => bus(&way),
        _ => bus(&redis.url),
    };
    under_load(what, bus, async || {
        proxy.cut(Cut::Silent);
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.lead_to(address.parse().expect("an address"));
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_network_was_cut_is_back_with_redis() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let figures = cut(&redis, "classic Redis, a network cut", |url| {
        RedisBus::new(url).expect("an address")
    })
    .await;
    assert_eq!((figures.doubled, figures.late), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_network_was_cut_misses_nothing_with_streams() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let figures = cut(&redis, "Redis Streams, a network cut", |url| {
        StreamsBus::builder(url).build().expect("an address")
    })
    .await;
    let Figures {
        lost,
        doubled,
        late,
        ..
    } = figures;
    assert_eq!((lost, doubled, late), (0, 0, 0));
}
