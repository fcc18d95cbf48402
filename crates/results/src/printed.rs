//! XLM-K's result tables, extended by the numbers of a run.
use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Error, MISSING, Measured, Published, Result, Table, select_published};

/// Layout of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One row per model, one column per language.
    Languages,
    /// One row per model, one column per data set.
    Settings,
    /// One row per data set, one column per model.
    Models,
}

/// One of XLM-K's result tables, extended by the numbers of a run.
#[derive(Clone, Debug)]
pub struct PrintedTable {
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
    /// The standard deviation in the paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    sd: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Paper,
    Run,
}

impl PrintedTable {
    /// The supported tables, in this order: MLQA; NER; XNLI; ablations; LAMA; XEP and XOR.
    pub const IDS: [&str; 6] = ["001-1", "001-2", "001-3", "001-4", "001-5", "001-7"];

    /// Adds a run's numbers to a table of XLM-K, one of [`PrintedTable::IDS`].
    ///
    /// Languages that are not in the paper are additional columns. If a data set is not in the
    /// paper, its numbers are not comparable, and the data set's name is appended to the model
    /// name.
    ///
    /// ```
    /// use results::{Measured, PrintedTable};
    ///
    /// let run = [Measured::new("ours", "XEP", "all", "accuracy", 50.0)];
    /// let table = PrintedTable::new("001-7", &run)?.to_markdown();
    /// assert!(table.contains("| **ours** | 50.00 | – |"));
    /// # Ok::<(), results::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Table`] for an unknown table, or if none of the run's numbers belongs to the table.
    /// A number belongs to the table if the table contains its metric and, except for the tables of
    /// MLQA, NER and XNLI, its data set. Numbers that do not belong to the table are skipped.
    pub fn new(id: &str, run: &[Measured]) -> Result<Self> {
        let table_error = |message: String| Err(Error::Table { id: id.to_owned(), message });
        let layout = match id {
            "001-1" | "001-2" | "001-3" => Layout::Languages,
            "001-4" | "001-7" => Layout::Settings,
            "001-5" => Layout::Models,
            _ => {
                return table_error(format!(
                    "no such table; expected one of {}",
                    Self::IDS.join(", ")
                ));
            }
        };
        let published = select_published(Some(id), None, None);
        let is_in_table = |number: &&Measured| {
            let has_setting =
                |row: &&&Published| layout == Layout::Languages || row.setting == number.setting;
            published.iter().filter(has_setting).any(|row| row.metric == number.metric)
        };
        // A run may contain numbers for other tables.
        let any_in_table = run.iter().any(|number| is_in_table(&number));
        if let Some(number) = run.iter().find(|number| !any_in_table && !is_in_table(number)) {
            let Measured { setting, metric, .. } = number;
            let settings: Vec<&str> =
                published.iter().map(|row| row.setting.as_str()).fold(Vec::new(), push_unique);
            return table_error(format!(
                "no `{metric}` of `{setting}`; the table has {}",
                settings.join(", ")
            ));
        }
        let run_numbers: Vec<Measured> = run.iter().filter(is_in_table).cloned().collect();
        let cell = |source, (number, sd)| Cell { table: id.to_owned(), source, number, sd };
        let paper_cells = published.into_iter().map(|row| cell(Source::Paper, from_paper(row)));
        let run_cells = run_numbers.into_iter().map(|number| cell(Source::Run, (number, None)));
        Ok(Self { id: id.to_owned(), layout, cells: paper_cells.chain(run_cells).collect() })
    }

    /// Formats the table as Markdown. The values of several metrics in one cell are separated by
    /// slashes, intervals follow `±`, and `–` marks missing values. The run's rows are bold; in
    /// Table 5, the run's columns are bold.
    pub fn to_markdown(&self) -> String {
        let rows = self.cells.iter().map(|cell| self.row_title(cell)).fold(Vec::new(), push_unique);
        let columns = self.cells.iter().map(|cell| self.column_title(cell));
        let mut columns = columns.fold(Vec::new(), push_unique);
        // The average is the last column, after the languages that are not in the paper.
        columns.sort_by_key(|column| column == "avg");
        let metrics = self.cells.iter().map(|cell| cell.number.metric.as_str());
        let metrics = metrics.fold(Vec::new(), push_unique);
        let key_of = |c: &Cell| [c.number.metric.clone(), self.row_title(c), self.column_title(c)];
        let texts_by_key: BTreeMap<[String; 3], String> =
            self.cells.iter().map(|cell| (key_of(cell), self.format_cell(cell))).collect();
        let mut table = Table::new(self.corner_title(&metrics), &columns);
        for row in &rows {
            let cell_text = |column: &String| {
                let key = |metric: &str| [metric, row, column].map(str::to_owned);
                let text = |metric: &&str| texts_by_key.get(&key(metric)).map(String::as_str);
                let texts: Vec<Option<&str>> = metrics.iter().map(text).collect();
                let values: Vec<&str> = match self.layout {
                    Layout::Languages if texts.iter().any(Option::is_some) => {
                        texts.iter().map(|text| text.unwrap_or(MISSING)).collect()
                    }
                    _ => texts.into_iter().flatten().collect(),
                };
                if values.is_empty() { MISSING.to_owned() } else { values.join(" / ") }
            };
            table.add_row(row, columns.iter().map(cell_text));
        }
        table.to_string()
    }

    /// Returns all numbers as JSON, each with `table`, `source` (`paper` or `run`), `model`,
    /// `setting`, `language`, `metric`, `value` and, if the paper states it, `sd`.
    ///
    /// # Errors
    /// [`Error::Table`] if a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        let table_error = |message: String| Error::Table { id: self.id.clone(), message };
        if let Some(cell) = self.cells.iter().find(|cell| !cell.number.value.is_finite()) {
            let Measured { model, metric, value, .. } = &cell.number;
            return Err(table_error(format!("`{metric}` of `{model}` is {value}")));
        }
        let rows: Result<Vec<String>, _> = self.cells.iter().map(serde_json::to_string).collect();
        let rows = rows.map_err(|error| table_error(error.to_string()))?;
        Ok(format!("[\n{}\n]\n", rows.join(",\n")))
    }

    fn corner_title(&self, metrics: &[&str]) -> String {
        let row_kind = match self.layout {
            Layout::Models => "corpus",
            _ => "model",
        };
        let mut names = vec![("f1", "F1"), ("em", "EM"), ("accuracy", "accuracy"), ("p@1", "P@1")];
        names.retain(|(metric, _)| metrics.contains(metric));
        let names: Vec<&str> = names.into_iter().map(|(_, name)| name).collect();
        format!("{row_kind} ({})", names.join(" / "))
    }

    /// Returns the data set of a table that has only one data set.
    fn main_setting(&self) -> &str {
        self.cells.first().map_or("", |cell| &cell.number.setting)
    }

    fn row_title(&self, cell: &Cell) -> String {
        let Measured { model, setting, .. } = &cell.number;
        let is_other_setting = self.layout == Layout::Languages && setting != self.main_setting();
        match self.layout {
            Layout::Models => setting.strip_prefix("LAMA ").unwrap_or(setting).to_owned(),
            _ if cell.source == Source::Paper => model.clone(),
            _ if is_other_setting => format!("**{model}** ({setting})"),
            _ => format!("**{model}**"),
        }
    }

    fn column_title(&self, cell: &Cell) -> String {
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

    fn format_cell(&self, cell: &Cell) -> String {
        let decimals = match cell.number.metric.as_str() {
            "facts" | "relations" => 0,
            _ if self.id == "001-7" => 2,
            _ => 1,
        };
        let mean = cell.number.mean_interval();
        match cell.sd {
            Some(sd) => format!("{mean:.decimals$} (sd {sd:.decimals$})"),
            None => format!("{mean:.decimals$}"),
        }
    }
}

/// Converts a published number, and parses its standard deviation from the note (`sd 0.3/0.2` for
/// F1 and EM).
fn from_paper(row: &Published) -> (Measured, Option<f64>) {
    let deviation = row.note.strip_prefix("sd ").and_then(|text| {
        let mut deviations = text.split('/');
        if row.metric == "em" { deviations.nth(1) } else { deviations.next() }
    });
    let parse = |text: &str| text.parse().expect("a standard deviation in published.csv");
    let number = Measured::new(&row.model, &row.setting, &row.language, &row.metric, row.value);
    (number, deviation.map(parse))
}

fn push_unique<T: PartialEq>(mut items: Vec<T>, item: T) -> Vec<T> {
    if !items.contains(&item) {
        items.push(item);
    }
    items
}
