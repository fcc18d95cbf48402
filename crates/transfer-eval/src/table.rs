//! XLM-K's result tables with a run's numbers beside the printed ones.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use mlqa_eval::{Published, select};
use serde::{Deserialize, Serialize};

use crate::files::{json_lines, read_text, write_json_lines};
use crate::lama::{Corpus, LamaScore, RelationScore};
use crate::retrieval::RetrievalScore;
use crate::{Error, Result};

/// The tables of XLM-K that this crate lays out: MLQA, NER, XNLI, ablations, LAMA, XEP and XOR.
pub const TABLES: [&str; 6] = ["001-1", "001-2", "001-3", "001-4", "001-5", "001-7"];

/// One measured number, described as the printed ones are.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The row's model.
    pub model: String,
    /// Data set, as the table names it: `MLQA`, `NER`, `XNLI test`, `LAMA T-REx N-1`, `XEP`.
    pub setting: String,
    /// Language code; `avg` for the mean over languages.
    pub language: String,
    /// `f1`, `em`, `accuracy`, `p@1`.
    pub metric: String,
    /// In percent.
    pub value: f64,
    /// Standard deviation over seeds, if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
}

impl Measured {
    /// A number without a spread.
    pub fn new(model: &str, setting: &str, language: &str, metric: &str, value: f64) -> Self {
        Self {
            model: model.to_owned(),
            setting: setting.to_owned(),
            language: language.to_owned(),
            metric: metric.to_owned(),
            value,
            sd: None,
        }
    }

    /// Reads numbers, one JSON object per line.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let expected = "a number: {\"model\": \"ours\", \"setting\": \"NER\", \"language\": \"de\", \"metric\": \"f1\", \"value\": 72.9}";
        let rows = json_lines(&read_text(path)?, path, expected)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Writes numbers as [`Measured::read`] reads them, atomically.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(path: impl AsRef<Path>, rows: &[Self]) -> Result<()> {
        write_json_lines(path.as_ref(), rows)
    }

    /// The rows of Table 5 for one part of LAMA: relations of Google-RE, kinds of T-REx, and the
    /// total, which is the mean over relations for these two and over all facts for the others.
    pub fn lama(model: &str, corpus: Corpus, score: &LamaScore) -> Vec<Self> {
        let row = |part: &str, value: f64| {
            Self::new(model, &format!("LAMA {} {part}", corpus.name()), "en", "p@1", value)
        };
        let part = |relation: &RelationScore| match relation.relation.as_str() {
            "place_of_birth" => "birth-place".to_owned(),
            "date_of_birth" => "birth-date".to_owned(),
            "place_of_death" => "death-place".to_owned(),
            other => other.to_owned(),
        };
        let mut rows: Vec<Self> = match corpus {
            Corpus::GoogleRe => {
                let relations = score.relations.iter();
                relations.map(|one| row(&part(one), one.precision.p_at_1)).collect()
            }
            _ => score.kinds.iter().map(|(kind, precision)| row(kind, precision.p_at_1)).collect(),
        };
        let total = match corpus {
            Corpus::GoogleRe | Corpus::TRex => score.macro_average,
            Corpus::ConceptNet | Corpus::Squad => score.micro,
        };
        rows.push(row("Total", total.p_at_1));
        rows
    }

    /// The row of Table 7; `task` is `XEP` or `XOR`.
    pub fn retrieval(model: &str, task: &str, score: &RetrievalScore) -> Self {
        Self::new(model, task, "all", "accuracy", score.all.accuracy)
    }
}

/// How a table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One row per model, one column per language.
    Languages,
    /// One row per model, one column per data set.
    Settings,
    /// One row per data set, one column per model.
    Models,
}

/// One of the paper's tables with a run's numbers in it.
#[derive(Clone, Debug)]
pub struct ResultTable {
    id: String,
    layout: Layout,
    cells: Vec<Cell>,
}

/// One number of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Cell {
    table: String,
    source: Source,
    #[serde(flatten)]
    number: Measured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Paper,
    Run,
}

impl ResultTable {
    /// Puts a run's numbers into a table of XLM-K, one of [`TABLES`].
    ///
    /// A language that the paper does not have is a further column, and a data set under another
    /// name (another test set, so not comparable) follows the model's.
    ///
    /// ```
    /// use transfer_eval::{Measured, ResultTable};
    ///
    /// let run = [Measured::new("ours", "XEP", "all", "accuracy", 50.0)];
    /// let table = ResultTable::new("001-7", &run)?.to_markdown();
    /// assert!(table.contains("| **ours** | 50.00 | – |"));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Table`] if there is no such table, or a number's metric (for LAMA, XEP and XOR also
    /// its data set) is not in it.
    pub fn new(id: &str, run: &[Measured]) -> Result<Self> {
        let wrong = |message: String| Err(Error::Table { given: id.to_owned(), message });
        let layout = match id {
            "001-1" | "001-2" | "001-3" => Layout::Languages,
            "001-4" | "001-7" => Layout::Settings,
            "001-5" => Layout::Models,
            _ => return wrong(format!("there is none; expected one of {}", TABLES.join(", "))),
        };
        let printed = select(Some(id), None, None);
        for number in run {
            let of_setting =
                |row: &&&Published| layout == Layout::Languages || row.setting == number.setting;
            if printed.iter().filter(of_setting).all(|row| row.metric != number.metric) {
                let Measured { setting, metric, .. } = number;
                let names: Vec<&str> =
                    printed.iter().map(|row| row.setting.as_str()).fold(Vec::new(), push_new);
                return wrong(format!("no `{metric}` of `{setting}`; it has {}", names.join(", ")));
            }
        }
        let paper = printed.into_iter().map(|row| Cell {
            table: id.to_owned(),
            source: Source::Paper,
            number: from_paper(row),
        });
        let run = run.iter().map(|number| Cell {
            table: id.to_owned(),
            source: Source::Run,
            number: number.clone(),
        });
        Ok(Self { id: id.to_owned(), layout, cells: paper.chain(run).collect() })
    }

    /// The table as Markdown; metrics of one cell are joined by ` / `, spreads follow `±`, `–`
    /// marks what there is not. Rows (in Table 5 columns) of the run are bold.
    pub fn to_markdown(&self) -> String {
        let rows = self.cells.iter().map(|cell| self.row(cell)).fold(Vec::new(), push_new);
        let mut columns =
            self.cells.iter().map(|cell| self.column(cell)).fold(Vec::new(), push_new);
        // The average comes last, behind languages that only the run has.
        columns.sort_by_key(|column| column == "avg");
        let metrics = self.metrics();
        let mut by_place: BTreeMap<(&str, String, String), &Cell> = BTreeMap::new();
        for cell in &self.cells {
            by_place.insert((&cell.number.metric, self.row(cell), self.column(cell)), cell);
        }
        let mut out = format!("| {} |", self.corner(&metrics));
        for column in &columns {
            let _ = write!(out, " {} |", column.replace('|', "\\|"));
        }
        out.push_str("\n|---|");
        out.push_str(&"---:|".repeat(columns.len()));
        for row in &rows {
            let _ = write!(out, "\n| {} |", row.replace('|', "\\|"));
            for column in &columns {
                let texts: Vec<Option<String>> = metrics
                    .iter()
                    .map(|metric| by_place.get(&(*metric, row.clone(), column.clone())))
                    .map(|cell| cell.map(|cell| self.text(cell)))
                    .collect();
                let any = texts.iter().any(Option::is_some);
                let texts: Vec<&str> =
                    texts.iter().map(|text| text.as_deref().unwrap_or("–")).collect();
                let text = if any && self.layout != Layout::Languages {
                    texts.into_iter().filter(|&text| text != "–").collect::<Vec<_>>().join(" / ")
                } else if any {
                    texts.join(" / ")
                } else {
                    "–".into()
                };
                let _ = write!(out, " {text} |");
            }
        }
        out.push('\n');
        out
    }

    /// All numbers as JSON, each with `table`, `source` (`paper` or `run`), `model`, `setting`,
    /// `language`, `metric`, `value` and, where there is one, `sd`.
    ///
    /// # Errors
    /// [`Error::Table`] if a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        if let Some(cell) = self.cells.iter().find(|cell| !cell.number.value.is_finite()) {
            let Measured { model, metric, value, .. } = &cell.number;
            let message = format!("`{metric}` of `{model}` is {value}");
            return Err(Error::Table { given: self.id.clone(), message });
        }
        let rows: Result<Vec<String>, _> = self.cells.iter().map(serde_json::to_string).collect();
        let failed = |error: serde_json::Error| Error::Table {
            given: self.id.clone(),
            message: error.to_string(),
        };
        Ok(format!("[\n{}\n]\n", rows.map_err(failed)?.join(",\n")))
    }

    fn corner(&self, metrics: &[&str]) -> String {
        let first = match self.layout {
            Layout::Models => "corpus",
            _ => "model",
        };
        let printed = [("f1", "F1"), ("em", "EM"), ("accuracy", "accuracy"), ("p@1", "P@1")];
        let names: Vec<&str> = printed
            .iter()
            .filter(|(key, _)| metrics.contains(key))
            .map(|&(_, name)| name)
            .collect();
        format!("{first} ({})", names.join(" / "))
    }

    fn metrics(&self) -> Vec<&str> {
        self.cells.iter().map(|cell| cell.number.metric.as_str()).fold(Vec::new(), push_new)
    }

    /// The data set that the table is about, if it is one.
    fn main_setting(&self) -> &str {
        self.cells.first().map_or("", |cell| &cell.number.setting)
    }

    fn row(&self, cell: &Cell) -> String {
        let Measured { model, setting, .. } = &cell.number;
        let other = self.layout == Layout::Languages && setting != self.main_setting();
        match self.layout {
            Layout::Models => setting.strip_prefix("LAMA ").unwrap_or(setting).to_owned(),
            _ if cell.source == Source::Paper => model.clone(),
            _ if other => format!("**{model}** ({setting})"),
            _ => format!("**{model}**"),
        }
    }

    fn column(&self, cell: &Cell) -> String {
        let Measured { model, setting, language, metric, .. } = &cell.number;
        match self.layout {
            Layout::Languages => language.clone(),
            Layout::Settings => setting.clone(),
            // Counts of facts and relations are separate columns.
            Layout::Models if model == "data" => metric.clone(),
            Layout::Models if cell.source == Source::Paper => model.clone(),
            Layout::Models => format!("**{model}**"),
        }
    }

    fn text(&self, cell: &Cell) -> String {
        let Measured { metric, value, sd, .. } = &cell.number;
        let digits = match metric.as_str() {
            "facts" | "relations" => 0,
            _ if self.id == "001-7" => 2,
            _ => 1,
        };
        match sd {
            Some(sd) => format!("{value:.digits$} ± {sd:.digits$}"),
            None => format!("{value:.digits$}"),
        }
    }
}

/// A printed number; the spread is in its note, `sd 0.3/0.2` for F1 and EM.
fn from_paper(row: &Published) -> Measured {
    let mut spreads =
        row.note.strip_prefix("sd ").map(|text| text.split('/')).into_iter().flatten();
    let spread = if row.metric == "em" { spreads.nth(1) } else { spreads.next() };
    Measured {
        model: row.model.clone(),
        setting: row.setting.clone(),
        language: row.language.clone(),
        metric: row.metric.clone(),
        value: row.value,
        sd: spread.and_then(|text| text.parse().ok()),
    }
}

fn push_new<T: PartialEq>(mut all: Vec<T>, one: T) -> Vec<T> {
    if !all.contains(&one) {
        all.push(one);
    }
    all
}
