//! The disk of one machine: a folder whose files are what a kill leaves.
//!
//! A kill copies the files as they lie and lets the program that has them open end on the old ones, so that what SQLite
//! would tidy up at a close is not tidied up. A kill in the middle of a commit ("torn") keeps the files of before, with a
//! part of what was appended to the journal since.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    name: String,
    generation: u32,
}

impl Disk {
    /// An empty disk below `root`.
    pub(crate) fn new(root: &Path, name: &str) -> io::Result<Self> {
        let disk = Self { root: root.to_owned(), name: name.to_owned(), generation: 0 };
        fs::create_dir_all(disk.dir())?;
        Ok(disk)
    }

    /// Where its files lie now.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(format!("{}-{}", self.name, self.generation))
    }

    /// A copy of all files under a name of its own.
    pub(crate) fn copy(&self, as_what: &str) -> io::Result<PathBuf> {
        let to = self.root.join(format!("{}-{as_what}", self.name));
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy_tree(&self.dir(), &to)?;
        Ok(to)
    }

    /// Goes on with the files as they lie; whoever has the old ones open ends there.
    pub(crate) fn kill(&mut self) -> io::Result<PathBuf> {
        let old = self.dir();
        self.generation += 1;
        copy_tree(&old, &self.dir())?;
        Ok(old)
    }

    /// Goes on with other files; gives the old folder, which whoever has it open may still use.
    pub(crate) fn exchange(&mut self, with: &Path) -> io::Result<PathBuf> {
        let old = self.dir();
        self.generation += 1;
        copy_tree(with, &self.dir())?;
        Ok(old)
    }

    /// Goes on with no files at all.
    pub(crate) fn wipe(&mut self) -> io::Result<PathBuf> {
        let old = self.dir();
        self.generation += 1;
        fs::create_dir_all(self.dir())?;
        Ok(old)
    }

    /// Puts files of `before` in place of those of now, for names that begin with one of `parts`: with a part of what was
    /// appended to a journal since. Called after [`Disk::kill`], when nobody has the files open.
    pub(crate) fn tear(&self, before: &Path, parts: &[&str], dice: &mut Dice) -> io::Result<bool> {
        let mut was_torn = false;
        for file in files(before)? {
            let relative = file.strip_prefix(before).unwrap_or(&file).to_path_buf();
            if !parts.iter().any(|part| relative.to_string_lossy().starts_with(part)) {
                continue;
            }
            let here = self.dir().join(&relative);
            let (old, new) = (fs::read(&file)?, fs::read(&here).unwrap_or_default());
            let is_journal = relative.to_string_lossy().ends_with("-wal");
            if is_journal && new.len() > old.len() && new.starts_with(&old) {
                let kept = old.len() + dice.below(new.len() - old.len());
                fs::write(&here, &new[..kept])?;
                was_torn = true;
            } else {
                fs::write(&here, old)?;
            }
        }
        // A file that was made since goes as well: its journal index is of no use without it.
        for file in files(&self.dir())? {
            let relative = file.strip_prefix(self.dir()).unwrap_or(&file).to_path_buf();
            let is_part = parts.iter().any(|part| relative.to_string_lossy().starts_with(part));
            if is_part
                && (relative.to_string_lossy().ends_with("-shm")
                    || !before.join(&relative).exists())
            {
                fs::remove_file(&file)?;
            }
        }
        Ok(was_torn)
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// All files below a folder, sorted.
pub(crate) fn files(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
