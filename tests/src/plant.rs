//! Simulated plants: machines that draw power, meters that measure them, sensors beside them, all served over real
//! Modbus TCP sockets through the register maps of [`crate::meters`].
//!
//! Physics is kept consistent: what a meter shows of U, I, P, Q, S and PF agrees to the rounding of its registers, and
//! energy integrates power. Random numbers come from a seed, so a run can be repeated.

pub mod machine;
pub mod site;

use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::harness::modbus::Server;
use site::Site;

/// How often the machines move on.
const STEP: std::time::Duration = std::time::Duration::from_millis(200);

/// Sites whose devices answer on sockets of this process.
#[derive(Debug)]
pub struct Plants {
    /// The sites, in the order given.
    pub sites: Vec<Arc<Site>>,
    servers: Vec<Server>,
    stop: CancellationToken,
}

impl Plants {
    /// Opens one endpoint a site on the loopback address and lets the machines run.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(sites: Vec<Site>) -> Result<Plants> {
        let sites: Vec<Arc<Site>> = sites.into_iter().map(Arc::new).collect();
        let mut servers = Vec::new();
        for site in &sites {
            let units = Arc::clone(site);
            servers.push(Server::start(([127, 0, 0, 1], 0).into(), units).await?);
        }
        let stop = CancellationToken::new();
        let (moving, stopped) = (sites.clone(), stop.clone());
        tokio_util::task::TaskTracker::new().spawn(async move {
            let mut clock = tokio::time::interval(STEP);
            loop {
                tokio::select! {
                    _ = clock.tick() => {}
                    () = stopped.cancelled() => return,
                }
                for site in &moving {
                    site.step(STEP.as_secs_f64());
                }
            }
        });
        Ok(Plants { sites, servers, stop })
    }

    /// Where the devices of the `index`-th site answer.
    #[must_use]
    pub fn address(&self, index: usize) -> std::net::SocketAddr {
        self.servers[index].address
    }
}

impl Drop for Plants {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
