#![doc = include_str!("../README.md")]

mod about;
mod answers;
mod asked;
mod browser;
mod collect;
mod curves;
mod date;
mod draw;
mod effects;
mod evidence;
mod finding;
mod heat;
mod input;
mod others;
mod page;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod program;
mod question_files;
mod samples;
mod svg;
mod table;
mod tables;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mlqa_eval::{Language, Resampling, json_bytes, write_together};

use crate::about::About;
use crate::collect::{Collected, collect};
use crate::curves::Curve;
use crate::effects::Effect;
use crate::evidence::{Difference, RunMean};
use crate::heat::HeatMap;
pub use crate::input::ReportRun;
pub use crate::question_files::QuestionFiles;
use crate::svg::Svg;
use crate::table::Table;
pub use crate::tables::CoveredTokens;

/// What a report shows.
#[derive(Clone, Debug)]
pub struct ReportConfig {
    /// At the top of the page; empty: what the questions and texts are.
    pub title: String,
    /// The day of the runs; `None`: the newest day on which a file of predictions was written.
    pub date: Option<String>,
    /// How questions are resampled.
    pub resampling: Resampling,
    /// Whether SQuAD's English rules count; `None`: those that each set prescribes, MLQA's where
    /// none says otherwise.
    pub squad: Option<bool>,
    /// Most questions in the page; those that a run has wrong come first.
    pub examples: usize,
    /// By language of the question, what `mlqa-eval coverage` printed.
    pub coverage: BTreeMap<Language, CoveredTokens>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            date: None,
            resampling: Resampling::default(),
            squad: None,
            examples: 2000,
            coverage: BTreeMap::new(),
        }
    }
}

/// A form in which the tables, or the drawings, of a report are written beside it. Numbers in CSV
/// and JSON have all digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum ReportForm {
    /// All tables in one Markdown file
    #[cfg_attr(feature = "cli", value(name = "md"))]
    Markdown,
    /// A file for each table
    Csv,
    /// All tables in one file
    Json,
    /// A file for each drawing
    Svg,
}

/// Everything about one or several runs, scored and compared. The first run is the one that the
/// others are compared with.
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
    date: Option<String>,
    resampling: Resampling,
    all: Collected,
    means: Vec<RunMean>,
    differences: Vec<Difference>,
    effects: Vec<Effect>,
    heat_maps: Vec<HeatMap>,
    coverage: BTreeMap<Language, CoveredTokens>,
    curves: Vec<Curve>,
    about: About,
}

/// Numbers names that occur before, so that none replaces another's file.
fn make_unique<'a>(names: impl Iterator<Item = &'a mut String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let (first, mut number) = (name.clone(), 1);
        while !seen.insert(name.clone()) {
            number += 1;
            *name = format!("{first}-{number}");
        }
    }
}

impl Report {
    /// Scores and compares the runs.
    ///
    /// # Errors
    /// Of files that cannot be read; [`mlqa_eval::Error::NoQuestions`] for a question file
    /// without gold answers; [`mlqa_eval::Error::Content`] if two runs answer different questions;
    /// [`mlqa_eval::Error::NothingFound`] without runs.
    pub fn of(runs: &[ReportRun], config: &ReportConfig) -> Result<Self, mlqa_eval::Error> {
        let mut runs = runs.to_vec();
        make_unique(runs.iter_mut().map(|run| &mut run.name));
        runs.iter().try_for_each(asked::check_seeds)?;
        asked::align_sets(&mut runs)?;
        let all = collect(&runs, config)?;
        if all.pairs.is_empty() {
            let what = "runs with scores".to_owned();
            return Err(mlqa_eval::Error::NothingFound { what, path: PathBuf::new() });
        }
        let answers = || runs.iter().flat_map(|run| run.seeds.iter().flatten());
        let newest = || date::newest(answers().map(|file| file.predictions.as_path()));
        let title =
            if config.title.is_empty() { finding::title(&all) } else { config.title.clone() };
        Ok(Self {
            title,
            date: config.date.clone().or_else(newest),
            resampling: config.resampling,
            means: evidence::run_means(&all, &config.resampling)?,
            differences: evidence::differences(&all, &config.resampling)?,
            effects: if all.rows.is_empty() { vec![] } else { effects::effects(&all) },
            heat_maps: all.sets().iter().flat_map(|set| heat::heat_maps(&all, set)).collect(),
            coverage: config.coverage.clone(),
            curves: curves::read(&runs)?,
            about: about::read(&runs, &all)?,
            all,
        })
    }

    /// All tables: scores in the order of the page, then what was run.
    fn tables(&self) -> Vec<Table> {
        let of = &self.resampling;
        let mut tables = vec![tables::summary(&self.all, &self.means, of)];
        tables.extend(self.heat_maps.iter().map(HeatMap::table));
        tables.push(tables::scores(&self.all));
        tables.push(tables::differences(&self.all, &self.differences, of));
        tables.push(tables::answer_types(&self.all));
        tables.push(tables::boundaries(&self.all));
        tables.push(tables::effects(&self.all, &self.effects));
        tables.push(tables::coverage(&self.all, &self.coverage));
        tables.extend(self.about.tables().into_iter().cloned());
        tables.retain(|table| !table.rows.is_empty());
        make_unique(tables.iter_mut().map(|table| &mut table.name));
        tables
    }

    /// All drawings, in the order of the page.
    fn drawings(&self) -> Vec<Svg> {
        let parts = [
            draw::run_means(self),
            self.heat_maps.iter().map(draw::heat_map).collect(),
            draw::differences(self),
            Vec::from_iter(draw::boundaries(&self.all)),
            self.effect_drawings(),
            Vec::from_iter(draw::coverage(self)),
            self.curve_drawings(),
        ];
        let mut drawings: Vec<Svg> = parts.into_iter().flatten().collect();
        make_unique(drawings.iter_mut().map(|drawing| &mut drawing.name));
        drawings
    }

    fn effect_drawings(&self) -> Vec<Svg> {
        self.effects.iter().map(|effect| draw::effect(effect, &self.all)).collect()
    }

    fn curve_drawings(&self) -> Vec<Svg> {
        self.curves.iter().map(|curve| curves::draw(curve, &self.all)).collect()
    }

    /// What to know about the files that were read, such as which of several was taken.
    pub fn notes(&self) -> &[String] {
        &self.about.notes
    }

    /// The page: one file that needs nothing else, readable in light and dark and on a phone. The
    /// same runs give the same bytes.
    pub fn to_html(&self) -> String {
        page::html(self)
    }

    /// All tables as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n", text::markdown(&self.title));
        if let Some(date) = &self.date {
            out.push_str(&format!("\n{}\n", text::markdown(date)));
        }
        for finding in self.findings() {
            out.push_str(&format!("\n{}\n", text::markdown(&finding)));
        }
        for table in self.tables() {
            out.push('\n');
            out.push_str(&table.markdown());
        }
        out
    }

    /// The first table, as Markdown: every run with its scores and intervals.
    pub fn summary(&self) -> String {
        tables::summary(&self.all, &self.means, &self.resampling).markdown()
    }

    /// Writes the page to `path` (`-`: standard output), and beside it the tables and drawings in
    /// these forms, named after it: `report.md`, `report.json`, `report-<table>.csv`,
    /// `report-<drawing>.svg`. All are complete before the first gets its name.
    ///
    /// # Errors
    /// [`mlqa_eval::Error::Write`].
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        beside: &[ReportForm],
    ) -> Result<(), mlqa_eval::Error> {
        let path = path.as_ref();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let named = |end: &str| path.with_file_name(format!("{stem}{end}"));
        let mut files = vec![(path.to_path_buf(), self.to_html().into_bytes())];
        for form in beside {
            match form {
                ReportForm::Markdown => {
                    files.push((named(".md"), self.to_markdown().into_bytes()));
                }
                ReportForm::Json => files.push((named(".json"), self.json(&named(".json"))?)),
                ReportForm::Csv => {
                    for table in self.tables() {
                        let path = named(&format!("-{}.csv", table.name));
                        files.push((path.clone(), table.csv(&path)?));
                    }
                }
                ReportForm::Svg => {
                    let drawings = self.drawings().into_iter();
                    files.extend(drawings.map(|drawing| {
                        let path = named(&format!("-{}.svg", drawing.name));
                        (path, drawing.file().into_bytes())
                    }));
                }
            }
        }
        write_together(&files)
    }

    fn json(&self, path: &Path) -> Result<Vec<u8>, mlqa_eval::Error> {
        let tables = self.tables().into_iter().map(|table| (table.name.clone(), table.json()));
        let tables: serde_json::Map<String, serde_json::Value> = tables.collect();
        let Resampling { samples, level, seed } = self.resampling;
        let resampling = serde_json::json!({ "samples": samples, "level": level, "seed": seed });
        let report = serde_json::json!({
            "title": self.title, "date": self.date, "findings": self.findings(),
            "run": self.about.json(), "resampling": resampling, "tables": tables
        });
        json_bytes(path, &report)
    }
}
