//! Reading of the XNLI and MultiNLI files.
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::files::{numbered_lines, parse_line, read_text};
use crate::{Error, Result};

/// The relation of the hypothesis to the premise. The discriminant is the class index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NliLabel {
    /// The premise implies the hypothesis.
    Entailment = 0,
    /// The premise neither implies nor excludes the hypothesis.
    Neutral = 1,
    /// The premise excludes the hypothesis.
    Contradiction = 2,
}

impl NliLabel {
    /// All labels, in the order of their classes.
    pub const ALL: [Self; 3] = [Self::Entailment, Self::Neutral, Self::Contradiction];

    /// The class index, 0 to 2.
    pub fn class(self) -> i64 {
        self as i64
    }

    /// The label of a class.
    pub fn from_class(class: usize) -> Option<Self> {
        Self::ALL.get(class).copied()
    }

    /// The name in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entailment => "entailment",
            Self::Neutral => "neutral",
            Self::Contradiction => "contradiction",
        }
    }
}

impl fmt::Display for NliLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for NliLabel {
    type Err = String;

    /// Parses a name. `contradictory`, as in the machine-translated training sets of XNLI, is
    /// accepted.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "entailment" => Ok(Self::Entailment),
            "neutral" => Ok(Self::Neutral),
            "contradiction" | "contradictory" => Ok(Self::Contradiction),
            _ => Err(format!(
                "label `{text}` is unknown; expected entailment, neutral or contradiction"
            )),
        }
    }
}

/// One pair of sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NliExample {
    /// Language code; `en` if the file has no language column.
    pub language: String,
    /// The premise, `sentence1` in the file.
    pub premise: String,
    /// The hypothesis, `sentence2` in the file.
    pub hypothesis: String,
    /// The gold label, `gold_label` in the file.
    pub label: NliLabel,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// The pairs of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NliData {
    /// The pairs with a label, in file order.
    pub examples: Vec<NliExample>,
    /// Number of skipped pairs without a majority label (`gold_label` is `-`).
    pub unlabelled: usize,
}

/// Reads `xnli.{dev,test}.tsv` or `.jsonl`, `multinli_1.0_train.txt` or `.jsonl`, or a
/// machine-translated training set of XNLI (`premise`, `hypo`, `label`), plain or gzipped.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] naming file and line if a column or key is missing, a row has
/// too few or too many columns, or a label is unknown; [`Error::Content`] if the file has no
/// labelled pair.
pub fn read_nli(path: impl AsRef<Path>) -> Result<NliData> {
    let path = path.as_ref();
    let text = read_text(path)?;
    if !is_json(&text) {
        atomic_file::note_missing_newline(path, text.as_bytes());
    }
    parse_nli(&text, path)
}

/// Parses the text of a file for [`read_nli`]: JSON lines if the first character is `{`, otherwise
/// a table with a header. `path` is used in messages.
pub(super) fn parse_nli(text: &str, path: impl AsRef<Path>) -> Result<NliData> {
    let path = path.as_ref();
    let data = if is_json(text) { parse_json_lines(text, path)? } else { parse_table(text, path)? };
    if data.examples.is_empty() {
        return Err(Error::content(path, "no labelled pair"));
    }
    Ok(data)
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// A pair with the keys of XNLI and MultiNLI, or the corresponding columns of a table.
#[derive(Deserialize)]
struct Record {
    language: Option<String>,
    gold_label: String,
    sentence1: String,
    sentence2: String,
}

fn parse_json_lines(text: &str, path: &Path) -> Result<NliData> {
    let mut data = NliData::default();
    for (number, line) in numbered_lines(text).filter(|(_, line)| !line.trim().is_empty()) {
        let expected = "an object with gold_label, sentence1, sentence2 and, in XNLI, language";
        data.add(parse_line(line, path, number, expected)?, path, number)?;
    }
    Ok(data)
}

impl NliData {
    fn add(&mut self, record: Record, path: &Path, line: usize) -> Result<()> {
        if record.gold_label == "-" {
            self.unlabelled += 1;
            return Ok(());
        }
        self.examples.push(NliExample {
            language: record.language.as_deref().unwrap_or("en").to_ascii_lowercase(),
            premise: record.sentence1,
            hypothesis: record.sentence2,
            label: record
                .gold_label
                .parse()
                .map_err(|message: String| Error::line(path, line, message))?,
            line,
        });
        Ok(())
    }
}

fn parse_table(text: &str, path: &Path) -> Result<NliData> {
    let mut lines = numbered_lines(text);
    let (_, header) = lines.next().expect("a text has a first line, which can be empty");
    let header: Vec<&str> = header.split('\t').collect();
    let index = |names: [&str; 2]| {
        header.iter().position(|column| names.contains(column)).ok_or_else(|| {
            let message =
                format!("no column `{}` in the header; expected a tab-separated table", names[0]);
            Error::line(path, 1, message)
        })
    };
    let columns = [
        index(["gold_label", "label"])?,
        index(["sentence1", "premise"])?,
        index(["sentence2", "hypo"])?,
    ];
    let language = header.iter().position(|&column| column == "language");
    // In MultiNLI, rows with fewer annotators lack trailing cells.
    let required = header.len() - header.iter().rev().take_while(|name| is_annotator(name)).count();
    let mut data = NliData::default();
    for (number, line) in lines.filter(|(_, line)| !line.trim_matches(' ').is_empty()) {
        let row: Vec<&str> = line.split('\t').collect();
        if row.len() < required || row.len() > header.len() {
            let message = format!("{} columns, but the header has {}", row.len(), header.len());
            return Err(Error::line(path, number, message));
        }
        let cell = |index: usize| row[index].to_owned();
        let [gold_label, sentence1, sentence2] = columns.map(cell);
        let language = language.map(cell);
        data.add(Record { language, gold_label, sentence1, sentence2 }, path, number)?;
    }
    Ok(data)
}

/// Whether a column contains an annotator's label, such as `label1`.
fn is_annotator(column: &str) -> bool {
    column.strip_prefix("label").is_some_and(|rest| rest.parse::<u8>().is_ok())
}
