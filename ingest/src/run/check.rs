//! `davy-ingest check`: the configuration is right; is everything that it names there? Binds nothing, changes nothing.

use std::io::Write;
use std::path::Path;

use super::RunError;
use crate::config::{Config, StoreConfig};
use crate::receive::mqtt::probe::probe;
use crate::registry::seed::Seed;

/// Looks at every file that the configuration names, asks the store's database, and prints what was found, every problem
/// at once.
///
/// # Errors
/// [`RunError::Check`] with the number of problems.
pub fn check(config: &Config, out: &mut impl Write) -> Result<(), RunError> {
    let mut problems = Vec::new();
    let broker = &config.broker;
    let certificates = broker.client_cert.iter().flat_map(|(c, k)| [c, k]);
    let token = match &config.store {
        StoreConfig::Influx { token_file, .. } => Some(token_file),
        StoreConfig::Sink { login, .. } => login.as_ref().map(|(_, file)| file),
        _ => None,
    };
    let named = broker.ca_file.iter().chain(&broker.password_file).chain(certificates).chain(token);
    problems.extend(named.filter_map(|path| readable(path)));
    if let Some(seed) = &config.seed
        && let Err(error) = Seed::load(seed)
    {
        problems.push(crate::chain_of(&error));
    }
    problems.extend(makeable(&config.state_dir));
    let mut told = Vec::new();
    // Without its files there is nothing to ask with.
    if problems.is_empty() {
        let folder = config.state_dir.join("store");
        match super::store::ask(&config.store, &folder, config.log.hole_max) {
            Ok(words) => told = words,
            Err(problem) => problems.push(problem),
        }
    }
    let print =
        |out: &mut dyn Write, text: String| out.write_all(text.as_bytes()).map_err(RunError::Print);
    for problem in &problems {
        print(out, format!("{problem}\n"))?;
    }
    if !problems.is_empty() {
        return Err(RunError::Check { problems: problems.len() });
    }
    let scheme = if broker.tls { "mqtts" } else { "mqtt" };
    let store = match &config.store {
        StoreConfig::Embedded { .. } => "embedded".to_owned(),
        StoreConfig::Influx { url, bucket, .. } => format!("InfluxDB 2 at {url}, bucket {bucket}"),
        StoreConfig::Sink { kind, url, database, .. } => {
            let database = if database.is_empty() { "" } else { &format!(", database {database}") };
            format!("{} at {url}{database}", kind.name())
        }
        StoreConfig::Discard => "none (discard): only for measuring".to_owned(),
    };
    let told: String = told.iter().map(|line| format!("             {line}\n")).collect();
    print(
        out,
        format!(
            "the configuration is right\n  state in   {}\n  broker     {scheme}://{}:{} as {}\n  store      {store}\n{told}  console    http://{}/\n",
            config.state_dir.display(),
            broker.host,
            broker.port,
            broker.client_id,
            config.http.listen,
        ),
    )
}

/// Tries the broker and prints what was found.
///
/// # Errors
/// [`RunError::Check`] with the number of problems.
pub async fn check_broker(config: &Config, out: &mut impl Write) -> Result<(), RunError> {
    let findings = probe(&config.broker).await.map_err(RunError::Broker)?;
    for finding in &findings {
        let word = if finding.is_problem { "PROBLEM" } else { "ok" };
        let line = format!("  {word:8} {}: {}\n", finding.code, finding.text);
        out.write_all(line.as_bytes()).map_err(RunError::Print)?;
    }
    match findings.iter().filter(|finding| finding.is_problem).count() {
        0 => Ok(()),
        problems => Err(RunError::Check { problems }),
    }
}

/// Why the state folder cannot be made, or written where it is there.
fn makeable(folder: &Path) -> Option<String> {
    use rustix::fs::Access;
    let exists = |p: &&Path| !p.as_os_str().is_empty() && p.exists();
    let nearest = folder.ancestors().find(exists).unwrap_or(Path::new("."));
    let why = if nearest.is_dir() {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::access(nearest, wanted).err()?.to_string()
    } else {
        "it is no folder".to_owned()
    };
    let who = "as whoever starts the service";
    Some(format!(
        "{} cannot be written {who} ({why}): state_dir {} must be, choose another or give it to that user",
        nearest.display(),
        folder.display()
    ))
}

fn readable(path: &Path) -> Option<String> {
    let error = std::fs::File::open(path).err()?;
    Some(format!("{} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a state folder that cannot be made is a problem that names what is in the way; one that can be is none.
    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(makeable(&folder.path().join("a/b")), None);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let told = makeable(&file.join("state")).unwrap();
        assert!(told.starts_with(&file.display().to_string()) && told.contains("no folder"));
    }
}
