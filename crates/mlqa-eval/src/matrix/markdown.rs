//! Matrices as Markdown.
use std::borrow::Borrow;
use std::fmt::Write;
use std::path::Path;

use results::{MeanInterval, Table, cell};

use crate::files::write_files;
use crate::{Average, Cell, Error, Language, Matrix};

/// The question languages of Table I of "Bridging the Language Gap", in the order of the table.
pub const TABLE_ONE_LANGUAGES: [Language; 6] =
    [Language::DE, Language::ES, Language::AR, Language::HI, Language::VI, Language::ZH];

/// Score shown in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// F1.
    F1,
    /// Exact match.
    Em,
}

impl Metric {
    /// Both metrics, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::F1, Self::Em];

    /// Returns the name used in headings.
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => "F1",
            Self::Em => "EM",
        }
    }

    /// Returns the metric's value in a cell.
    pub fn of(self, cell: &Cell) -> MeanInterval {
        match self {
            Self::F1 => cell.scores().f1(),
            Self::Em => cell.scores().em(),
        }
    }
}

impl Matrix {
    /// Returns Markdown tables of F1 and EM (rows are contexts, columns are questions) and the
    /// averages.
    ///
    /// Scores have two decimals and, for several seeds, the half width of the 95 % confidence
    /// interval after `±`. `–` marks a missing cell.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n", self.title);
        let contexts = self.context_languages();
        let questions = self.question_languages();
        for metric in Metric::ALL {
            let columns = questions.iter().map(Language::to_string);
            let mut table = Table::new("context \\ question", columns);
            for &context in &contexts {
                let score = |&question: &Language| {
                    cell(self.get(context, question).map(|cell| metric.of(cell).format(2)))
                };
                table.add_row(context.to_string(), questions.iter().map(score));
            }
            let _ = write!(out, "\n## {}\n\n{table}", metric.name());
        }
        let mut table = Table::new("average", ["cells", "F1", "EM"]);
        for (name, average) in [
            ("XLT (diagonal)", self.xlt()),
            ("G-XLT (all cells)", self.gxlt()),
            ("off the diagonal", self.off_diagonal()),
            ("English context, other questions", self.english_context()),
        ] {
            if let Some(Average { f1, em, cells }) = average {
                table.add_row(name, [cells.to_string(), format!("{f1:.2}"), format!("{em:.2}")]);
            }
        }
        let _ = write!(out, "\n## Averages\n\nEach cell counts once.\n\n{table}");
        out
    }

    /// Writes `matrix.md` and `matrix.json` to a folder. Both files are written completely before
    /// one of them is renamed to its final name.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let folder = folder.as_ref();
        let json = folder.join("matrix.json");
        let bytes = self.to_json(&json)?;
        write_files(&[(json, bytes), (folder.join("matrix.md"), self.to_markdown().into_bytes())])
    }
}

/// Formats a table like Table I of "Bridging the Language Gap": English contexts, one row per arm,
/// `F1 / EM` in the cells.
///
/// The columns are the question languages other than English, and their mean, which is `–` if a
/// language is missing. If a cell has a confidence interval, the half width follows `±`.
///
/// ```
/// use mlqa_eval::{Cell, Language, Matrix, table_one};
///
/// let mut matrix = Matrix::new("");
/// let (f1_half_width, em_half_width) = (Some(0.5), Some(0.25));
/// let cell = Cell { f1: 60.0, em: 50.0, questions: 10, f1_half_width, em_half_width };
/// matrix.insert(Language::EN, Language::DE, cell);
/// let table = table_one(&[("ours", &matrix)]);
/// assert!(table.contains("| ours | 60.00 ± 0.50 / 50.00 ± 0.25 | – |"));
/// ```
pub fn table_one(arms: &[(&str, impl Borrow<Matrix>)]) -> String {
    let codes = TABLE_ONE_LANGUAGES.map(|language| language.as_str().to_uppercase());
    let mut table = Table::new("F1 / EM", codes.into_iter().chain(["mean".to_owned()]));
    for (name, matrix) in arms {
        let matrix = matrix.borrow();
        let scores_of = |language| matrix.get(Language::EN, language).map(Cell::scores);
        let mean = matrix
            .english_context()
            .filter(|average| average.cells == TABLE_ONE_LANGUAGES.len())
            .map(|average| average.scores());
        let scores = TABLE_ONE_LANGUAGES.map(scores_of).into_iter().chain([mean]);
        table
            .add_row(*name, scores.map(|scores| cell(scores.map(|scores| format!("{scores:.2}")))));
    }
    table.to_string()
}
