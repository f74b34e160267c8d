//! Where profiles come from: the ones in the binary, and a folder of the site's own that adds to them and wins.
//!
//! Called once at load. A problem in a file of the folder is reported with its line; an embedded profile has none,
//! which a test proves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Profile, parse};
use crate::config::problem::{Problem, Problems, Source, Text};

/// Files of one folder that are read at most.
const FILES_MAX: usize = 1_000;

/// The profiles in the binary: file name and text.
pub const EMBEDDED: &[(&str, &str)] = &[
    ("acrel-adl400.toml", include_str!("../../profiles/acrel-adl400.toml")),
    ("acrel-adw300.toml", include_str!("../../profiles/acrel-adw300.toml")),
    ("chint-dtsu666.toml", include_str!("../../profiles/chint-dtsu666.toml")),
    ("eastron-sdm630.toml", include_str!("../../profiles/eastron-sdm630.toml")),
    ("gas-6001.toml", include_str!("../../profiles/gas-6001.toml")),
    ("generic.toml", include_str!("../../profiles/generic.toml")),
    ("honeywell-midas.toml", include_str!("../../profiles/honeywell-midas.toml")),
    ("honeywell-midas-lel.toml", include_str!("../../profiles/honeywell-midas-lel.toml")),
    ("pt100-8ch.toml", include_str!("../../profiles/pt100-8ch.toml")),
    ("schneider-pm5100.toml", include_str!("../../profiles/schneider-pm5100.toml")),
];

/// All profiles by id.
#[derive(Debug, Clone, Default)]
pub struct Library {
    profiles: BTreeMap<Arc<str>, Arc<Profile>>,
}

impl Library {
    /// The embedded ones, then those of the folder.
    #[must_use]
    pub fn load(folder: Option<&Path>, problems: &mut Problems) -> Self {
        let mut library = Self::default();
        for (name, text) in EMBEDDED {
            let source = Source { file: name, text };
            library.take(parse::profile(source, problems));
        }
        if let Some(folder) = folder {
            library.read_folder(folder, problems);
        }
        library
    }

    /// One profile.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Profile>> {
        self.profiles.get(id)
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    fn take(&mut self, profile: Option<Profile>) {
        if let Some(profile) = profile {
            self.profiles.insert(Arc::clone(&profile.id), Arc::new(profile));
        }
    }

    fn read_folder(&mut self, folder: &Path, problems: &mut Problems) {
        let mut files = match std::fs::read_dir(folder) {
            Ok(entries) => {
                entries.flatten().map(|entry| entry.path()).take(FILES_MAX).collect::<Vec<_>>()
            }
            Err(error) => return problems.push(unreadable(folder, &error)),
        };
        files.retain(|file| file.extension().is_some_and(|ext| ext == "toml"));
        files.sort();
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let name = file.display().to_string();
                    self.take(parse::profile(Source { file: &name, text: &text }, problems));
                }
                Err(error) => problems.push(unreadable(&file, &error)),
            }
        }
    }
}

/// A file or folder that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        file: path.display().to_string(),
        line: 0,
        column: 0,
        what: Text::new(format!("读不了：{error}"), format!("cannot be read: {error}")),
        mend: Text::new("检查路径和权限（ls -l）", "check the path and its permissions (ls -l)"),
    }
}

#[cfg(test)]
mod tests;
