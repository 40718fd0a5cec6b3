//! What it costs to publish an event to the other servers: the CPU time of `emit` on a server without
//! sockets that shares a Redis, beside that of the Redis client alone with the same bytes.
//!
//! `publish_cost redis://127.0.0.1:6379`
//!
//! Everything runs on the main thread, whose time the kernel counts (Linux). Both hear what they
//! publish, as servers do; the client alone throws it away.

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use socketio::Server;
use socketio_adapters::redis::RedisBus;
use socketio_proto::cluster::classic::{Broadcast, Channels};
use socketio_proto::cluster::{BroadcastOptions, Event, Uid, Values};

type Error = Box<dyn std::error::Error>;

const TEXT: &str = "a text of 32 bytes, more or less";
const ROUNDS: usize = 7;
const BATCHES: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut words = std::env::args().skip(1);
    let url = words.next().ok_or("the address of a Redis is missing")?;
    let io = Server::builder().cluster(RedisBus::new(&url)?).build();
    let mut alone = Alone::connect(&url).await?;
    // Connected, and listening.
    io.of("/").server_count().await?;
    println!("microseconds of CPU for each event, medians of {ROUNDS} rounds of {BATCHES} batches");
    for batch in [1, 10, 100] {
        let events = (BATCHES * batch) as f64;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = cpu()?;
            for _ in 0..BATCHES {
                for _ in 0..batch {
                    io.emit("news", TEXT).await?;
                }
                alone.until_heard(batch).await?;
            }
            ours.push((cpu()? - start) / events);

            let start = cpu()?;
            for _ in 0..BATCHES {
                alone.publish(batch).await?;
                alone.until_heard(batch).await?;
            }
            theirs.push((cpu()? - start) / events);
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        println!(
            "{batch:3} at once: {ours:.2}, the client alone {theirs:.2}: {:.2} beyond it",
            ours - theirs
        );
    }
    Ok(())
}

/// The Redis client without a server.
struct Alone {
    connection: MultiplexedConnection,
    channels: Channels,
    payload: Vec<u8>,
    /// Hears what either publishes, so that the next batch begins when the last one has come back.
    observer: PubSubStream,
}

impl Alone {
    async fn connect(url: &str) -> Result<Alone, Error> {
        let client = redis::Client::open(url)?;
        let connection = client.get_multiplexed_async_connection().await?;
        // Not the server's prefix: neither is to hear the other.
        let channels = Channels::new("socket.oi", "/");
        let (mut sink, mut stream) = client.get_async_pubsub().await?.split();
        sink.psubscribe(channels.broadcast_pattern()).await?;
        tokio::spawn(async move {
            let _sink = sink;
            while stream.next().await.is_some() {}
        });
        let (mut sink, observer) = client.get_async_pubsub().await?.split();
        sink.psubscribe(channels.broadcast_pattern()).await?;
        let servers = Channels::new("socket.io", "/");
        sink.psubscribe(servers.broadcast_pattern()).await?;
        let args = Values::new(format!("\"{TEXT}\""), Vec::new()).ok_or("too deep")?;
        let broadcast = Broadcast {
            uid: Uid::new("0123456789abcdef".to_owned()),
            nsp: "/".to_owned(),
            event: Event {
                name: "news".to_owned(),
                args,
            },
            opts: BroadcastOptions::default(),
        };
        Ok(Alone {
            connection,
            channels,
            payload: broadcast.encode(),
            observer,
        })
    }

    async fn publish(&self, batch: usize) -> Result<(), Error> {
        let mut connection = self.connection.clone();
        let channel = self.channels.broadcast_to(&BroadcastOptions::default());
        let mut pipe = redis::pipe();
        for _ in 0..batch {
            pipe.cmd("PUBLISH")
                .arg(channel.as_str())
                .arg(&self.payload)
                .ignore();
        }
        Ok(pipe.query_async(&mut connection).await?)
    }

    async fn until_heard(&mut self, batch: usize) -> Result<(), Error> {
        for _ in 0..batch {
            self.observer.next().await.ok_or("Redis has gone")?;
        }
        Ok(())
    }
}

/// What this thread has used so far, in microseconds.
fn cpu() -> Result<f64, Error> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().ok_or("no time")?;
    Ok(nanoseconds.parse::<f64>()? / 1_000.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
