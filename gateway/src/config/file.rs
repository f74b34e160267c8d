//! Reads the site file's own sections; buses and devices are in `device.rs`.
//!
//! Every reader adds to one list of problems and goes on, so that all of them are shown at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::{GatewayName, Key as MacKey};

use super::keys;
use super::problem::{Problem, Problems, Source, Text};
use super::section::{At, Key, Section};
use super::{Broker, Config, Gateway, Secret, Status, device};
use crate::profile::library::{Library, unreadable};
use crate::profile::parse::document;

/// Longest site code, bytes.
const SITE_BYTES_MAX: usize = 64;

impl Config {
    /// Reads and checks a file and the profiles it names.
    ///
    /// # Errors
    /// All problems, in the order of their lines. Secrets are not in their texts.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) => Err(vec![unreadable(path, &error)]),
        }
    }

    /// The same for a text already read; relative paths in it are relative to the folder of `path`.
    ///
    /// # Errors
    /// All problems, in the order of their lines.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let config = read(path, text, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.into_sorted()),
        }
    }
}

fn read(path: &Path, text: &str, problems: &mut Problems) -> Option<Config> {
    let name = path.display().to_string();
    let source = Source { file: &name, text };
    let document = document(source, problems)?;
    let mut root = Section::new(source, name.clone(), &document, 0..0);
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let section = root.table(problems, keys::GATEWAY);
    if section.is_none() && !root.has(keys::GATEWAY.name) {
        root.missing(problems, keys::GATEWAY);
    }
    let (gateway, profiles) = match section {
        Some(section) => gateway(section, &folder, problems),
        None => (None, None),
    };
    let section = root.table(problems, keys::BROKER);
    if section.is_none() && !root.has(keys::BROKER.name) {
        root.missing(problems, keys::BROKER);
    }
    let broker = section.and_then(|section| broker(section, &folder, problems));
    let status = root.table(problems, keys::STATUS).map(|section| status(section, problems));
    let library = Library::load(profiles.as_deref(), problems);
    let buses = device::buses(&mut root, &library, problems);
    root.finish(problems);
    Some(Config {
        file: path.to_path_buf(),
        gateway: gateway?,
        profiles_dir: profiles,
        broker: broker?,
        status: match status {
            Some(status) => Some(status?),
            None => None,
        },
        buses,
    })
}

fn gateway(
    mut section: Section<'_>,
    folder: &Path,
    problems: &mut Problems,
) -> (Option<Gateway>, Option<PathBuf>) {
    let name = gateway_name(&mut section, keys::NAME, true, problems);
    let site = section.need_text(problems, keys::SITE);
    let key = mac_key(&mut section, folder, problems);
    let spool_dir = section.need_text(problems, keys::SPOOL_DIR);
    let flush = section.integer(problems, keys::FLUSH_MS, 10..=10_000);
    let spool_mb = section.integer(problems, keys::SPOOL_MB_MAX, 16..=1_048_576);
    let free_mb = section.integer(problems, keys::KEEP_FREE_MB, 0..=1_048_576);
    let grace = section.integer(problems, keys::GRACE_MS, 0..=60_000);
    let replaces = gateway_name(&mut section, keys::REPLACES, false, problems);
    let profiles = section.text(problems, keys::PROFILES_DIR).map(|at| folder.join(at.value));
    if let Some(site) = site.as_ref().filter(|site| !is_site(&site.value)) {
        section.wrong(problems, keys::SITE, &site.span);
    }
    section.finish(problems);
    let mib =
        |at: Option<At<i64>>, default: u64| at.map_or(default, |at| at.value.unsigned_abs()) << 20;
    let gateway = || {
        Some(Gateway {
            name: name?,
            site: site?.value,
            key: key?,
            spool_dir: folder.join(spool_dir?.value),
            flush: millis(flush, 100),
            spool_bytes_max: mib(spool_mb, 2_048),
            free_reserve_bytes: mib(free_mb, 256),
            replaces,
            shutdown_grace: millis(grace, 5_000),
        })
    };
    (gateway(), profiles)
}

/// A site code becomes a part of names and paths at the centre.
fn is_site(site: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    site.len() <= SITE_BYTES_MAX && site.chars().all(plain)
}

pub(crate) fn millis(at: Option<At<i64>>, default: u64) -> Duration {
    Duration::from_millis(at.map_or(default, |at| at.value.unsigned_abs()))
}

fn gateway_name(
    section: &mut Section<'_>,
    key: Key,
    needed: bool,
    problems: &mut Problems,
) -> Option<GatewayName> {
    let at = if needed { section.need_text(problems, key) } else { section.text(problems, key) }?;
    match GatewayName::new(at.value) {
        Ok(name) => Some(name),
        Err(_) => {
            section.wrong(problems, key, &at.span);
            None
        }
    }
}

/// The key, from the file itself or from the file it names. Its digits never reach a message.
fn mac_key(section: &mut Section<'_>, folder: &Path, problems: &mut Problems) -> Option<MacKey> {
    let inline = section.text(problems, keys::KEY);
    let file = section.text(problems, keys::KEY_FILE);
    let (digits, span) = match (inline, file) {
        (Some(inline), None) => (inline.value, inline.span),
        (None, Some(file)) => (secret_file(section, &file, folder, problems)?, file.span),
        (Some(_), Some(file)) => {
            section.report(
                problems,
                &file.span,
                Text::new("key 和 key_file 只能写一个", "key and key_file are both given"),
                Text::new("删去其中一个", "remove one of them"),
            );
            return None;
        }
        (None, None) => {
            section.missing(problems, keys::KEY_FILE);
            return None;
        }
    };
    let key = MacKey::from_hex(&digits).ok();
    if key.is_none() {
        section.report(
            problems,
            &span,
            Text::new("密钥应为 64 位十六进制数", "the key is not 64 hexadecimal digits"),
            Text::new(
                "在中心运行 davy-ingest gateway add，把它打印的密钥原样抄来",
                "run davy-ingest gateway add at the centre and copy the key it prints",
            ),
        );
    }
    key
}

fn secret_file(
    section: &Section<'_>,
    file: &At<String>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<String> {
    let path = folder.join(&file.value);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) => {
            section.report(
                problems,
                &file.span,
                Text::new(
                    format!("读不了 {}：{error}", path.display()),
                    format!("{} cannot be read: {error}", path.display()),
                ),
                Text::new(
                    "检查路径；文件须属于运行网关的用户，权限 600",
                    "check the path; the file belongs to the gateway's user, mode 600",
                ),
            );
            None
        }
    }
}

fn broker(mut section: Section<'_>, folder: &Path, problems: &mut Problems) -> Option<Broker> {
    let url = section.need_text(problems, keys::URL);
    let user = section.text(problems, keys::USER).map(|at| at.value);
    let inline = section.text(problems, keys::PASSWORD).map(|at| at.value);
    let file = section.text(problems, keys::PASSWORD_FILE);
    let filed = file.and_then(|file| secret_file(&section, &file, folder, problems));
    let ca_file = section.text(problems, keys::CA_FILE).map(|at| folder.join(at.value));
    let parsed = url.and_then(|at| {
        let parsed = endpoint(&at.value);
        if parsed.is_none() {
            section.wrong(problems, keys::URL, &at.span);
        }
        parsed
    });
    section.finish(problems);
    let (tls, host, port) = parsed?;
    Some(Broker { host, port, tls, user, password: inline.or(filed).map(Secret::new), ca_file })
}

/// `mqtt[s]://host[:port]` taken apart.
fn endpoint(url: &str) -> Option<(bool, String, u16)> {
    let (tls, rest) = match url.split_once("://")? {
        ("mqtt", rest) => (false, rest),
        ("mqtts", rest) => (true, rest),
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let default = if tls { 8883 } else { 1883 };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
            (host, port.parse().ok()?)
        }
        _ => (rest, default),
    };
    let host = host.trim_matches(['[', ']']);
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', ' ']);
    (plain && port != 0).then(|| (tls, host.to_owned(), port))
}

fn status(mut section: Section<'_>, problems: &mut Problems) -> Option<Status> {
    let at = section.need_text(problems, keys::LISTEN);
    let listen = at.and_then(|at| {
        let parsed = at.value.parse::<SocketAddr>().ok().filter(|a| a.ip().is_loopback());
        if parsed.is_none() {
            section.wrong(problems, keys::LISTEN, &at.span);
        }
        parsed
    });
    section.finish(problems);
    Some(Status { listen: listen? })
}
