//! Full disks: the centre's below its reserve and to the last byte, the gateway's likewise.

use tests::faults::fault::Fault;
use tests::faults::world::Needs;

use super::{EMBEDDED, keeps_every_promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn full_disks_cost_nothing() {
    let rounds = vec![
        vec![
            Fault::CentreDisk { left: 255 << 20, for_ms: 1_500 },
            Fault::CentreDisk { left: 0, for_ms: 1_500 },
        ],
        vec![
            Fault::SpoolDisk { left: 900 << 10, for_ms: 1_500 },
            Fault::SpoolDisk { left: 0, for_ms: 1_500 },
        ],
    ];
    keeps_every_promise(401, Needs { disks: true, ..EMBEDDED }, rounds).await;
}
