#![doc = include_str!("../README.md")]

mod answers;
mod browser;
mod collect;
mod curves;
mod draw;
mod evidence;
mod finding;
mod groups;
mod heat;
mod input;
mod page;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
mod query_sets;
mod question_files;
mod report_tables;
mod setup;
mod svg;
mod table;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mlqa_eval::{Resampling, to_json_bytes, write_files};

use crate::collect::{ReportData, collect};
use crate::curves::Curve;
use crate::evidence::{Difference, RunMean};
use crate::groups::GroupMean;
use crate::heat::HeatMap;
pub use crate::input::ReportRun;
pub use crate::question_files::QuestionFiles;
use crate::setup::Setup;
use crate::svg::Svg;
use crate::table::Table;

/// Options of a report.
#[derive(Clone, Debug)]
pub struct ReportConfig {
    /// Title; if empty, the report has a default title with the languages of questions and texts.
    pub title: String,
    /// Options of the bootstrap.
    pub resampling: Resampling,
    /// Whether to score by SQuAD's English rules; `None` for the official rules of each data set
    /// (MLQA's by default).
    pub squad: Option<bool>,
    /// Maximum number of questions in the report; incorrectly answered questions take precedence.
    pub max_questions: usize,
    /// Keys of the questions, such as `type`. The report has a table for each key, with the scores of
    /// the questions with each value ([`mlqa_eval::squad::File::group_values`]). Runs with only scores
    /// are not in these tables.
    pub group_by: Vec<String>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            resampling: Resampling::default(),
            squad: None,
            max_questions: 2000,
            group_by: Vec::new(),
        }
    }
}

/// Additional output format for tables or figures. Numbers in CSV and JSON have full precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum ReportFormat {
    /// All tables in one Markdown file
    #[cfg_attr(feature = "cli", value(name = "md"))]
    Markdown,
    /// A file for each table
    Csv,
    /// All tables in one file
    Json,
    /// A file for each figure
    Svg,
}

/// Scores and comparisons of one or several runs. Every run is compared with the first run.
///
/// ```
/// use qa_report::{QuestionFiles, Report, ReportConfig, ReportRun};
///
/// let scorer = "../testkit/fixtures/matrix";
/// let files = QuestionFiles { data: Some(format!("{scorer}/data").into()), ..Default::default() };
/// let mut runs = ReportRun::find(format!("{scorer}/predictions"), &files)?;
/// runs.extend(ReportRun::find(format!("{scorer}/better"), &files)?);
/// let report = Report::of(&runs, &ReportConfig::default())?;
/// assert!(report.to_html().starts_with("<!doctype html>"));
/// assert!(report.to_markdown().contains("## Differences from predictions"));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
pub struct Report {
    title: String,
    resampling: Resampling,
    all: ReportData,
    means: Vec<RunMean>,
    differences: Vec<Difference>,
    groups: Vec<GroupMean>,
    heat_maps: Vec<HeatMap>,
    curves: Vec<Curve>,
    setup: Setup,
}

/// Appends numbers to repeated names, so that file names are unique.
fn make_unique<'a>(names: impl Iterator<Item = &'a mut String>) {
    let mut used_names = BTreeSet::new();
    for name in names {
        let (base_name, mut number) = (name.clone(), 1);
        while !used_names.insert(name.clone()) {
            number += 1;
            *name = format!("{base_name}-{number}");
        }
    }
}

impl Report {
    /// Scores and compares the runs.
    ///
    /// # Errors
    /// - [`mlqa_eval::Error`] if a file cannot be read.
    /// - [`mlqa_eval::Error::NoQuestions`] if a question file has no gold answers.
    /// - [`mlqa_eval::Error::Content`] if an answer file answers none of the questions, if two runs
    ///   have different questions for the same language pair, or if the seeds of a run have no
    ///   language pair in common.
    /// - [`mlqa_eval::Error::NothingFound`] if no run has scores.
    /// - The errors of [`mlqa_eval::squad::File::group_values`] for a key of
    ///   [`ReportConfig::group_by`].
    pub fn of(runs: &[ReportRun], config: &ReportConfig) -> Result<Self, mlqa_eval::Error> {
        let mut runs = runs.to_vec();
        make_unique(runs.iter_mut().map(|run| &mut run.name));
        runs.iter().try_for_each(query_sets::check_seeds)?;
        let all = collect(&runs, config)?;
        if all.pairs.is_empty() {
            let what = "runs with scores".to_owned();
            return Err(mlqa_eval::Error::NothingFound { what, path: PathBuf::new() });
        }
        let title =
            if config.title.is_empty() { finding::title(&all) } else { config.title.clone() };
        Ok(Self {
            title,
            resampling: config.resampling,
            means: evidence::run_means(&all, &config.resampling)?,
            differences: evidence::differences(&all, &config.resampling)?,
            groups: groups::group_means(&all, &config.resampling)?,
            heat_maps: all.sets().iter().flat_map(|set| heat::heat_maps(&all, set)).collect(),
            curves: curves::read(&runs)?,
            setup: setup::read(&runs, &all)?,
            all,
        })
    }

    /// Returns all tables: scores in the order of the page, then the setup.
    fn tables(&self) -> Vec<Table> {
        let resampling = &self.resampling;
        let mut tables = vec![report_tables::summary(&self.all, &self.means, resampling)];
        tables.extend(self.heat_maps.iter().map(HeatMap::table));
        tables.push(report_tables::scores(&self.all));
        tables.push(report_tables::differences(&self.all, &self.differences, resampling));
        tables.extend(groups::tables(&self.all, &self.groups, resampling));
        tables.push(report_tables::boundaries(&self.all));
        tables.extend(self.setup.tables().into_iter().cloned());
        tables.retain(|table| !table.rows.is_empty());
        make_unique(tables.iter_mut().map(|table| &mut table.name));
        tables
    }

    /// Returns all figures in the order of the page.
    fn drawings(&self) -> Vec<Svg> {
        let parts = [
            draw::run_means(self),
            self.heat_maps.iter().map(draw::heat_map).collect(),
            draw::differences(self),
            Vec::from_iter(draw::boundaries(&self.all)),
            self.curve_drawings(),
        ];
        let mut drawings: Vec<Svg> = parts.into_iter().flatten().collect();
        make_unique(drawings.iter_mut().map(|drawing| &mut drawing.name));
        drawings
    }

    fn curve_drawings(&self) -> Vec<Svg> {
        self.curves.iter().map(|curve| curves::draw(curve, &self.all)).collect()
    }

    /// Returns the report as one HTML file without external resources. The output is deterministic.
    pub fn to_html(&self) -> String {
        page::html(self)
    }

    /// Returns all tables as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n", text::escape_markdown(&self.title));
        for finding in self.findings() {
            out.push_str(&format!("\n{}\n", text::escape_markdown(&finding)));
        }
        for table in self.tables() {
            out.push('\n');
            out.push_str(&table.markdown());
        }
        out
    }

    /// Returns the summary table as Markdown: each run with its scores and intervals.
    pub fn summary(&self) -> String {
        report_tables::summary(&self.all, &self.means, &self.resampling).markdown()
    }

    /// Writes the report to `path` (`-` for standard output), and its tables and figures in the
    /// given formats next to it: `report.md`, `report.json`, `report-<table>.csv`,
    /// `report-<figure>.svg`. All files are written completely before the first one is renamed to
    /// its final name.
    ///
    /// # Errors
    /// [`mlqa_eval::Error::File`].
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        formats: &[ReportFormat],
    ) -> Result<(), mlqa_eval::Error> {
        let path = path.as_ref();
        let stem = path.file_stem().ok_or_else(|| {
            let source = std::io::ErrorKind::InvalidFilename.into();
            atomic_file::Error::new(path, "write")(source)
        })?;
        let stem = stem.to_string_lossy().into_owned();
        let sibling = |end: &str| path.with_file_name(format!("{stem}{end}"));
        let mut files = vec![(path.to_path_buf(), self.to_html().into_bytes())];
        for format in formats {
            match format {
                ReportFormat::Markdown => {
                    files.push((sibling(".md"), self.to_markdown().into_bytes()));
                }
                ReportFormat::Json => files.push((sibling(".json"), self.json(&sibling(".json"))?)),
                ReportFormat::Csv => {
                    for table in self.tables() {
                        let path = sibling(&format!("-{}.csv", table.name));
                        files.push((path.clone(), table.csv(&path)?));
                    }
                }
                ReportFormat::Svg => {
                    let drawings = self.drawings().into_iter();
                    files.extend(drawings.map(|drawing| {
                        let path = sibling(&format!("-{}.svg", drawing.name));
                        (path, drawing.file().into_bytes())
                    }));
                }
            }
        }
        write_files(&files)
    }

    fn json(&self, path: &Path) -> Result<Vec<u8>, mlqa_eval::Error> {
        let tables = self.tables().into_iter().map(|table| (table.name.clone(), table.json()));
        let tables: serde_json::Map<String, serde_json::Value> = tables.collect();
        let Resampling { samples, level, seed } = self.resampling;
        let resampling = serde_json::json!({ "samples": samples, "level": level, "seed": seed });
        let report = serde_json::json!({
            "title": self.title, "findings": self.findings(),
            "run": self.setup.json(), "resampling": resampling, "tables": tables
        });
        to_json_bytes(path, &report)
    }
}
