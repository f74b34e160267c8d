//! Figures by dotted path, as JSON and as lines a person reads while they come in.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

/// The report under way.
#[derive(Debug, Default)]
pub struct Report {
    root: Map<String, Value>,
    /// Sections that failed, with why.
    pub failures: Vec<String>,
}

impl Report {
    /// Sets a figure, e.g. `throughput.q1.sink.points_per_s`.
    pub fn set(&mut self, path: &str, figure: f64) {
        self.put(path, json!(rounded(figure)));
    }

    /// Sets a text, e.g. a version.
    pub fn note(&mut self, path: &str, text: &str) {
        self.put(path, json!(text));
    }

    fn put(&mut self, path: &str, value: Value) {
        let mut at = &mut self.root;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                at.insert(part.to_owned(), value);
                return;
            }
            let next = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = next else { return };
            at = map;
        }
    }

    /// A figure that was set.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<f64> {
        let (first, rest) = path.split_once('.')?;
        let pointer = format!("/{}", rest.replace('.', "/"));
        self.root.get(first)?.pointer(&pointer)?.as_f64()
    }

    /// The figures below a path, by name.
    #[must_use]
    pub fn group(&self, path: &str) -> Vec<(String, f64)> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let pointer = format!("/{}", rest.replace('.', "/"));
        let found = self.root.get(first).and_then(|root| root.pointer(&pointer)?.as_object());
        let figures = found.into_iter().flatten();
        figures.filter_map(|(name, figure)| Some((name.clone(), figure.as_f64()?))).collect()
    }

    /// Names below a path.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let pointer = format!("/{}", rest.replace('.', "/"));
        let found = self.root.get(first).and_then(|root| root.pointer(&pointer)?.as_object());
        found.into_iter().flat_map(|map| map.keys().cloned()).collect()
    }

    /// Remembers that a section could not be measured.
    pub fn failed(&mut self, section: &str, error: &anyhow::Error) {
        self.failures.push(format!("{section}: {error:#}"));
    }

    /// Writes the file, its folder made if missing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut root = self.root.clone();
        root.insert("failures".to_owned(), json!(self.failures));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&root)? + "\n")?;
        Ok(())
    }
}

/// Four significant digits: more would pretend.
fn rounded(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(3.0 - x.abs().log10().floor());
    (x * scale).round() / scale
}
