//! Comparison of a run's matrix with a paper's table.
use results::{Published, Table, cell, select_published, table_ids};
use serde::Serialize;

use crate::{Error, Language, Matrix};

/// Value of [`Published::language`] for averages over languages.
const AVERAGE_CODE: &str = "avg";

/// A published value and the corresponding value of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PublishedComparison {
    /// The published value.
    pub published: Published,
    /// The run's value for the languages and metric of the published value; `None` if the matrix
    /// has no such cell.
    pub run: Option<f64>,
}

impl PublishedComparison {
    /// Returns the run's value minus the published value, in points.
    pub fn difference(&self) -> Option<f64> {
        self.run.map(|run| run - self.published.value)
    }
}

/// Compares a matrix with a published table, value by value.
///
/// Only values on MLQA and XQuAD are used. Each value of table `000-1` is compared with the cell
/// whose context language is English and whose question language is the value's language. The
/// values of all other tables are compared with the diagonal: contexts and questions are in the
/// value's language. Published averages are skipped, because several of them differ from the mean
/// of their row.
///
/// ```
/// use mlqa_eval::{Cell, Language, Matrix, compare};
///
/// let mut run = Matrix::new("a run");
/// let (f1_half_width, em_half_width) = (None, None);
/// let cell = Cell { f1: 64.1, em: 50.0, questions: 1148, f1_half_width, em_half_width };
/// run.insert(Language::EN, Language::DE, cell);
/// let rows = compare("000-1", &run)?;
/// let f1 = rows.iter().find(|row| row.published.model == "ours" && row.run.is_some()).unwrap();
/// assert_eq!((f1.published.value, f1.run), (63.1, Some(64.1)));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Table`] if no table has this id, or the table has no F1 or EM on MLQA or XQuAD.
pub fn compare(table: &str, run: &Matrix) -> Result<Vec<PublishedComparison>, Error> {
    let table_error = |message: String| Error::Table { id: table.to_owned(), message };
    let rows = select_published(Some(table), None, None);
    if rows.is_empty() {
        let ids = table_ids().join(", ");
        return Err(table_error(format!("no such table; expected one of {ids}")));
    }
    let compared: Vec<PublishedComparison> = rows
        .into_iter()
        .filter(|row| row.setting.starts_with("MLQA") || row.setting.starts_with("XQuAD"))
        .filter(|row| row.metric == "f1" || row.metric == "em")
        .filter(|row| row.language != AVERAGE_CODE)
        .map(|row| {
            let question: Language = row.language.parse().expect("the code of a language");
            let context = if table == "000-1" { Language::EN } else { question };
            let cell = run.get(context, question);
            let run = cell.map(|cell| if row.metric == "f1" { cell.f1 } else { cell.em });
            PublishedComparison { published: row.clone(), run }
        })
        .collect();
    if compared.is_empty() {
        return Err(table_error("no F1 or EM per language on MLQA or XQuAD".to_owned()));
    }
    Ok(compared)
}

/// Formats the comparison as a Markdown table, one row per published value.
pub fn comparison_markdown(rows: &[PublishedComparison]) -> String {
    let columns = ["setting", "language", "metric", "paper", "run", "difference"];
    let mut table =
        Table::new("model", columns).with_text_columns(&["setting", "language", "metric"]);
    for row in rows {
        let Published { model, setting, language, metric, value, .. } = &row.published;
        let labels = [setting, language, metric].map(String::clone);
        let run = row.run.map(|run| format!("{run:.2}"));
        let difference = row.difference().map(|points| format!("{points:+.2}"));
        let numbers = [format!("{value:.2}"), cell(run), cell(difference)];
        table.add_row(model, labels.into_iter().chain(numbers));
    }
    table.to_string()
}
