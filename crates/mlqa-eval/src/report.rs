//! Matrices as Markdown.
use std::borrow::Borrow;
use std::fmt::Write;
use std::path::Path;

use crate::files::write_together;
use crate::{Average, Cell, EvalError, Language, Matrix, Spread};

/// The question languages of the first paper's Table I, in its order.
pub const TABLE_ONE_LANGUAGES: [Language; 6] =
    [Language::DE, Language::ES, Language::AR, Language::HI, Language::VI, Language::ZH];

/// Which score a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// F1.
    F1,
    /// Exact match.
    Em,
}

impl Metric {
    /// Both, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::F1, Self::Em];

    /// The name in headings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => "F1",
            Self::Em => "EM",
        }
    }

    /// The metric's value in a cell.
    pub(crate) fn of(self, cell: &Cell) -> Spread {
        match self {
            Self::F1 => Spread { mean: cell.f1, sd: cell.f1_sd },
            Self::Em => Spread { mean: cell.em, sd: cell.em_sd },
        }
    }
}

/// The averages of a matrix with what they are called.
pub(crate) fn averages(matrix: &Matrix) -> [(&'static str, Option<Average>); 4] {
    [
        ("XLT (diagonal)", matrix.xlt()),
        ("G-XLT (all cells)", matrix.gxlt()),
        ("off the diagonal", matrix.off_diagonal()),
        ("English context, other questions", matrix.english_context()),
    ]
}

impl Matrix {
    /// Two tables, F1 and EM, row = context, column = question, and the averages; languages as
    /// [`Matrix::contexts`] and [`Matrix::questions`] have them. Scores have two decimals, with
    /// `± sd` where there are several seeds; `–` marks a missing cell.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n", self.title);
        let (contexts, questions) = (self.contexts(), self.questions());
        for metric in Metric::ALL {
            let _ = write!(out, "\n## {}\n\n| context \\ question |", metric.name());
            for question in &questions {
                let _ = write!(out, " {question} |");
            }
            out.push_str("\n|---|");
            out.push_str(&"---:|".repeat(questions.len()));
            for &context in &contexts {
                let _ = write!(out, "\n| {context} |");
                for &question in &questions {
                    let text = self.get(context, question).map(|cell| metric.of(cell).text(2));
                    let _ = write!(out, " {} |", text.as_deref().unwrap_or("–"));
                }
            }
            out.push('\n');
        }
        out.push_str("\n## Averages\n\nEach cell counts once.\n\n| average | cells | F1 | EM |\n");
        out.push_str("|---|---:|---:|---:|\n");
        for (name, average) in averages(self) {
            if let Some(Average { f1, em, cells }) = average {
                let _ = writeln!(out, "| {name} | {cells} | {f1:.2} | {em:.2} |");
            }
        }
        out
    }
}

impl Matrix {
    /// Writes `matrix.md`, `matrix.json` and `matrix.html` into a folder; all are complete before
    /// the first gets its name.
    ///
    /// # Errors
    /// [`EvalError::Write`].
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), EvalError> {
        let folder = folder.as_ref();
        let json = folder.join("matrix.json");
        let bytes = self.to_json(&json)?;
        write_together(&[
            (json, bytes),
            (folder.join("matrix.md"), self.to_markdown().into_bytes()),
            (folder.join("matrix.html"), self.to_html().into_bytes()),
        ])
    }
}

/// A table in the shape of the first paper's Table I: English contexts, one column for each other
/// question language and their mean, one row per arm, `F1 / EM` in the cells, with `± sd` where
/// a cell has a spread. The mean is over the six languages; `–` where one is missing.
///
/// ```
/// use mlqa_eval::{Cell, Language, Matrix, table_one};
///
/// let mut matrix = Matrix::new("");
/// let cell = Cell { f1: 60.0, em: 50.0, questions: 10, f1_sd: Some(0.5), em_sd: Some(0.25) };
/// matrix.insert(Language::EN, Language::DE, cell);
/// let table = table_one(&[("ours", &matrix)]);
/// assert!(table.contains("| ours | 60.00 ± 0.50 / 50.00 ± 0.25 | – |"));
/// ```
pub fn table_one(arms: &[(&str, impl Borrow<Matrix>)]) -> String {
    let mut out = String::from("| F1 / EM |");
    for language in TABLE_ONE_LANGUAGES {
        let _ = write!(out, " {} |", language.as_str().to_uppercase());
    }
    out.push_str(" mean |\n|---|");
    out.push_str(&"---:|".repeat(TABLE_ONE_LANGUAGES.len() + 1));
    for (name, matrix) in arms {
        let matrix = matrix.borrow();
        let _ = write!(out, "\n| {} |", name.replace('|', "\\|"));
        for language in TABLE_ONE_LANGUAGES {
            let text = matrix.get(Language::EN, language).map(|cell| {
                format!("{} / {}", Metric::F1.of(cell).text(2), Metric::Em.of(cell).text(2))
            });
            let _ = write!(out, " {} |", text.as_deref().unwrap_or("–"));
        }
        let mean = matrix
            .english_context()
            .filter(|average| average.cells == TABLE_ONE_LANGUAGES.len())
            .map(|average| format!("{:.2} / {:.2}", average.f1, average.em));
        let _ = write!(out, " {} |", mean.as_deref().unwrap_or("–"));
    }
    out.push('\n');
    out
}
