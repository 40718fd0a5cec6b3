//! What a server does with messages of others, whatever the bus is.

use socketio::Server;
use socketio::cluster::{MemoryBus, together};

use crate::support::{Ws, start};

#[tokio::test]
async fn what_is_delivered_together_is_written_in_one_piece_and_in_order() {
    let bus = MemoryBus::new();
    let (io, address) = start(Server::builder().cluster(bus.clone())).await;
    let other = Server::builder().cluster(bus).build();
    let mut ws = Ws::connect(address).await;
    let socket = io.sockets().pop().expect("the client");
    let queued = || socket.connection().queued_bytes();

    other.emit("news", 0);
    assert_eq!(queued(), 0, "alone, it is written at once");
    together(|| {
        for i in 1..=8 {
            other.emit("news", i);
        }
        assert_eq!(queued(), 8 * "..42[\"news\",1]".len());
    });
    assert_eq!(queued(), 0);
    for i in 0..=8 {
        assert_eq!(ws.text().await, format!("42[\"news\",{i}]"));
    }
}
