//! Comparison of methods that project a span into an existing translation.
use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use mlqa_eval::Language;
use qa_translate::{
    CandidateScoringConfig, Candidates, CodecConfig, PlaceError, Windows, word_ranges,
};
use results::{Table, bootstrap_means, percentile_interval};
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

/// The columns after the language columns.
const EXTRA_COLUMNS: [&str; 10] =
    ["all", "95 %", "found", "of found", "F1", "1 word", "2 or 3", "4 and more", "n", "skipped"];

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

    /// Creates a table with a row for each method. The columns are: exact spans by language; exact
    /// spans overall, with an interval; share of cases with a result; exact spans among these
    /// cases; F1; exact spans by number of words; number of evaluated cases; number of skipped
    /// cases.
    pub fn table(&self, languages: &[Language]) -> String {
        let columns = languages.iter().map(ToString::to_string);
        let columns = columns.chain(EXTRA_COLUMNS.map(str::to_owned));
        let mut table = Table::new("exact spans, %", columns).with_text_columns(&["95 %"]);
        let mut method_names: Vec<&str> = Vec::new();
        for outcome in &self.outcomes {
            if !method_names.contains(&outcome.method.as_str()) {
                method_names.push(&outcome.method);
            }
        }
        for method in method_names {
            let outcomes = self.outcomes.iter().filter(|o| o.method == method);
            let (skipped, scored): (Vec<&Outcome>, Vec<_>) = outcomes.partition(|o| o.skipped);
            let percent = |is_selected: &dyn Fn(&Outcome) -> bool, value: fn(&Outcome) -> f64| {
                let values = scored.iter().filter(|o| is_selected(o)).map(|o| value(o));
                format!("{:.1}", 100.0 * mean(values))
            };
            let (low, high) = bootstrap_interval(&scored);
            let cells = languages
                .iter()
                .map(|&language| percent(&|o| o.language == language, exactness))
                .chain([percent(&|_| true, exactness), format!("{low:.1} to {high:.1}")])
                .chain([
                    percent(&|_| true, |o| f64::from(u8::from(o.found))),
                    percent(&|o| o.found, exactness),
                    percent(&|_| true, |o| o.f1),
                    percent(&|o| o.words == 1, exactness),
                    percent(&|o| (2..4).contains(&o.words), exactness),
                    percent(&|o| o.words > 3, exactness),
                    scored.len().to_string(),
                    skipped.len().to_string(),
                ]);
            table.add_row(method, cells);
        }
        for (limit, shares) in &self.reachable {
            let by_language = languages.iter().filter_map(|code| shares.get(&code.to_string()));
            let shares: Vec<f64> = by_language.copied().collect();
            let cells = shares.iter().copied().chain([mean(shares.iter().copied())]);
            let empty = std::iter::repeat_n(String::new(), 9);
            let cells = cells.map(|value| format!("{value:.1}")).chain(empty);
            table.add_row(format!("gold spans within {limit}"), cells);
        }
        table.to_string()
    }
}

fn exactness(outcome: &Outcome) -> f64 {
    f64::from(u8::from(outcome.exact))
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) =
        values.into_iter().fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// Computes the bootstrap interval of the percentage of exact spans by resampling clusters.
/// Clusters have different numbers of cases, so the percentage is a ratio of two sums. The ratio is
/// linearised: the value of a cluster is the overall percentage plus the cluster's linear
/// contribution to the ratio.
fn bootstrap_interval(outcomes: &[&Outcome]) -> (f64, f64) {
    let share = mean(outcomes.iter().map(|o| exactness(o)));
    let mut clusters: BTreeMap<&str, f64> = BTreeMap::new();
    for outcome in outcomes {
        *clusters.entry(&outcome.cluster).or_default() += exactness(outcome) - share;
    }
    let scale = clusters.len() as f64 / outcomes.len().max(1) as f64;
    let values: Vec<f64> = clusters.values().map(|sum| 100.0 * (share + sum * scale)).collect();
    let (low, high) = percentile_interval(&bootstrap_means(&values, 2000, 1), 0.95);
    (low.max(0.0), high.min(100.0))
}

/// Returns whether the span consists of whole words, at most as many as CODEC supports.
fn is_span_of_words(text: &str, span: &Range<usize>) -> bool {
    let words = word_ranges(text);
    let first = words.iter().position(|word| word.start == span.start);
    let last = words.iter().position(|word| word.end == span.end);
    let max_words = CodecConfig::default().max_words;
    first.zip(last).is_some_and(|(first, last)| first <= last && last - first < max_words)
}
