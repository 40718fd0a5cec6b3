//! A proxy whose connections can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where connections go; nowhere while it is `None`.
    server: Mutex<Option<SocketAddr>>,
    cut: broadcast::Sender<Cut>,
    /// What does not know to be dead.
    held: Mutex<Vec<TcpStream>>,
}

/// Who learns that a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "each test uses what it needs")]
pub(crate) enum Cut {
    /// Both ends.
    Closed,
    /// The client.
    HalfOpen,
    /// Nobody, as when a cable is pulled.
    Silent,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            server: Mutex::new(Some(server)),
            cut: broadcast::Sender::new(1),
            held: Mutex::default(),
        });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(link(accepting.clone(), client));
            }
        });
        Proxy { url, shared }
    }

    /// Cuts all connections, and lets none through.
    pub(crate) fn cut(&self, how: Cut) {
        *self.shared.server.lock().unwrap() = None;
        let _ = self.shared.cut.send(how);
    }

    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = Some(server);
    }
}

async fn link(shared: Arc<Shared>, mut client: TcpStream) {
    let (mut cut, server) = (shared.cut.subscribe(), *shared.server.lock().unwrap());
    let Some(server) = server else { return };
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let cut = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        cut = cut.recv() => cut,
    };
    match cut {
        Ok(Cut::HalfOpen) => shared.held.lock().unwrap().push(server),
        Ok(Cut::Silent) => shared.held.lock().unwrap().extend([client, server]),
        _ => {}
    }
}
