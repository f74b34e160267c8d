//! The commands that work on the state database: `seed`, `user`, `gateway`, `key`, `audit`.
//!
//! `main` parses [`Order`] with the program's other commands, opens the state and calls [`run`]. They share their code
//! with the API and may run beside the service: the database waits for the other process, and the service looks for a
//! changed registry ([`Registrar::refresh`](crate::registry::Registrar::refresh)). Passwords come from a file or from
//! standard input, never from the command line, where every user of the machine could read them.

use std::io::{BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

pub mod journal;
pub mod quarantine;
pub mod store;

pub use journal::JournalOrder;
pub use quarantine::QuarantineOrder;
pub use store::StoreOrder;

use crate::account::{AccountError, NewApiKey, NewUser, Role};
use crate::journal::ChainCheck;
use crate::registry::seed::{Seed, SeedError};
use crate::registry::{RegistryError, SeedReport};
use crate::secret::Secret;
use crate::state::{State, StateError};

/// Who the audit journal names for what is done on the machine itself.
const ACTOR: &str = "cli";

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Order {
    /// Apply a registry file: sites, gateways, devices, facts (see registry.example.toml)
    Seed {
        /// The file
        file: PathBuf,
    },
    /// Users: add, password, disable, enable, list
    #[command(subcommand)]
    User(UserOrder),
    /// Gateways: add, list
    #[command(subcommand)]
    Gateway(GatewayOrder),
    /// API keys: add, revoke, list
    #[command(subcommand)]
    Key(KeyOrder),
    /// Check the hash chain of the audit journal and print its head
    Audit,
}

/// Users.
#[derive(Debug, Subcommand)]
pub enum UserOrder {
    /// Add a user
    Add {
        /// Name to sign in with
        name: String,
        /// Name as shown
        #[arg(long, default_value = "")]
        display: String,
        /// administrator, duty, officer, plant, grid or auditor
        #[arg(long)]
        role: Role,
        /// Site of a plant user
        #[arg(long)]
        site: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set a user's password and end their sessions
    Password {
        /// Name to sign in with
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Let a user sign in no more
    Disable {
        /// Name to sign in with
        name: String,
    },
    /// Let a disabled user sign in again
    Enable {
        /// Name to sign in with
        name: String,
    },
    /// List users
    List,
}

/// Where a password comes from.
#[derive(Debug, Args)]
pub struct PasswordSource {
    /// File whose first line is the password; without it, the first line of standard input
    #[arg(long)]
    password_file: Option<PathBuf>,
}

/// Gateways.
#[derive(Debug, Subcommand)]
pub enum GatewayOrder {
    /// Provision a gateway; prints its key once, as the snippet for its configuration
    Add {
        /// Name: 1 to 64 letters, digits, '_' or '-'
        name: String,
        /// Site it stands on
        #[arg(long)]
        site: String,
        /// Replace the key of a gateway that has one; the old key is locked out
        #[arg(long)]
        rekey: bool,
    },
    /// List gateways
    List,
}

/// API keys.
#[derive(Debug, Subcommand)]
pub enum KeyOrder {
    /// Make a key; prints it once
    Add {
        /// What it is for
        name: String,
        /// administrator, duty, officer, plant, grid or auditor
        #[arg(long)]
        role: Role,
        /// Site of a plant key
        #[arg(long)]
        site: Option<String>,
    },
    /// End a key
    Revoke {
        /// Its id, as listed
        id: String,
    },
    /// List keys
    List,
}

/// Why a command failed; its text is for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The registry file.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// The password could not be read.
    #[error("could not read the password from {from}")]
    Password {
        /// File or standard input.
        from: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The durable log could not be opened.
    #[error("could not open the durable log; is davy-ingest running on it?")]
    Log(#[source] spool::Error),
    /// The durable log could not be read.
    #[error("could not read the durable log")]
    Follow(#[source] crate::log::FollowError),
    /// A log whose first records are gone cannot be put into another order.
    #[error(
        "the log has evicted its beginning: its blocks have no order any more from the first one on; `davy-ingest journal replay` without --in-order replays what is left"
    )]
    NotWhole,
    /// A log whose first records are gone, and nothing to begin from.
    #[error(
        "the log has evicted its beginning and no snapshot of this version and of this log is there to replay from: start the service once for a minute, stop it, and ask again"
    )]
    NothingToBeginFrom,
    /// The quarantine.
    #[error(transparent)]
    Quarantine(crate::quarantine::desk::DeskError),
    /// No such entry of the quarantine.
    #[error(
        "the quarantine has no entry {0}; `davy-ingest quarantine list --state all` lists them"
    )]
    NoEntry(i64),
    /// The entry is closed.
    #[error("entry {0} is closed: its bytes are gone")]
    NoBytes(i64),
    /// No such state of an entry.
    #[error("{0:?} is no state: use open, requested, logged, replayed, discarded or all")]
    EntryState(String),
    /// Nobody of that name may sign in.
    #[error(
        "--by names the user who decides, and {0:?} is none who may sign in; see `davy-ingest user list`"
    )]
    NoUser(String),
    /// An act without a reason, or with too many entries.
    #[error("an act has a --reason and at most 1,000 entries")]
    Act,
    /// Some of an act was refused.
    #[error("{refused} of {of} entries were refused, see above")]
    Refused {
        /// How many.
        refused: usize,
        /// Of how many.
        of: usize,
    },
    /// A file could not be written.
    #[error("could not write {}", path.display())]
    Export {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nothing could be printed.
    #[error("could not print")]
    Print(#[source] std::io::Error),
    /// The audit journal was tampered with.
    #[error("the audit journal is broken at row {0}: keep the file and find out who changed it")]
    Tampered(i64),
}

/// What a command works with.
#[derive(Debug)]
pub struct Desk<'a, I, O> {
    /// The database.
    pub state: &'a State,
    /// Centre time, ms UTC.
    pub now_ms: i64,
    /// What a gateway's configuration needs besides its key.
    pub gateway_snippet: &'a str,
    /// Standard input.
    pub input: I,
    /// Standard output.
    pub output: O,
}

/// Carries out a command.
///
/// # Errors
/// [`CliError`]; nothing was changed then.
pub async fn run<I: BufRead, O: Write>(
    order: Order,
    desk: &mut Desk<'_, I, O>,
) -> Result<(), CliError> {
    match order {
        Order::Seed { file } => {
            let seed = Seed::load(&file)?;
            let report = desk.state.apply_seed(&seed, desk.now_ms).await?;
            desk.print(&told(&report))
        }
        Order::User(order) => desk.user(order).await,
        Order::Gateway(order) => desk.gateway(order).await,
        Order::Key(order) => desk.key(order).await,
        Order::Audit => match desk.state.check_audit_chain().await? {
            ChainCheck::Whole { rows, head } => {
                desk.print(&format!("{rows} rows, whole; head {head}\n"))
            }
            ChainCheck::Broken { seq } => Err(CliError::Tampered(seq)),
        },
    }
}

impl<I: BufRead, O: Write> Desk<'_, I, O> {
    fn print(&mut self, text: &str) -> Result<(), CliError> {
        self.output.write_all(text.as_bytes()).map_err(CliError::Print)
    }

    async fn user(&mut self, order: UserOrder) -> Result<(), CliError> {
        match order {
            UserOrder::Add { name, display, role, site, password } => {
                if let Some(site) = &site {
                    self.need_site(site).await?;
                }
                let password = self.password(&password)?;
                let new = NewUser { name, display, role, site, password };
                let user = self.state.add_user(new, ACTOR, self.now_ms).await?;
                self.print(&format!("added {} ({})\n", user.name, user.role))
            }
            UserOrder::Password { name, password } => {
                let password = self.password(&password)?;
                self.state.set_password(&name, password, ACTOR, self.now_ms).await?;
                self.print(&format!("changed the password of {name}; their sessions have ended\n"))
            }
            UserOrder::Disable { name } => {
                self.state.disable_user(&name, ACTOR, self.now_ms).await?;
                self.print(&format!("disabled {name}; their sessions have ended\n"))
            }
            UserOrder::Enable { name } => {
                self.state.enable_user(&name, ACTOR, self.now_ms).await?;
                self.print(&format!("enabled {name}; they sign in with the password they had\n"))
            }
            UserOrder::List => {
                for user in self.state.users().await? {
                    let ended = if user.disabled_at.is_some() { "  disabled" } else { "" };
                    let site = user.site.as_deref().unwrap_or("-");
                    let line =
                        format!("{}  {}  {site}  {}{ended}\n", user.name, user.role, user.display);
                    self.print(&line)?;
                }
                Ok(())
            }
        }
    }

    async fn gateway(&mut self, order: GatewayOrder) -> Result<(), CliError> {
        match order {
            GatewayOrder::Add { name, site, rekey } => {
                let added = self.state.add_gateway(&name, &site, rekey, ACTOR, self.now_ms).await?;
                let more = self.gateway_snippet.trim();
                self.print(
                    "# Put this into the gateway's configuration; the key is not shown again.\n",
                )?;
                self.print(&added.snippet())?;
                if more.is_empty() { Ok(()) } else { self.print(&format!("\n{more}\n")) }
            }
            GatewayOrder::List => {
                let registry = self.state.load_registry().await?;
                let mut gateways: Vec<_> = registry.gateways().collect();
                gateways.sort_by(|a, b| a.name.cmp(&b.name));
                for gateway in gateways {
                    let key = if gateway.key.is_some() { "provisioned" } else { "no key" };
                    self.print(&format!("{}  {}  {key}\n", gateway.name, gateway.site))?;
                }
                Ok(())
            }
        }
    }

    async fn key(&mut self, order: KeyOrder) -> Result<(), CliError> {
        match order {
            KeyOrder::Add { name, role, site } => {
                if let Some(site) = &site {
                    self.need_site(site).await?;
                }
                let new = NewApiKey { name, role, site };
                let (key, secret) = self.state.add_api_key(new, ACTOR, self.now_ms).await?;
                self.print(&format!("{}  {}\n", key.id, secret.reveal()))
            }
            KeyOrder::Revoke { id } => {
                self.state.revoke_api_key(&id, ACTOR, self.now_ms).await?;
                self.print(&format!("revoked {id}\n"))
            }
            KeyOrder::List => {
                for key in self.state.api_keys().await? {
                    let ended = if key.revoked_at.is_some() { "  revoked" } else { "" };
                    let site = key.site.as_deref().unwrap_or("-");
                    self.print(&format!(
                        "{}  {}  {site}  {}{ended}\n",
                        key.id, key.role, key.name
                    ))?;
                }
                Ok(())
            }
        }
    }

    /// An account of a site that is not there would silently see nothing.
    async fn need_site(&self, site: &str) -> Result<(), CliError> {
        let registry = self.state.load_registry().await?;
        match registry.site(site) {
            Some(_) => Ok(()),
            None => Err(RegistryError::NoSuchSite(site.to_owned()).into()),
        }
    }

    fn password(&mut self, source: &PasswordSource) -> Result<Secret, CliError> {
        let (from, read) = match &source.password_file {
            Some(file) => (file.display().to_string(), first_line(file)),
            // A person types it: nobody looks over their shoulder.
            None if std::io::stdin().is_terminal() => {
                self.print("password (not shown as you type): ")?;
                self.output.flush().map_err(CliError::Print)?;
                ("the terminal".to_owned(), rpassword::read_password())
            }
            None => {
                let mut line = String::new();
                let read = self.input.read_line(&mut line).map(|_| line);
                ("standard input".to_owned(), read)
            }
        };
        let line = read.map_err(|source| CliError::Password { from, source })?;
        Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn first_line(file: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What a seed changed, in words.
fn told(report: &SeedReport) -> String {
    if report.is_unchanged() {
        return "nothing new in this file\n".to_owned();
    }
    let lists = [
        ("sites added", &report.sites_added),
        ("sites changed", &report.sites_changed),
        ("devices removed", &report.devices_removed),
        ("gateways added", &report.gateways_added),
        ("gateways with a new key", &report.gateways_rekeyed),
    ];
    let mut text = String::new();
    for (what, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("{what}: {}\n", names.join(", ")));
    }
    text.push_str(&format!("facts recorded: {}\n", report.facts.len()));
    text
}

#[cfg(test)]
mod tests;
