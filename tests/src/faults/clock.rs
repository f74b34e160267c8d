//! Clocks that are set while a program runs: libfaketime between the program and the system, the offset in a file.
//!
//! The monotonic clock stays true, as on a real machine whose date is set.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where Debian's package `faketime` puts the library.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The clock of one program.
#[derive(Debug)]
pub struct Wall {
    file: PathBuf,
}

impl Wall {
    /// A true clock, its offset kept in `folder`; and the environment that a program needs to see it.
    ///
    /// # Errors
    /// When libfaketime is not installed.
    pub fn new(folder: &Path, name: &str) -> Result<(Wall, Vec<(String, String)>)> {
        let library = LIBRARIES.iter().find(|l| Path::new(l).exists());
        let library = library.context("libfaketime is missing: apt-get install faketime")?;
        let wall = Wall { file: folder.join(format!("{name}.clock")) };
        wall.set(0)?;
        let env = [
            ("LD_PRELOAD", (*library).to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", wall.file.display().to_string()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_RESET", "1".to_owned()),
        ];
        Ok((wall, env.map(|(k, v)| (k.to_owned(), v)).to_vec()))
    }

    /// Sets the clock this many seconds beside the true time; seen within a second.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, by_s: i64) -> Result<()> {
        Ok(std::fs::write(&self.file, format!("{by_s:+}s\n"))?)
    }
}
