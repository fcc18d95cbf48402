//! Computes heat maps: rows, columns, cells and their means.
use mlqa_eval::{Cell, Language, Matrix, MeanInterval, Metric};

use crate::collect::ReportData;
use crate::table::{Table, Value};

/// A cell of a heat map, in percent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeatCell {
    pub score: f64,
    pub half_width: Option<f64>,
    pub questions: usize,
    /// Whether context and question have the same language.
    pub same_language: bool,
    /// Tooltip text.
    pub tip: String,
}

/// A grid of scores.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeatMap {
    /// Part of the file names of the figure and the table.
    pub name: String,
    pub title: String,
    /// Title of the rows: `context` or `run`.
    pub row_title: &'static str,
    pub column_title: &'static str,
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// Cells by row and column.
    pub cells: Vec<Vec<Option<HeatCell>>>,
    /// Additional columns with means: the title of each column, and its mean for each row.
    pub row_means: Vec<(&'static str, Vec<Option<f64>>)>,
    /// Means of columns; `None` if rows are runs.
    pub column_means: Option<Vec<Option<f64>>>,
    /// Mean of all cells; `None` if rows are runs.
    pub mean: Option<f64>,
    /// The lowest and the highest score of all maps that share a colour scale.
    pub range: (f64, f64),
}

impl HeatMap {
    /// Returns the number of questions per cell, if all cells have the same number.
    pub fn questions(&self) -> Option<usize> {
        let mut counts = self.cells.iter().flatten().flatten().map(|cell| cell.questions);
        let first = counts.next()?;
        (first > 0 && counts.all(|other| other == first)).then_some(first)
    }

    /// Converts the heat map to a table.
    pub fn table(&self) -> Table {
        let corner = format!("{} \\ {}", self.row_title, self.column_title);
        let mut table = Table::new(&self.name, &self.title, &corner);
        table.columns.extend(self.columns.iter().cloned());
        table.columns.extend(self.row_means.iter().map(|(name, _)| (*name).to_owned()));
        for (at, (name, cells)) in self.rows.iter().zip(&self.cells).enumerate() {
            let mut row = vec![Value::from(name.as_str())];
            row.extend(cells.iter().map(|cell| Value::from(cell.as_ref().map(|cell| cell.score))));
            let means = self.row_means.iter().map(|(_, means)| means[at]);
            row.extend(means.map(Value::from));
            table.rows.push(row);
        }
        if let Some(means) = &self.column_means {
            let mut row = vec![Value::from("mean")];
            row.extend(means.iter().copied().map(Value::from));
            row.push(Value::from(self.mean));
            table.rows.push(row);
        }
        if let Some(questions) = self.questions() {
            table.note = format!("{questions} questions in each cell.");
        }
        table
    }
}

/// Creates the heat maps of a set for F1 and EM. Usually, each run has a separate map. All runs
/// share one map, with a row per run, in two cases: if all cells have the same context language, or
/// if context and question have the same language in every cell.
pub(crate) fn heat_maps(all: &ReportData, set: &str) -> Vec<HeatMap> {
    let runs: Vec<(&str, Matrix)> = all
        .names
        .iter()
        .enumerate()
        .map(|(run, name)| (name.as_str(), all.matrix(set, run)))
        .filter(|(_, matrix)| !matrix.is_empty())
        .collect();
    let contexts: Vec<Vec<Language>> =
        runs.iter().map(|(_, matrix)| matrix.context_languages()).collect();
    let one_context = contexts.windows(2).all(|pair| pair[0] == pair[1])
        && contexts.first().is_some_and(|first| first.len() == 1);
    let same_languages = runs.iter().all(|(_, matrix)| matrix.cells().all(|(c, q, _)| c == q));
    let mut maps = Vec::new();
    for metric in Metric::ALL {
        let range = score_range(&runs, metric);
        if same_languages || one_context {
            maps.push(map_of_runs(&runs, metric, range));
        } else {
            let run_map =
                |(run, matrix): &(&str, Matrix)| map_of_matrix(run, matrix, metric, range);
            maps.extend(runs.iter().map(run_map));
        }
    }
    if !set.is_empty() {
        for map in &mut maps {
            (map.name, map.title) =
                (format!("{}-{set}", map.name), format!("{set}: {}", map.title));
        }
    }
    maps
}

fn score_range(runs: &[(&str, Matrix)], metric: Metric) -> (f64, f64) {
    let cells = runs.iter().flat_map(|(_, matrix)| matrix.cells());
    cells.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, _, cell)| {
        let score = metric.of(cell).mean;
        (low.min(score), high.max(score))
    })
}

fn heat_cell(
    cell: &Cell,
    metric: Metric,
    context: Language,
    question: Language,
    run: &str,
) -> HeatCell {
    let (MeanInterval { mean: score, half_width }, questions) = (metric.of(cell), cell.questions);
    let [f1, em] = Metric::ALL.map(|metric| metric.of(cell).format(2));
    let pair = format!("{run}: {} context, {} question", context.name(), question.name());
    let mut tip = format!("{pair}: F1 {f1}, EM {em}");
    if cell.questions > 0 {
        tip.push_str(&format!(", {} questions", cell.questions));
    }
    HeatCell { score, half_width, questions, same_language: context == question, tip }
}

fn mean<'a>(cells: impl Iterator<Item = &'a HeatCell>) -> Option<f64> {
    let scores: Vec<f64> = cells.map(|cell| cell.score).collect();
    (!scores.is_empty()).then(|| MeanInterval::of(scores).mean)
}

fn map_of_matrix(run: &str, matrix: &Matrix, metric: Metric, range: (f64, f64)) -> HeatMap {
    let name = metric.name();
    let contexts = matrix.context_languages();
    let questions = matrix.question_languages();
    let cell = |context: Language, question: Language| {
        Some(heat_cell(matrix.get(context, question)?, metric, context, question, run))
    };
    let row = |&context: &Language| questions.iter().map(|&q| cell(context, q)).collect();
    let cells: Vec<Vec<Option<HeatCell>>> = contexts.iter().map(row).collect();
    let column = |at: usize| mean(cells.iter().filter_map(|row| row[at].as_ref()));
    HeatMap {
        name: format!("{}-{}", name.to_lowercase(), crate::text::file_name(run)),
        title: format!("{name}, {run}"),
        row_title: "context",
        column_title: "question",
        rows: contexts.iter().map(Language::to_string).collect(),
        columns: questions.iter().map(Language::to_string).collect(),
        row_means: vec![("mean", cells.iter().map(|row| mean(row.iter().flatten())).collect())],
        column_means: Some((0..questions.len()).map(column).collect()),
        mean: mean(cells.iter().flatten().flatten()),
        cells,
        range,
    }
}

/// Creates a heat map with a row per run.
fn map_of_runs(runs: &[(&str, Matrix)], metric: Metric, range: (f64, f64)) -> HeatMap {
    let name = metric.name();
    let mut columns: Vec<(Language, Language)> = Vec::new();
    for (_, matrix) in runs {
        columns.extend(matrix.cells().map(|(context, question, _)| (context, question)));
    }
    columns.sort_by_key(|&(context, question)| {
        (mlqa_eval::TableLanguage(context), mlqa_eval::TableLanguage(question))
    });
    columns.dedup();
    let row = |(run, matrix): &(&str, Matrix)| -> Vec<Option<HeatCell>> {
        let cell = |&(context, question): &(Language, Language)| {
            Some(heat_cell(matrix.get(context, question)?, metric, context, question, run))
        };
        columns.iter().map(cell).collect()
    };
    let cells: Vec<Vec<Option<HeatCell>>> = runs.iter().map(row).collect();
    let row_means_of = |includes: fn(&HeatCell) -> bool| -> Vec<Option<f64>> {
        let row_mean =
            |row: &Vec<Option<HeatCell>>| mean(row.iter().flatten().filter(|cell| includes(cell)));
        cells.iter().map(row_mean).collect()
    };
    let mut row_means = vec![("mean", row_means_of(|_| true))];
    let has_cross_lingual = cells.iter().flatten().flatten().any(|cell| !cell.same_language);
    if has_cross_lingual && cells.iter().flatten().flatten().any(|cell| cell.same_language) {
        row_means.push(("others", row_means_of(|cell| !cell.same_language)));
    }
    let shared_context = columns.first().filter(|_| has_cross_lingual);
    let description = match shared_context {
        Some((context, _)) => format!("{name}, {} context, question in", context.name()),
        None => format!("{name}, context and question in"),
    };
    HeatMap {
        name: name.to_lowercase(),
        title: format!("{description} the language of the column"),
        row_title: "run",
        column_title: "question",
        rows: runs.iter().map(|(run, _)| (*run).to_owned()).collect(),
        columns: columns.iter().map(|(_, question)| question.to_string()).collect(),
        row_means,
        column_means: None,
        mean: None,
        cells,
        range,
    }
}
