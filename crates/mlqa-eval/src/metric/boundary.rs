//! Boundary errors: the relation of predicted spans to gold spans.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use rayon::prelude::*;
use results::Table;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Dataset, Error, Language, NBest, Normalization, Predictions, Question, TableLanguage,
};

/// The relation of a predicted span to a gold span of the same context, ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundaryClass {
    /// The same span.
    Exact,
    /// A proper superset of the gold span.
    Superset,
    /// A proper subset of the gold span.
    Subset,
    /// A span that contains only a part of the gold span and also text outside the gold span.
    Overlap,
    /// No overlap with the gold span.
    Disjoint,
}

impl BoundaryClass {
    /// All classes, best first.
    pub const ALL: [Self; 5] =
        [Self::Exact, Self::Superset, Self::Subset, Self::Overlap, Self::Disjoint];

    /// Returns the name used in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Superset => "superset",
            Self::Subset => "subset",
            Self::Overlap => "overlap",
            Self::Disjoint => "disjoint",
        }
    }
}

/// Numbers of questions by the boundary class of the prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryCounts {
    /// Predictions that are [`BoundaryClass::Exact`].
    pub exact: usize,
    /// Predictions that are [`BoundaryClass::Superset`].
    pub superset: usize,
    /// Predictions that are [`BoundaryClass::Subset`].
    pub subset: usize,
    /// Predictions that are [`BoundaryClass::Overlap`].
    pub overlap: usize,
    /// Predictions that are [`BoundaryClass::Disjoint`].
    pub disjoint: usize,
    /// Questions without a prediction or with an empty prediction.
    pub unanswered: usize,
    /// Predictions that equal a gold answer after normalisation but are at another position of the
    /// context. Exact match counts these predictions as correct.
    pub elsewhere: usize,
}

impl BoundaryCounts {
    /// Counts the pairs returned by [`classify_boundaries`].
    pub fn of(classes: &[(Option<BoundaryClass>, bool)]) -> Self {
        let mut counts = Self::default();
        for (class, elsewhere) in classes {
            *counts.count_mut(*class) += 1;
            counts.elsewhere += usize::from(*elsewhere);
        }
        counts
    }

    /// Returns the number of questions.
    pub fn questions(&self) -> usize {
        BoundaryClass::ALL.iter().map(|class| self.count(*class)).sum::<usize>() + self.unanswered
    }

    /// Returns the number of predictions of a class.
    pub fn count(&self, class: BoundaryClass) -> usize {
        let mut counts = *self;
        *counts.count_mut(Some(class))
    }

    /// Returns the percentage of questions whose prediction has this class; 0 if there are no
    /// questions.
    pub fn percentage(&self, class: BoundaryClass) -> f64 {
        self.percent_of_questions(self.count(class))
    }

    /// Returns the sum of two counts.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            exact: self.exact + other.exact,
            superset: self.superset + other.superset,
            subset: self.subset + other.subset,
            overlap: self.overlap + other.overlap,
            disjoint: self.disjoint + other.disjoint,
            unanswered: self.unanswered + other.unanswered,
            elsewhere: self.elsewhere + other.elsewhere,
        }
    }

    fn percent_of_questions(&self, count: usize) -> f64 {
        100.0 * count as f64 / self.questions().max(1) as f64
    }

    fn count_mut(&mut self, class: Option<BoundaryClass>) -> &mut usize {
        match class {
            Some(BoundaryClass::Exact) => &mut self.exact,
            Some(BoundaryClass::Superset) => &mut self.superset,
            Some(BoundaryClass::Subset) => &mut self.subset,
            Some(BoundaryClass::Overlap) => &mut self.overlap,
            Some(BoundaryClass::Disjoint) => &mut self.disjoint,
            None => &mut self.unanswered,
        }
    }
}

/// Classifies the span `predicted` by its relation to `gold`; both are in code points of the
/// context.
fn classify_span(predicted: &Range<usize>, gold: &Range<usize>) -> BoundaryClass {
    if predicted == gold {
        BoundaryClass::Exact
    } else if predicted.start <= gold.start && predicted.end >= gold.end {
        BoundaryClass::Superset
    } else if predicted.start >= gold.start && predicted.end <= gold.end {
        BoundaryClass::Subset
    } else if predicted.start < gold.end && predicted.end > gold.start {
        BoundaryClass::Overlap
    } else {
        BoundaryClass::Disjoint
    }
}

/// Shortens a span at both ends by the text that normalisation deletes. The span is first limited
/// to the text, because the answer `empty` of `run_qa` can be longer than the text.
fn strip_deleted(text: &[char], span: Range<usize>, rules: Normalization) -> Range<usize> {
    let end = span.end.min(text.len());
    let span = span.start.min(end)..end;
    let content = rules.content_range(&text[span.clone()]);
    match content.is_empty() {
        true => span,
        false => span.start + content.start..span.start + content.end,
    }
}

/// Counts predictions by boundary class. The prediction for a question is the first candidate of
/// its n-best list.
///
/// Interpretation: *From Good to Best* counts boundary errors without defining the classes. Here,
/// spans are compared by position. Before the comparison, the text that `rules` delete is stripped
/// from both ends of each span: white space, punctuation, and articles that are separate words (in
/// Arabic, "ال" at either end). A span that would become empty is not stripped. `Exact` spans
/// are therefore equal after normalisation.
///
/// With several gold answers, the best class in the order of [`BoundaryClass`] counts. A question
/// is `unanswered` if its n-best list is missing or empty, if [`NBest::null`] is true, or if the
/// text of the first candidate is empty.
///
/// # Errors
/// [`Error::NoQuestions`]; [`Error::NoGold`] if an answered question has no gold answer;
/// [`Error::AnswerMismatch`] if a gold answer of such a question is outside the context.
pub fn count_boundaries(
    dataset: &Dataset,
    n_best: &[NBest],
    rules: Normalization,
) -> Result<BoundaryCounts, Error> {
    let lists: HashMap<&str, &NBest> = n_best.iter().map(|one| (one.id.as_str(), one)).collect();
    let classes = classify(dataset, rules, |question| {
        let list = lists.get(question.id.as_str()).filter(|list| !list.null)?;
        let best = list.candidates.first()?;
        Some((best.text.as_str(), vec![best.answer_start]))
    })?;
    Ok(BoundaryCounts::of(&classes))
}

/// Returns the boundary class of the prediction for each question, in file order; `None` for
/// unanswered questions. `predictions` are texts, so their positions are searched in the contexts.
///
/// The second value of each pair is true if the class is not `Exact`, but the text equals a gold
/// answer after normalisation. [`BoundaryCounts::of`] counts the returned pairs.
///
/// Interpretation: for a text that occurs several times in its context, the occurrence with the
/// best class counts; a text that does not occur is `Disjoint`.
///
/// # Errors
/// The errors of [`count_boundaries`].
pub fn classify_boundaries(
    dataset: &Dataset,
    predictions: &Predictions,
    rules: Normalization,
) -> Result<Vec<(Option<BoundaryClass>, bool)>, Error> {
    classify(dataset, rules, |question| {
        let text = predictions.get(&question.id)?;
        Some((text, find_occurrences(&question.context, text)))
    })
}

/// Returns the start of each occurrence of `text` in `context`, in code points; occurrences may
/// overlap.
fn find_occurrences(context: &str, text: &str) -> Vec<usize> {
    let positions = context.char_indices().enumerate();
    positions
        .filter(|(_, (byte, _))| context[*byte..].starts_with(text))
        .map(|(start, _)| start)
        .collect()
}

/// Returns the classes of all questions like [`classify_boundaries`]. `text_and_starts` returns the
/// answer to a question and the code points of the context at which the answer may start; `None`
/// for unanswered questions.
fn classify<'a>(
    dataset: &'a Dataset,
    rules: Normalization,
    text_and_starts: impl Fn(&'a Question) -> Option<(&'a str, Vec<usize>)> + Sync,
) -> Result<Vec<(Option<BoundaryClass>, bool)>, Error> {
    dataset.require_questions()?;
    dataset
        .questions
        .par_iter()
        .map(|question| {
            let Some((text, starts)) =
                text_and_starts(question).filter(|(text, _)| !text.is_empty())
            else {
                return Ok((None, false));
            };
            if question.answers.is_empty() {
                return Err(dataset.no_gold_error(question));
            }
            let context: Vec<char> = question.context.chars().collect();
            let gold_ends = question.answers.iter().filter_map(Answer::span);
            if gold_ends.map(|span| span.end).max().is_some_and(|end| end > context.len()) {
                question.check_answers(&dataset.path)?;
            }
            let span = |start: usize, text: &str| {
                strip_deleted(&context, start..start.saturating_add(text.chars().count()), rules)
            };
            // An answer without an offset may be at each occurrence of its text.
            let gold_starts = |answer: &Answer| match answer.answer_start {
                Some(start) => vec![start],
                None if answer.text.is_empty() => Vec::new(),
                None => find_occurrences(&question.context, &answer.text),
            };
            let gold_spans = question.answers.iter().flat_map(|answer| {
                gold_starts(answer).into_iter().map(|start| span(start, &answer.text))
            });
            let gold: Vec<Range<usize>> = gold_spans.collect();
            let class = starts
                .iter()
                .flat_map(|start| {
                    let predicted = span(*start, text);
                    gold.iter().map(move |gold| classify_span(&predicted, gold))
                })
                .min()
                .unwrap_or(BoundaryClass::Disjoint); // no occurrence, or no gold span
            let tokens = rules.tokens(text);
            let equals_gold = question.answers.iter().any(|one| rules.tokens(&one.text) == tokens);
            Ok((Some(class), equals_gold && class != BoundaryClass::Exact))
        })
        .collect()
}

/// Formats a Markdown table of the boundary classes of several runs.
///
/// Each language has a row per run with the counts and percentages of the five classes. The last
/// rows have the sums over languages. A run without scores in a language has no row for this
/// language.
pub(crate) fn format_boundary_table(runs: &[(&str, BTreeMap<Language, BoundaryCounts>)]) -> String {
    let classes = BoundaryClass::ALL.iter().map(|class| class.name());
    let columns = ["run", "questions"].into_iter().chain(classes).chain(["right words elsewhere"]);
    let mut table = Table::new("language", columns).with_text_columns(&["run"]);
    let mut add_row = |language: &str, run: &str, counts: &BoundaryCounts| {
        let count_and_share = |count: usize, share: f64| format!("{count} ({share:.1})");
        let class_cell =
            |&class: &BoundaryClass| count_and_share(counts.count(class), counts.percentage(class));
        let classes = BoundaryClass::ALL.iter().map(class_cell);
        let elsewhere =
            count_and_share(counts.elsewhere, counts.percent_of_questions(counts.elsewhere));
        let first_cells = [run.to_owned(), counts.questions().to_string()];
        table.add_row(language, first_cells.into_iter().chain(classes).chain([elsewhere]));
    };
    let languages: BTreeSet<TableLanguage> =
        runs.iter().flat_map(|(_, counts)| counts.keys().copied().map(TableLanguage)).collect();
    for TableLanguage(language) in languages {
        for (run, counts) in runs {
            if let Some(counts) = counts.get(&language) {
                add_row(language.as_str(), run, counts);
            }
        }
    }
    for (run, counts) in runs {
        let all = counts.values().fold(BoundaryCounts::default(), |sum, counts| sum.plus(counts));
        add_row("all", run, &all);
    }
    table.to_string()
}
