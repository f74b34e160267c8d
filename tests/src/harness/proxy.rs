//! A TCP proxy on the loopback address whose link can be cut and mended.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// A link between a client and a server. Cutting it ends every connection and refuses new ones.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect to.
    pub address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    tasks: TaskTracker,
}

impl Proxy {
    /// Opens a link to `target`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let open = Arc::new(watch::Sender::new(true));
        let tasks = TaskTracker::new();
        let (state, spawner) = (open.subscribe(), tasks.clone());
        tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*state.borrow() {
                    continue;
                }
                spawner.spawn(carry(client, target, state.clone()));
            }
        });
        Ok(Proxy { address, open, tasks })
    }

    /// Cuts the link: both sides see their connection end.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Mends the link: new connections go through.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }

    /// Number of connections that are open now, the listener not counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.tasks.len().saturating_sub(1)
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
