//! Scores by language of context and language of question.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use results::{ScoreMeans, over_seeds};
use serde::{Deserialize, Serialize};

use crate::files::{read_json, to_json_bytes, write_json};
use crate::{Error, Language, Score, TableLanguage};

/// Scores of one pair of languages, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Cell {
    /// Mean F1.
    pub f1: f64,
    /// Exact match.
    pub em: f64,
    /// Number of questions.
    pub questions: usize,
    /// Half width of the 95 % confidence interval of `f1` over seeds; `None` for a single seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1_half_width: Option<f64>,
    /// Half width of the 95 % confidence interval of `em` over seeds; `None` for a single seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub em_half_width: Option<f64>,
}

impl Cell {
    /// Returns F1 and exact match.
    pub(crate) fn scores(&self) -> ScoreMeans {
        ScoreMeans {
            f1: self.f1,
            em: self.em,
            f1_half_width: self.f1_half_width,
            em_half_width: self.em_half_width,
        }
    }

    /// Creates a cell from scores.
    pub(crate) fn of(scores: ScoreMeans, questions: usize) -> Self {
        let ScoreMeans { f1, em, f1_half_width, em_half_width } = scores;
        Self { f1, em, questions, f1_half_width, em_half_width }
    }
}

impl From<&Score> for Cell {
    fn from(score: &Score) -> Self {
        let scores = ScoreMeans { f1: score.f1, em: score.exact_match, ..ScoreMeans::default() };
        Self::of(scores, score.questions)
    }
}

/// An unweighted mean over cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Mean of the cells' F1.
    pub f1: f64,
    /// Mean of the cells' exact match.
    pub em: f64,
    /// Number of cells.
    pub cells: usize,
}

impl Average {
    /// Returns F1 and exact match.
    pub(crate) fn scores(&self) -> ScoreMeans {
        ScoreMeans { f1: self.f1, em: self.em, ..ScoreMeans::default() }
    }
}

/// Scores by context and question language (a G-XLT matrix). Cells without data are absent.
///
/// ```
/// use mlqa_eval::{Cell, Language, Matrix};
///
/// let cell = |f1, em| Cell { f1, em, questions: 100, f1_half_width: None, em_half_width: None };
/// let mut matrix = Matrix::new("a run");
/// matrix.insert(Language::EN, Language::EN, cell(80.0, 70.0));
/// matrix.insert(Language::EN, Language::DE, cell(60.0, 50.0));
/// assert_eq!(matrix.gxlt().map(|mean| mean.f1), Some(70.0));
/// assert!(matrix.to_markdown().contains("| en | 80.00 | 60.00 |"));
/// ```
///
/// Serde uses the format of the files that [`Matrix::write_json`] writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "MatrixFile", into = "MatrixFile")]
pub struct Matrix {
    /// Title of the tables.
    pub title: String,
    /// Cells by (context, question). Sums are computed in the order of these keys.
    cells: BTreeMap<(TableLanguage, TableLanguage), Cell>,
}

impl Matrix {
    /// Creates an empty matrix.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), cells: BTreeMap::new() }
    }

    /// Returns the cell of a context language and a question language.
    pub fn get(&self, context: Language, question: Language) -> Option<&Cell> {
        self.cells.get(&(context.into(), question.into()))
    }

    /// Sets a cell.
    pub fn insert(&mut self, context: Language, question: Language, cell: Cell) {
        self.cells.insert((context.into(), question.into()), cell);
    }

    /// Returns the number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Returns whether the matrix has no cells.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Iterates over (context, question, cell), sorted by context and question in the order of
    /// [`TableLanguage`]. The answer is in the language of the context.
    pub fn cells(&self) -> impl Iterator<Item = (Language, Language, &Cell)> {
        self.cells.iter().map(|((context, question), cell)| (context.0, question.0, cell))
    }

    /// Returns the context languages (table rows) in the order of [`TableLanguage`].
    pub fn context_languages(&self) -> Vec<Language> {
        sorted_languages(self.cells.keys().map(|&(context, _)| context))
    }

    /// Returns the question languages (table columns) in the order of [`TableLanguage`].
    ///
    /// ```
    /// use mlqa_eval::{Cell, Language, Matrix};
    ///
    /// let mut matrix = Matrix::new("MTQA");
    /// let (f1_half_width, em_half_width) = (None, None);
    /// let cell = Cell { f1: 60.0, em: 50.0, questions: 10, f1_half_width, em_half_width };
    /// for code in ["fr", "de"] {
    ///     matrix.insert(Language::EN, code.parse()?, cell.clone());
    /// }
    /// assert_eq!(matrix.context_languages(), ["en"]);
    /// assert_eq!(matrix.question_languages(), ["de", "fr"]);
    /// # Ok::<(), mlqa_eval::LanguageError>(())
    /// ```
    pub fn question_languages(&self) -> Vec<Language> {
        sorted_languages(self.cells.keys().map(|&(_, question)| question))
    }

    /// Computes the mean over the cells for which `keep(context, question)` is true; `None` if no
    /// cell is selected.
    pub fn mean(&self, keep: impl Fn(Language, Language) -> bool) -> Option<Average> {
        let selected: Vec<ScoreMeans> = self
            .cells()
            .filter(|&(context, question, _)| keep(context, question))
            .map(|(_, _, cell)| cell.scores())
            .collect();
        if selected.is_empty() {
            return None;
        }
        let ScoreMeans { f1, em, .. } = over_seeds(&selected);
        Some(Average { f1, em, cells: selected.len() })
    }

    /// Computes [`Matrix::mean`] of each seed's matrix, and returns the mean and confidence
    /// interval of these values over seeds. The result is `None` if there are no seeds, or if
    /// `keep` selects no cell of a seed.
    ///
    /// ```
    /// use mlqa_eval::{Cell, Language, Matrix};
    ///
    /// let seed = |f1| {
    ///     let mut matrix = Matrix::new("a seed");
    ///     let (f1_half_width, em_half_width) = (None, None);
    ///     let cell = |f1| Cell { f1, em: f1, questions: 9, f1_half_width, em_half_width };
    ///     matrix.insert(Language::EN, Language::EN, cell(f1));
    ///     matrix.insert(Language::EN, Language::DE, cell(f1 - 10.0));
    ///     matrix
    /// };
    /// let seeds = [seed(30.0), seed(32.0)];
    /// let scores = Matrix::mean_over_seeds(&seeds, |_, question| question == Language::DE).unwrap();
    /// assert_eq!(scores.f1().to_string(), "21.0 ± 12.7");
    /// assert!(Matrix::mean_over_seeds(&seeds, |context, _| context == Language::DE).is_none());
    /// ```
    pub fn mean_over_seeds(
        seeds: &[Self],
        keep: impl Fn(Language, Language) -> bool,
    ) -> Option<ScoreMeans> {
        let means = seeds.iter().map(|seed| Some(seed.mean(&keep)?.scores()));
        let means: Vec<ScoreMeans> = means.collect::<Option<_>>()?;
        (!means.is_empty()).then(|| over_seeds(&means))
    }

    /// Computes XLT: the mean over the diagonal.
    pub fn xlt(&self) -> Option<Average> {
        self.mean(|context, question| context == question)
    }

    /// Computes G-XLT: the mean over all cells.
    pub fn gxlt(&self) -> Option<Average> {
        self.mean(|_, _| true)
    }

    /// Computes the mean over the off-diagonal cells.
    pub fn off_diagonal(&self) -> Option<Average> {
        self.mean(|context, question| context != question)
    }

    /// Computes the mean over the cells with English contexts and questions in other languages.
    pub fn english_context(&self) -> Option<Average> {
        self.mean(|context, question| context == Language::EN && question != Language::EN)
    }

    /// Aggregates the matrices of several seeds: mean and confidence interval of each cell.
    ///
    /// Only cells present for every seed are included. The numbers of questions are taken from the
    /// first seed.
    pub fn over_seeds(title: impl Into<String>, seeds: &[Self]) -> Self {
        let mut matrix = Self::new(title);
        let Some(first) = seeds.first() else { return matrix };
        for (&key, cell) in &first.cells {
            let scores = seeds.iter().map(|seed| seed.cells.get(&key).map(Cell::scores));
            let scores: Option<Vec<ScoreMeans>> = scores.collect();
            let aggregate = |scores: Vec<_>| Cell::of(over_seeds(&scores), cell.questions);
            matrix.cells.extend(scores.map(|scores| (key, aggregate(scores))));
        }
        matrix
    }

    /// Reads a file written by [`Matrix::write_json`].
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Json`]; [`Error::Content`] if a pair of languages occurs twice.
    pub fn read_json(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let file: MatrixFile = read_json(
            path,
            "a matrix: {\"title\": \"…\", \"cells\": [{\"context\": \"en\", \"question\": \"de\", \
             \"f1\": 0, \"em\": 0, \"questions\": 0}]}",
        )?;
        file.try_into().map_err(|message| Error::Content { path: path.to_path_buf(), message })
    }

    /// Writes cells and averages as JSON, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_json(path.as_ref(), &MatrixFile::from(self.clone()))
    }

    /// Returns the bytes that [`Matrix::write_json`] writes to the file `path`.
    pub(crate) fn to_json(&self, path: &Path) -> Result<Vec<u8>, Error> {
        to_json_bytes(path, &MatrixFile::from(self.clone()))
    }
}

fn sorted_languages(languages: impl Iterator<Item = TableLanguage>) -> Vec<Language> {
    let all: BTreeSet<TableLanguage> = languages.collect();
    all.into_iter().map(|TableLanguage(language)| language).collect()
}

impl From<Matrix> for MatrixFile {
    fn from(matrix: Matrix) -> Self {
        let cells = matrix.cells();
        let cells = cells.map(|(context, question, &cell)| CellEntry { context, question, cell });
        let averages = Some(Averages {
            xlt: matrix.xlt(),
            gxlt: matrix.gxlt(),
            off_diagonal: matrix.off_diagonal(),
            english_context: matrix.english_context(),
        });
        Self { cells: cells.collect(), averages, title: matrix.title }
    }
}

impl TryFrom<MatrixFile> for Matrix {
    type Error = String;

    fn try_from(file: MatrixFile) -> Result<Self, String> {
        let mut matrix = Self::new(file.title);
        for CellEntry { context, question, cell } in file.cells {
            if matrix.cells.insert((context.into(), question.into()), cell).is_some() {
                return Err(format!(
                    "the cell of context {context} and question {question} occurs twice; remove one"
                ));
            }
        }
        Ok(matrix)
    }
}

#[derive(Deserialize, Serialize)]
struct MatrixFile {
    #[serde(default)]
    title: String,
    cells: Vec<CellEntry>,
    #[serde(skip_deserializing)]
    averages: Option<Averages>,
}

#[derive(Deserialize, Serialize)]
struct CellEntry {
    context: Language,
    question: Language,
    #[serde(flatten)]
    cell: Cell,
}

#[derive(Serialize)]
struct Averages {
    xlt: Option<Average>,
    gxlt: Option<Average>,
    off_diagonal: Option<Average>,
    english_context: Option<Average>,
}
