//! Problems found in a file: all of them, each with its place, what is wrong and how to mend it.
//!
//! The configuration and profile readers add to one [`Problems`] and go on reading, so that an electrician mends a
//! file once. A secret's value never becomes part of a text here.

use std::fmt;
use std::ops::Range;

/// Problems kept of one load; a file that has more is not worth listing further.
pub const PROBLEMS_MAX: usize = 200;

/// A sentence in Chinese and in English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

impl Text {
    /// Both sentences.
    #[must_use]
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Self { zh: zh.into(), en: en.into() }
    }
}

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 with line 0.
    pub column: usize,
    /// What is wrong.
    pub what: Text,
    /// How to mend it.
    pub mend: Text,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            writeln!(f, "{}", self.file)?;
        } else {
            writeln!(f, "{}:{}:{}", self.file, self.line, self.column)?;
        }
        writeln!(f, "    问题 {}", self.what.zh)?;
        writeln!(f, "    改法 {}", self.mend.zh)?;
        writeln!(f, "    wrong: {}", self.what.en)?;
        write!(f, "    mend:  {}", self.mend.en)
    }
}

/// A file's text with its name: turns byte offsets into lines.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Name shown to the user.
    pub file: &'a str,
    /// The whole text.
    pub text: &'a str,
}

impl Source<'_> {
    fn place(&self, span: Option<&Range<usize>>) -> (usize, usize) {
        let Some(span) = span else { return (0, 0) };
        let upto = self.text.get(..span.start.min(self.text.len())).unwrap_or("");
        let line = upto.matches('\n').count() + 1;
        let column = upto.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// Collects problems; reading goes on after each.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds one at a place of a source; beyond [`PROBLEMS_MAX`] it is dropped.
    pub fn add(
        &mut self,
        source: &Source<'_>,
        span: Option<&Range<usize>>,
        what: Text,
        mend: Text,
    ) {
        let (line, column) = source.place(span);
        self.push(Problem { file: source.file.to_owned(), line, column, what, mend });
    }

    /// Adds a whole one.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX && !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// How many so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in the order of file and line.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.list
    }
}

/// The known word nearest to a mistyped one, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.chars().count().div_ceil(3)).min(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
