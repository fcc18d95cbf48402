//! The table, and the summary that a program can read.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use mlqa_eval::{Language, TableOrder};
use results::{Spread, Table};
use serde::Serialize;
use tasks::alignment::AlignmentConfig;

/// Ways to find an answer, in the order of the table.
const METHODS: [(&str, &str); 5] = [
    ("projection", "projection"),
    ("english_unique", "English answer, once in the passage"),
    ("english_nearest", "English answer, nearest occurrence"),
    ("gold_unique", "gold answer, once in the passage"),
    ("gold_nearest", "gold answer, nearest occurrence"),
];

/// One method in one language, in percent of all questions.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    pub questions: usize,
    pub found: f64,
    pub exact_span: f64,
    pub exact_match: f64,
    pub f1: f64,
}

/// What `summary.json` holds.
#[derive(Serialize)]
pub struct Summary<'a> {
    /// With U+FFFD for what is not UTF-8.
    model: Cow<'a, str>,
    config: &'a AlignmentConfig,
    /// By language and method.
    languages: BTreeMap<TableOrder, BTreeMap<&'static str, Scores>>,
}

impl<'a> Summary<'a> {
    /// A summary without languages.
    pub fn new(model: &'a Path, config: &'a AlignmentConfig) -> Self {
        Self { model: model.to_string_lossy(), config, languages: BTreeMap::new() }
    }

    /// Adds a language's scores by method.
    pub fn add(&mut self, language: Language, scores: BTreeMap<&'static str, Scores>) {
        self.languages.insert(TableOrder(language), scores);
    }

    /// A row for each method: exact spans and F1 by language, and their means.
    pub fn table(&self, languages: &[Language]) -> String {
        let columns = languages.iter().map(ToString::to_string).chain(["mean".to_owned()]);
        let mut table = Table::new("exact span / F1", columns);
        for (method, title) in METHODS {
            let of_language = |language: &Language| {
                self.languages.get(&TableOrder(*language)).and_then(|all| all.get(method))
            };
            let scores: Vec<&Scores> = languages.iter().filter_map(of_language).collect();
            let mean =
                |value: fn(&Scores) -> f64| Spread::of(scores.iter().map(|one| value(one))).mean;
            let cell = |exact: f64, f1: f64| format!("{exact:.1} / {f1:.1}");
            let cells = scores.iter().map(|one| cell(one.exact_span, one.f1));
            let mean = cell(mean(|one| one.exact_span), mean(|one| one.f1));
            table.row(title, cells.chain([mean]));
        }
        table.to_string()
    }
}
