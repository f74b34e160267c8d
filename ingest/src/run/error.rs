//! Why the service could not start or had to end, for the person at the terminal.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::backup::BackupError;
use crate::cli::CliError;
use crate::evaluate::CursorError;
use crate::quarantine::QuarantineError;
use crate::receive::mqtt::SecretError;
use crate::registry::RegistryError;
use crate::registry::seed::SeedError;
use crate::state::StateError;
use crate::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder of everything kept cannot be made.
    #[error("could not make the folder {}; set [ingest] state_dir to one that this user may write", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process works with the state folder.
    #[error("{} is in use by another davy-ingest; stop it first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A restore did not come to its end.
    #[error("a restore was interrupted; repeat it: davy-ingest restore {backup}")]
    Unfinished {
        /// The backup's folder as it was typed, with what must be said beside it.
        backup: String,
    },
    /// A backup was not made or not put back.
    #[error(transparent)]
    Backup(BackupError),
    /// The durable log.
    #[error("the durable log cannot be used")]
    Log(#[source] spool::Error),
    /// The receiver ended.
    #[error("the receiver cannot go on")]
    Receiver(#[source] crate::receive::worker::WorkerError),
    /// The store writer cannot read the log.
    #[error("the store writer cannot go on")]
    Writer(#[source] crate::log::FollowError),
    /// What the log kept of a gateway was written by another version.
    #[error("what the log kept of gateway {gateway} cannot be read; run the version that wrote it")]
    Kept {
        /// The gateway.
        gateway: String,
        /// What the parser said.
        #[source]
        source: postcard::Error,
    },
    /// The quarantine.
    #[error("the quarantine cannot be used")]
    Quarantine(#[source] QuarantineError),
    /// The state database.
    #[error("the state database cannot be used")]
    State(#[source] StateError),
    /// The registry's seed file.
    #[error("the registry seed cannot be taken")]
    Seed(#[source] SeedError),
    /// The registry.
    #[error("the registry cannot be changed")]
    Registry(#[source] RegistryError),
    /// The store.
    #[error("the store cannot be used")]
    Store(#[source] StoreError),
    /// A file with a secret.
    #[error("could not read {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file with a secret of the broker.
    #[error("the broker cannot be tried")]
    Broker(#[source] SecretError),
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
    /// The API cannot listen.
    #[error("could not listen on {at}; set [http] listen to a free port of this machine")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The built-in rules do not load.
    #[error("the built-in rules cannot be loaded")]
    Catalogue(#[source] rules::catalogue::CatalogueError),
    /// The evaluator.
    #[error("the evaluator cannot go on")]
    Evaluator(#[source] CursorError),
    /// The system gave no thread, signal handler or socket.
    #[error("the operating system refused")]
    Runtime(#[source] std::io::Error),
    /// A thread ended by a fault of the program.
    #[error("thread {thread} ended by a fault of the program; see the log above, and report it")]
    Panicked {
        /// Its name.
        thread: String,
    },
    /// A command.
    #[error(transparent)]
    Order(CliError),
    /// A command of the store.
    #[error(transparent)]
    StoreOrder(crate::cli::store::StoreCliError),
    /// Some of what the configuration names does not serve; it was listed.
    #[error("{problems} problem(s), listed above")]
    Check {
        /// How many.
        problems: usize,
    },
    /// Nothing could be printed.
    #[error("could not print")]
    Print(#[source] std::io::Error),
}

impl RunError {
    /// Whether the configuration or a command is wrong, rather than a disk or a server.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Seed(_)
                | Self::Secret { .. }
                | Self::Broker(_)
                | Self::Check { .. }
                | Self::Order(_)
                | Self::InUse { .. }
                | Self::Unfinished { .. }
                | Self::Backup(
                    BackupError::Exists { .. }
                        | BackupError::InTheWay { .. }
                        | BackupError::OtherState
                        | BackupError::NoBackup { .. }
                        | BackupError::Nothing { .. }
                )
                | Self::Listen { .. }
        )
    }
}
