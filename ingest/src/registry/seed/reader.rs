//! Reads a TOML table key by key and collects every problem with its line, instead of stopping at the first.
//!
//! A key that was never asked for is unknown and refused: a misspelt rating must not silently be no rating.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong in a seed file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// Where in the tree, e.g. `site[0].device[2].role`.
    pub path: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.path, self.message)
    }
}

/// Collects problems of one file.
pub(crate) struct Problems<'s> {
    source: &'s str,
    found: RefCell<Vec<Problem>>,
    names: RefCell<BTreeSet<(&'static str, String)>>,
}

impl<'s> Problems<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        Self { source, found: RefCell::default(), names: RefCell::default() }
    }

    pub(crate) fn add(&self, span: &Range<usize>, path: &str, message: impl Into<String>) {
        let upto = &self.source.as_bytes()[..span.start.min(self.source.len())];
        let line = upto.iter().filter(|byte| **byte == b'\n').count() + 1;
        let problem = Problem { line, path: path.to_owned(), message: message.into() };
        self.found.borrow_mut().push(problem);
    }

    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort();
        found
    }
}

/// A value with where it stands.
#[derive(Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
}

/// One table being read.
pub(crate) struct Table<'a> {
    entries: &'a DeTable<'a>,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
    problems: &'a Problems<'a>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(
        entries: &'a DeTable<'a>,
        span: Range<usize>,
        path: String,
        problems: &'a Problems<'a>,
    ) -> Self {
        Self { entries, span, path, problems, asked: RefCell::default() }
    }

    /// Reports a problem of the whole table.
    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.problems.add(&self.span, &self.path, message);
    }

    /// Reports a problem of one value.
    pub(crate) fn problem_at<T>(&self, at: &At<T>, message: impl Into<String>) {
        self.problems.add(&at.span, &at.path, message);
    }

    /// Reports a name that something of its kind has already in this file.
    pub(crate) fn once(&self, kind: &'static str, at: &At<String>) {
        if !self.problems.names.borrow_mut().insert((kind, at.value.clone())) {
            self.problem_at(at, format!("{kind} {:?} occurs more than once", at.value));
        }
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn find(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().insert(key);
        self.entries.iter().find(|(k, _)| k.get_ref().as_ref() == key).map(|(_, value)| value)
    }

    fn read<T>(
        &self,
        key: &'static str,
        wanted: &str,
        take: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let value = self.find(key)?;
        let (span, path) = (value.span(), self.child(key));
        let Some(read) = take(value.get_ref()) else {
            let message = format!("must be {wanted}, is {}", value.get_ref().type_str());
            self.problems.add(&span, &path, message);
            return None;
        };
        Some(At { value: read, span, path })
    }

    fn required<T>(&self, key: &'static str, found: Option<At<T>>) -> Option<At<T>> {
        if found.is_none() && !self.entries.iter().any(|(k, _)| k.get_ref().as_ref() == key) {
            self.problem(format!("{key} is missing"));
        }
        found
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<At<String>> {
        self.read(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn need_text(&self, key: &'static str) -> Option<At<String>> {
        self.required(key, self.text(key))
    }

    pub(crate) fn number(&self, key: &'static str) -> Option<At<f64>> {
        self.read(key, "a number", number)
    }

    pub(crate) fn need_number(&self, key: &'static str) -> Option<At<f64>> {
        self.required(key, self.number(key))
    }

    pub(crate) fn whole(&self, key: &'static str) -> Option<At<i64>> {
        self.read(key, "a whole number", whole)
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<At<bool>> {
        self.read(key, "true or false", DeValue::as_bool)
    }

    /// A list of texts; missing is empty.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<At<String>> {
        let list = self.read(key, "a list of texts", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| Some((item.get_ref().as_str()?.to_owned(), item.span()))).collect()
        });
        let Some(At { value, path, .. }) = list else { return Vec::new() };
        let items: Vec<(String, Range<usize>)> = value;
        items.into_iter().map(|(value, span)| At { value, span, path: path.clone() }).collect()
    }

    /// One table inside; missing is none.
    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        let found = self.read(key, "a table", DeValue::as_table)?;
        Some(Table::new(found.value, found.span, found.path, self.problems))
    }

    /// A list of tables; missing is empty.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let list = self.read(key, "a list of tables", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| Some((item.get_ref().as_table()?, item.span()))).collect()
        });
        let Some(At { value, path, .. }) = list else { return Vec::new() };
        let items: Vec<(&'a DeTable<'a>, Range<usize>)> = value;
        let numbered = items.into_iter().enumerate();
        numbered
            .map(|(i, (table, span))| {
                Table::new(table, span, format!("{path}[{i}]"), self.problems)
            })
            .collect()
    }

    /// Every entry of a table with free keys; none of them is unknown.
    pub(crate) fn free_texts(&self, key: &'static str) -> Vec<(String, At<String>)> {
        let Some(found) = self.read(key, "a table", DeValue::as_table) else { return Vec::new() };
        let mut entries = Vec::new();
        for (name, value) in found.value {
            let path = format!("{}.{}", found.path, name.get_ref());
            match value.get_ref().as_str() {
                Some(text) => {
                    let at = At { value: text.to_owned(), span: value.span(), path };
                    entries.push((name.get_ref().to_string(), at));
                }
                None => {
                    let message = "must be a text with a number and a unit, e.g. \"630 A\"";
                    self.problems.add(&value.span(), &path, message);
                }
            }
        }
        entries
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for (key, _) in self.entries {
            if !asked.contains(key.get_ref().as_ref()) {
                let known = asked.iter().copied().collect::<Vec<_>>().join(", ");
                let message = format!("is no known key; known here: {known}");
                self.problems.add(&key.span(), &self.child(key.get_ref()), message);
            }
        }
    }
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    if let Some(float) = value.as_float() {
        return float.as_str().parse().ok().filter(|number: &f64| number.is_finite());
    }
    let integer = value.as_integer().filter(|integer| integer.radix() == 10)?;
    integer.as_str().parse().ok()
}
