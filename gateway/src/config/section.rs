//! Reads one TOML table key by key, with the place of each value, and reports what is left over.
//!
//! Serde stops at the first problem and loses places behind tags; this reader goes on. Used by the site file and by
//! profiles. Call [`Section::finish`] at the end of each table: it names every key that nobody asked for.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problems, Source, Text, nearest};

/// What a key is for: makes the texts of missing and mistyped keys.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As written in the file.
    pub name: &'static str,
    /// Meaning, unit and range, in Chinese.
    pub zh: &'static str,
    /// The same in English.
    pub en: &'static str,
    /// A value that would do, as TOML.
    pub example: &'static str,
}

/// Shorthand for a [`Key`].
#[must_use]
pub const fn key(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    example: &'static str,
) -> Key {
    Key { name, zh, en, example }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the source.
    pub span: Range<usize>,
}

/// One table being read.
#[derive(Debug)]
pub struct Section<'a> {
    name: String,
    source: Source<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    /// A table at a place; `name` is how texts call it, e.g. `[[bus]] "hall"`.
    #[must_use]
    pub fn new(
        source: Source<'a>,
        name: impl Into<String>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        Self { name: name.into(), source, table, span, asked: BTreeSet::new() }
    }

    /// Calls it by a better name once that is known.
    pub fn rename(&mut self, name: impl Into<String>) {
        self.name = name.into();
    }

    /// Where the table begins.
    #[must_use]
    pub fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The source it is part of.
    #[must_use]
    pub fn source(&self) -> Source<'a> {
        self.source
    }

    /// Reports a problem at a place inside this table.
    pub fn report(&self, problems: &mut Problems, span: &Range<usize>, what: Text, mend: Text) {
        problems.add(&self.source, Some(span), what, mend);
    }

    fn value(&mut self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.insert(name);
        let wanted = |key: &Spanned<std::borrow::Cow<'_, str>>| key.get_ref().as_ref() == name;
        self.table.iter().find(|(key, _)| wanted(key)).map(|(_, value)| value)
    }

    /// Whether the key is there, without asking for it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.keys().any(|key| key.get_ref().as_ref() == name)
    }

    /// Says that a key is missing.
    pub fn missing(&self, problems: &mut Problems, key: Key) {
        self.report(
            problems,
            &self.span,
            Text::new(
                format!("{} 缺少 {}（{}）", self.name, key.name, key.zh),
                format!("{} lacks {} ({})", self.name, key.name, key.en),
            ),
            Text::new(
                format!("加一行，例如：{} = {}", key.name, key.example),
                format!("add a line such as: {} = {}", key.name, key.example),
            ),
        );
    }

    /// Says that a value is not what the key wants.
    pub fn wrong(&self, problems: &mut Problems, key: Key, span: &Range<usize>) {
        let found = self.source.text.get(span.clone()).unwrap_or("").trim();
        let found: String = found.chars().take(40).collect();
        self.report(
            problems,
            span,
            Text::new(
                format!("{} = {found} 不对：应为{}", key.name, key.zh),
                format!("{} = {found} will not do: it is {}", key.name, key.en),
            ),
            Text::new(
                format!("例如：{} = {}", key.name, key.example),
                format!("for example: {} = {}", key.name, key.example),
            ),
        );
    }

    /// A text, if the key is there.
    pub fn text(&mut self, problems: &mut Problems, key: Key) -> Option<At<String>> {
        let value = self.value(key.name)?;
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
            _ => {
                self.wrong(problems, key, &value.span());
                None
            }
        }
    }

    /// A text that must be there and not be empty.
    pub fn need_text(&mut self, problems: &mut Problems, key: Key) -> Option<At<String>> {
        if !self.has(key.name) {
            // Asked for all the same, so that a misspelt one is told its name.
            self.asked.insert(key.name);
            self.missing(problems, key);
            return None;
        }
        let at = self.text(problems, key)?;
        if at.value.trim().is_empty() {
            self.wrong(problems, key, &at.span);
            return None;
        }
        Some(at)
    }

    /// A whole number within bounds, if the key is there.
    pub fn integer(
        &mut self,
        problems: &mut Problems,
        key: Key,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Option<At<i64>> {
        let value = self.value(key.name)?;
        let number = match value.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Some(At { value: number, span: value.span() }),
            None => {
                self.wrong(problems, key, &value.span());
                None
            }
        }
    }

    /// A number or text exactly as its digits stand in the file (`0.1`, `"400/5"`, `"nan"`).
    pub fn literal(&mut self, problems: &mut Problems, key: Key) -> Option<At<String>> {
        let value = self.value(key.name)?;
        match literal(value.get_ref()) {
            Some(text) => Some(At { value: text, span: value.span() }),
            None => {
                self.wrong(problems, key, &value.span());
                None
            }
        }
    }

    /// A list of such literals; empty where the key is absent.
    pub fn literals(&mut self, problems: &mut Problems, key: Key) -> Vec<At<String>> {
        let Some(value) = self.value(key.name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(problems, key, &value.span());
            return Vec::new();
        };
        let mut list = Vec::new();
        for item in items.iter() {
            match literal(item.get_ref()) {
                Some(text) => list.push(At { value: text, span: item.span() }),
                None => self.wrong(problems, key, &item.span()),
            }
        }
        list
    }

    /// A list of pairs of literals, e.g. `[[0x60, 0xC7]]`.
    pub fn pairs(&mut self, problems: &mut Problems, key: Key) -> Vec<At<(String, String)>> {
        let Some(value) = self.value(key.name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(problems, key, &value.span());
            return Vec::new();
        };
        let mut list = Vec::new();
        for item in items.iter() {
            let pair = match item.get_ref() {
                DeValue::Array(pair) if pair.len() == 2 => {
                    literal(pair[0].get_ref()).zip(literal(pair[1].get_ref()))
                }
                _ => None,
            };
            match pair {
                Some(pair) => list.push(At { value: pair, span: item.span() }),
                None => self.wrong(problems, key, &item.span()),
            }
        }
        list
    }

    /// True or false; absent = false.
    pub fn flag(&mut self, problems: &mut Problems, key: Key) -> bool {
        let Some(value) = self.value(key.name) else { return false };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => {
                self.wrong(problems, key, &value.span());
                false
            }
        }
    }

    /// A table inside this one, `None` if absent.
    pub fn table(&mut self, problems: &mut Problems, key: Key) -> Option<Section<'a>> {
        let value = self.value(key.name)?;
        match value.get_ref() {
            DeValue::Table(table) => {
                let name = format!("[{}]", key.name);
                Some(Section::new(self.source, name, table, value.span()))
            }
            _ => {
                self.wrong(problems, key, &value.span());
                None
            }
        }
    }

    /// The tables of a list (`[[bus]]`, or `[{…}, {…}]`); empty where the key is absent.
    pub fn tables(&mut self, problems: &mut Problems, key: Key) -> Vec<Section<'a>> {
        let Some(value) = self.value(key.name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(problems, key, &value.span());
            return Vec::new();
        };
        let mut list = Vec::new();
        for (number, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let name = format!("[[{}]] {}", key.name, number + 1);
                    list.push(Section::new(self.source, name, table, item.span()));
                }
                _ => self.wrong(problems, key, &item.span()),
            }
        }
        list
    }

    /// All entries of a table whose keys are free names, as literals.
    pub fn entries(&mut self, problems: &mut Problems, key: Key) -> Vec<(String, At<String>)> {
        let mut list = Vec::new();
        for (name, value) in self.table {
            match literal(value.get_ref()) {
                Some(text) => {
                    list.push((name.get_ref().to_string(), At { value: text, span: value.span() }));
                }
                None => self.wrong(problems, key, &value.span()),
            }
        }
        list
    }

    /// Reports every key that was never asked for, with the nearest one that exists.
    pub fn finish(self, problems: &mut Problems) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(name) {
                continue;
            }
            let known: Vec<&str> = self.asked.iter().copied().collect();
            let mend = match nearest(name, known.iter().copied()) {
                Some(meant) => {
                    Text::new(format!("是否想写 {meant}？"), format!("did you mean {meant}?"))
                }
                None => Text::new(
                    format!("删去此行；这里可用：{}", known.join(", ")),
                    format!("remove the line; known here: {}", known.join(", ")),
                ),
            };
            self.report(
                problems,
                &key.span(),
                Text::new(
                    format!("{} 中没有 {name} 这一项", self.name),
                    format!("{} has no key {name}", self.name),
                ),
                mend,
            );
        }
    }
}

/// The digits or text of a scalar, integers in decimal.
fn literal(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Integer(digits) => {
            i128::from_str_radix(digits.as_str(), digits.radix()).ok().map(|n| n.to_string())
        }
        _ => None,
    }
}
