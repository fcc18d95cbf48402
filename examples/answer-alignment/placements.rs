//! Comparison of methods that project a span into an existing translation.
use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use mlqa_eval::Language;
use qa_translate::{
    CandidateScoringConfig, Candidates, CodecConfig, PlaceError, Windows, word_ranges,
};
use results::{MISSING, Measured, Table, bootstrap_weighted_means, percentile_interval};
use serde::Serialize;

use crate::cases::Case;
use crate::methods::{self, Methods};

/// The result of a method on a case.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    #[serde(rename = "way")]
    method: String,
    language: Language,
    cluster: String,
    /// Number of words of the English span.
    words: usize,
    /// Whether the texts are too long for the method. Such an outcome is not counted.
    #[serde(rename = "left_out")]
    skipped: bool,
    found: bool,
    exact: bool,
    /// F1 of the span, from 0 to 1.
    f1: f64,
}

/// The columns of the table over all languages.
const DETAIL_COLUMNS: [&str; 7] =
    ["found", "exact of found", "1 word", "2 or 3 words", "4 and more", "n", "skipped"];

/// A score of an outcome, from 0 to 1, with the heading of its table and its name in
/// `numbers.jsonl`.
struct Metric {
    heading: &'static str,
    name: &'static str,
    value: fn(&Outcome) -> f64,
}

const METRICS: [Metric; 2] = [
    Metric { heading: "exact spans, %", name: "em", value: exactness },
    Metric { heading: "F1, %", name: "f1", value: |outcome| outcome.f1 },
];

/// Outcomes of all methods on all cases, and the percentages of gold spans that the methods can
/// find.
#[derive(Default, Serialize)]
pub struct Placements {
    outcomes: Vec<Outcome>,
    /// Percentage of gold spans among the candidates, by the limit that defines the candidates and
    /// by language.
    reachable: BTreeMap<&'static str, BTreeMap<String, f64>>,
}

impl Placements {
    /// Evaluates every method on the cases of a language.
    ///
    /// # Errors
    /// If a text cannot be encoded, or `f1` fails.
    pub fn evaluate(
        &mut self,
        methods: &Methods<'_>,
        cases: &[Case],
        language: Language,
        f1: impl Fn(&Case, &Range<usize>) -> Result<f64>,
    ) -> Result<()> {
        let (mut n_codec, mut n_windows) = (0, 0);
        for case in cases {
            let task = &case.task;
            n_codec += usize::from(is_span_of_words(&task.target, &case.gold));
            let candidates = Windows.candidates(task)?;
            let mut selected =
                candidates.iter().take(CandidateScoringConfig::default().max_candidates);
            n_windows += usize::from(selected.any(|span| *span == case.gold));
            for (method, mut placer) in methods.for_case(case)? {
                let placed = methods::place_one(placer.as_mut(), task)?;
                let skipped = placed == Err(PlaceError::TooLong);
                let span = placed.ok().map(|placed| placed.span);
                self.outcomes.push(Outcome {
                    method,
                    language,
                    cluster: case.cluster.clone(),
                    words: word_ranges(&task.text()?).len(),
                    skipped,
                    found: span.is_some(),
                    exact: span.as_ref() == Some(&case.gold),
                    f1: span.map_or(Ok(0.0), |span| f1(case, &span))?,
                });
            }
        }
        let percent = |count: usize| 100.0 * count as f64 / cases.len().max(1) as f64;
        for (limit, count) in [("words up to 16", n_codec), ("30 candidates", n_windows)] {
            self.reachable.entry(limit).or_default().insert(language.to_string(), percent(count));
        }
        Ok(())
    }

    /// Returns the titles of the methods, in order.
    fn methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for outcome in &self.outcomes {
            if !names.contains(&outcome.method.as_str()) {
                names.push(&outcome.method);
            }
        }
        names
    }

    /// Returns the evaluated outcomes of a method in a language, or in all languages.
    fn evaluated(&self, method: &str, language: Option<Language>) -> Vec<&Outcome> {
        let is_selected = |outcome: &&Outcome| {
            outcome.method == method
                && !outcome.skipped
                && language.is_none_or(|language| outcome.language == language)
        };
        self.outcomes.iter().filter(is_selected).collect()
    }

    /// Creates the tables, with a row for each method: exact spans and F1 by language and over all
    /// languages, with intervals; and over all languages, the share of cases with a result, exact
    /// spans among these cases and by number of words, and the numbers of evaluated and skipped
    /// cases.
    pub fn tables(&self, languages: &[Language]) -> String {
        let columns = || languages.iter().map(|&language| Some(language)).chain([None]);
        let names = languages.iter().map(ToString::to_string).chain(["all".to_owned()]);
        let names: Vec<String> = names.collect();
        let mut text = String::new();
        for metric in &METRICS {
            let mut table = Table::new(metric.heading, &names);
            for method in self.methods() {
                let cell = |language| {
                    let outcomes = self.evaluated(method, language);
                    if outcomes.is_empty() {
                        return MISSING.to_owned();
                    }
                    let articles = by_article(&outcomes, metric.value);
                    let samples = bootstrap_weighted_means(&articles, 2000, 1);
                    let (low, high) = percentile_interval(&samples, 0.95);
                    let percent = 100.0 * mean(outcomes.iter().map(|o| (metric.value)(o)));
                    format!("{percent:.1} ({low:.1} to {high:.1})")
                };
                table.add_row(method, columns().map(cell));
            }
            if metric.name == "em" {
                self.add_reachable(&mut table, languages);
            }
            text.push_str(&format!("{table}\n"));
        }
        let mut table = Table::new("all languages, %", DETAIL_COLUMNS);
        for method in self.methods() {
            let scored = self.evaluated(method, None);
            let percent = |is_selected: &dyn Fn(&Outcome) -> bool, value: fn(&Outcome) -> f64| {
                let values = scored.iter().filter(|o| is_selected(o)).map(|o| value(o));
                format!("{:.1}", 100.0 * mean(values))
            };
            let count = self.outcomes.iter().filter(|o| o.method == method).count();
            table.add_row(
                method,
                [
                    percent(&|_| true, |o| f64::from(u8::from(o.found))),
                    percent(&|o| o.found, exactness),
                    percent(&|o| o.words == 1, exactness),
                    percent(&|o| (2..4).contains(&o.words), exactness),
                    percent(&|o| o.words > 3, exactness),
                    scored.len().to_string(),
                    (count - scored.len()).to_string(),
                ],
            );
        }
        text + &table.to_string()
    }

    /// Adds rows with the percentages of gold spans that methods with a limit can find.
    fn add_reachable(&self, table: &mut Table, languages: &[Language]) {
        for (limit, shares) in &self.reachable {
            let by_language = languages.iter().filter_map(|code| shares.get(&code.to_string()));
            let shares: Vec<f64> = by_language.copied().collect();
            let cells = shares.iter().copied().chain([mean(shares.iter().copied())]);
            table.add_row(
                format!("gold spans within {limit}"),
                cells.map(|value| format!("{value:.1}")),
            );
        }
    }

    /// Returns the scores of all methods by language and over all languages, with an item for each
    /// article.
    pub fn numbers(&self, languages: &[Language]) -> Vec<Measured> {
        let columns = languages.iter().map(|&language| Some(language)).chain([None]);
        let columns: Vec<Option<Language>> = columns.collect();
        let mut numbers = Vec::new();
        for method in self.methods() {
            for (&language, metric) in
                columns.iter().flat_map(|l| METRICS.iter().map(move |m| (l, m)))
            {
                let outcomes = self.evaluated(method, language);
                if outcomes.is_empty() {
                    continue;
                }
                let name = language.map_or_else(|| "avg".to_owned(), |code| code.to_string());
                let value = 100.0 * mean(outcomes.iter().map(|o| (metric.value)(o)));
                let number = Measured::new(method, "XQuAD", &name, metric.name, value);
                numbers.push(number.with_items(by_article(&outcomes, metric.value)));
            }
        }
        numbers
    }
}

/// Returns the mean score of each article in percent, and its number of cases.
fn by_article(outcomes: &[&Outcome], value: fn(&Outcome) -> f64) -> Vec<(f64, f64)> {
    let mut articles: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for outcome in outcomes {
        articles.entry(&outcome.cluster).or_default().push(value(outcome));
    }
    let rounded = |percent: f64| (percent * 100.0).round() / 100.0;
    let articles = articles.into_values();
    articles
        .map(|values| (rounded(100.0 * mean(values.iter().copied())), values.len() as f64))
        .collect()
}

fn exactness(outcome: &Outcome) -> f64 {
    f64::from(u8::from(outcome.exact))
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// Returns whether the span consists of whole words, at most as many as CODEC supports.
fn is_span_of_words(text: &str, span: &Range<usize>) -> bool {
    let words = word_ranges(text);
    let first = words.iter().position(|word| word.start == span.start);
    let last = words.iter().position(|word| word.end == span.end);
    let max_words = CodecConfig::default().max_words;
    first.zip(last).is_some_and(|(first, last)| first <= last && last - first < max_words)
}
