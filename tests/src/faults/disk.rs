//! A small disk of a test's own: a tmpfs whose room a ballast file takes away and gives back.
//!
//! Mounting needs root. Where that is missing the test fails and says so: a fault that was not put in was not survived.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Tries to fill it while others write.
const TRIES_MAX: usize = 20;
/// What is left more at each try, bytes.
const SPARE_STEP: u64 = 8 << 10;

/// A mounted tmpfs; unmounted with the value.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB at `path`.
    ///
    /// # Errors
    /// Where it may not be mounted: with what to do about it.
    pub fn mount(path: &Path, mib: u32) -> Result<Disk> {
        std::fs::create_dir_all(path)?;
        let size = format!("size={mib}m");
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "davy-faults"])
            .arg(path)
            .output()
            .context("start mount")?;
        ensure!(
            out.status.success(),
            "a small disk cannot be mounted at {}: {}run this test as root, or below `unshare -rm`",
            path.display(),
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(Disk { path: path.to_owned() })
    }

    /// Takes all room but about `left` bytes.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn fill(&self, left: u64) -> Result<()> {
        let mut spare = left;
        // Others write at the same time: what was free a moment ago may not be.
        for _ in 0..TRIES_MAX {
            let take = self.free_bytes()?.saturating_sub(spare).max(1).to_string();
            let done = Command::new("fallocate")
                .args(["-l", &take])
                .arg(self.ballast())
                .status()
                .context("start fallocate")?;
            if done.success() {
                return Ok(());
            }
            self.free()?;
            spare += SPARE_STEP;
        }
        anyhow::bail!("{} cannot be filled", self.path.display())
    }

    fn free_bytes(&self) -> Result<u64> {
        let out = Command::new("stat")
            .args(["-f", "-c", "%a %S"])
            .arg(&self.path)
            .output()
            .context("start stat")?;
        let text = String::from_utf8(out.stdout)?;
        let (blocks, size) = text.trim().split_once(' ').context("stat -f prints two numbers")?;
        Ok(blocks.parse::<u64>()? * size.parse::<u64>()?)
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub fn free(&self) -> Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still have files open.
        Command::new("umount").arg("-l").arg(&self.path).status().ok();
    }
}
