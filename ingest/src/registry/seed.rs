//! The seed file: sites, gateways, devices and facts as a person writes them (`registry.example.toml` shows every key).
//!
//! Read by `davy-ingest seed` and at each start; all problems are reported at once with their lines, and a file with a
//! problem changes nothing. Reading has no effect; [`State::apply_seed`](crate::state::State::apply_seed) has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rules::{Catalogue, Fact, FactBody, SiteModel};
use toml::de::DeTable;

use super::{Device, Site};
use crate::secret::Secret;

mod fact;
mod overridden;
pub(crate) mod reader;
mod site;

pub use reader::Problem;
use reader::{Problems, Table};

/// What a file says, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seed {
    /// Sites in the file's order.
    pub sites: Vec<SeedSite>,
}

/// A site with everything that stands on it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedSite {
    /// The site.
    pub site: Site,
    /// Devices by id; `expected_since` is set when they are applied.
    pub devices: BTreeMap<String, Device>,
    /// Its gateways.
    pub gateways: Vec<SeedGateway>,
    /// Orders, approvals, planned work.
    pub facts: Vec<SeedFact>,
}

/// A gateway as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedGateway {
    /// Topic-safe name.
    pub name: String,
    /// Its key, where the file names one; else `davy-ingest gateway add` makes it.
    pub key: Option<Secret>,
    /// The gateway this one replaces.
    pub replaces: Option<String>,
}

/// A fact as written; revision and time of recording are given when it is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct SeedFact {
    /// Identity over all revisions.
    pub id: String,
    /// Ms UTC.
    pub valid_from: i64,
    /// Ms UTC, exclusive.
    pub valid_to: Option<i64>,
    /// Taken back.
    pub withdrawn: bool,
    /// What it says.
    pub body: FactBody,
}

/// Why a seed file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The file could not be read.
    #[error("could not read the registry seed {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file has problems; all of them are listed.
    #[error("{} has {} problem(s):\n{}", path.display(), problems.len(), list(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them, by line.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

impl Seed {
    /// Reads and checks a file; key files are found relative to it.
    ///
    /// # Errors
    /// [`SeedError`], with every problem at once.
    pub fn load(path: &Path) -> Result<Self, SeedError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SeedError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
            .map_err(|problems| SeedError::Problems { path: path.to_owned(), problems })
    }

    /// Checks a text; key files are found relative to `folder`.
    ///
    /// # Errors
    /// Every problem, by line.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        let problems = Problems::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            problems.add(&error.span().unwrap_or(0..0), "toml", error.message());
        }
        let mut seed = Self::default();
        let catalogue = Catalogue::built_in().unwrap_or_else(|error| {
            problems.add(&(0..0), "rules", error.to_string());
            Catalogue { rules: Vec::new() }
        });
        if errors.is_empty() {
            let root = Table::new(document.get_ref(), 0..0, String::new(), &problems);
            for table in root.tables("site") {
                seed.sites.extend(site::read(table, folder, &catalogue));
            }
            root.finish();
        }
        let found = problems.into_sorted();
        if found.is_empty() { Ok(seed) } else { Err(found) }
    }
}

impl SeedFact {
    /// The fact at a revision, as the log and the engine take it.
    #[must_use]
    pub fn at(&self, site: &str, revision: u64, recorded_at: i64) -> Fact {
        Fact {
            id: self.id.clone(),
            revision,
            site: site.to_owned(),
            valid_from: self.valid_from,
            valid_to: self.valid_to,
            recorded_at,
            withdrawn: self.withdrawn,
            body: self.body.clone(),
        }
    }
}

/// Id of the fact that carries a site's model.
#[must_use]
pub fn model_fact_id(site: &str) -> String {
    format!("registry:{site}")
}

/// Whether a fact only carries a site's model.
#[must_use]
pub fn is_model(body: &FactBody) -> bool {
    matches!(body, FactBody::Site { .. })
}

/// The body of such a fact.
#[must_use]
pub fn model_body(model: SiteModel) -> FactBody {
    FactBody::Site { model: Box::new(model) }
}
