//! Precision-recall curve of extractions.
use std::collections::HashMap;

use serde::Serialize;

use super::matching::{Match, match_extractions};
use super::{OieExtraction, OieSentence};
use crate::{Error, Result};

/// Scores of extractions, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OieScore {
    /// Greatest F1 of the curve.
    pub f1: f64,
    /// Precision at the greatest F1.
    pub precision: f64,
    /// Recall at the greatest F1.
    pub recall: f64,
    /// The confidence from which on predictions are used at the greatest F1; `None` if F1 is
    /// undefined at every confidence.
    pub confidence: Option<f64>,
    /// Area under the curve by the trapezoidal rule, as in CaRB's scorer.
    pub auc: f64,
    /// Area under the curve with one point for each recall, that of the greatest confidence, as in
    /// the scorers of Multi²OIE and MT4CrossOIE.
    pub auc_distinct_recall: f64,
    /// Number of gold sentences.
    pub sentences: usize,
    /// Number of gold extractions.
    pub gold: usize,
    /// Number of predicted extractions of gold sentences.
    pub predicted: usize,
    /// Number of predicted sentences that are not gold sentences. They are not scored.
    pub unknown_sentences: usize,
    /// The curve by ascending confidence.
    #[serde(skip)]
    pub curve: Vec<OieCurvePoint>,
}

/// Scores of the predictions with at least this confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OieCurvePoint {
    /// The confidence.
    pub confidence: f64,
    /// Mean precision of the predictions; 1 without a prediction.
    pub precision: f64,
    /// Mean recall of the gold extractions.
    pub recall: f64,
}

/// Scores predicted extractions as CaRB's scorer with its default options (Bhardwaj et al. 2019).
///
/// Sentences are compared without spaces, punctuation and escapes of brackets (`-LRB-`); if two
/// sentences are then equal, the later one replaces the earlier one. At each confidence, a gold
/// extraction has the recall of its best prediction, and each prediction has the precision of the
/// gold extraction to which it is assigned one to one, greedily by precision.
///
/// ```
/// use transfer_eval::oie::{OieExtraction, OieSentence, score_oie};
///
/// let sentence = |arguments: &[&str]| OieSentence {
///     text: "Ada wrote the first program .".into(),
///     extractions: vec![OieExtraction {
///         predicate: "wrote".into(),
///         arguments: arguments.iter().map(|&argument| argument.into()).collect(),
///         confidence: 1.0,
///     }],
/// };
/// let score = score_oie(&[sentence(&["Ada", "the first program"])], &[sentence(&["Ada", "program"])])?;
/// assert_eq!((score.precision, score.recall), (1.0, 0.6));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Nothing`] without a gold extraction; [`Error::Mismatch`] if there are predictions, but
/// none of a gold sentence.
pub fn score_oie(gold: &[OieSentence], predicted: &[OieSentence]) -> Result<OieScore> {
    let gold = Normalized::of(gold);
    let predicted = Normalized::of(predicted);
    let gold_count = gold.list.iter().map(|(_, extractions)| extractions.len()).sum();
    if gold_count == 0 {
        return Err(Error::Nothing { what: "gold extraction" });
    }
    let is_unknown = |(key, _): &&(String, &[OieExtraction])| !gold.indices.contains_key(key);
    let unknown_sentences = predicted.list.iter().filter(is_unknown).count();
    if let Some((key, _)) = predicted.list.first()
        && unknown_sentences == predicted.list.len()
    {
        let message =
            format!("`{key}`, without spaces and punctuation, and no other is in the gold file");
        return Err(Error::mismatch("predicted sentence", 0, None, message));
    }
    let mut curve = Sums::new(&predicted);
    let mut predicted_count = 0;
    for (key, gold_extractions) in &gold.list {
        let extractions = predicted.get(key);
        predicted_count += extractions.len();
        curve.add_sentence(gold_extractions, extractions);
    }
    let curve = curve.points();
    let f1 = |point: &OieCurvePoint| {
        let OieCurvePoint { precision, recall, .. } = point;
        2.0 * precision * recall / (precision + recall)
    };
    // The first of equal values; values that are undefined because both parts are 0 are skipped.
    let scored = curve.iter().map(|point| (f1(point), *point)).filter(|(f1, _)| !f1.is_nan());
    let best = scored.reduce(|best, other| if other.0 > best.0 { other } else { best });
    let (f1, precision, recall, confidence) = match best {
        Some((f1, point)) => (f1, point.precision, point.recall, Some(point.confidence)),
        None => (0.0, 0.0, 0.0, None),
    };
    Ok(OieScore {
        f1,
        precision,
        recall,
        confidence,
        auc: area(curve.iter()),
        auc_distinct_recall: area(last_of_equal_recall(&curve).into_iter()),
        sentences: gold.list.len(),
        gold: gold_count,
        predicted: predicted_count,
        unknown_sentences,
        curve,
    })
}

/// Selects the point of the greatest confidence for each recall. Recall does not increase with
/// confidence.
fn last_of_equal_recall(curve: &[OieCurvePoint]) -> Vec<&OieCurvePoint> {
    let chunks = curve.chunk_by(|a, b| a.recall == b.recall);
    // A point of recall 0 would be replaced by the point that `area` adds.
    chunks.filter_map(<[OieCurvePoint]>::last).filter(|point| point.recall != 0.0).collect()
}

/// Computes the area under a curve to which the point of precision 1 and recall 0 is added; 0 for an
/// empty curve.
fn area<'a>(curve: impl Iterator<Item = &'a OieCurvePoint>) -> f64 {
    let points: Vec<(f64, f64)> = curve.map(|point| (point.recall, point.precision)).collect();
    let (mut area, mut previous) = (0.0, (0.0, 1.0));
    for &(recall, precision) in points.iter().rev() {
        area += (recall - previous.0) * (precision + previous.1) / 2.0;
        previous = (recall, precision);
    }
    area
}

/// Extractions by normalised sentence, in the order of the sentences.
struct Normalized<'a> {
    list: Vec<(String, &'a [OieExtraction])>,
    indices: HashMap<String, usize>,
}

impl<'a> Normalized<'a> {
    fn of(sentences: &'a [OieSentence]) -> Self {
        let mut normalized = Self { list: Vec::new(), indices: HashMap::new() };
        for OieSentence { text, extractions } in sentences {
            let key = normalize(text);
            match normalized.indices.get(&key) {
                Some(&index) => normalized.list[index].1 = extractions,
                None => {
                    normalized.indices.insert(key.clone(), normalized.list.len());
                    normalized.list.push((key, extractions));
                }
            }
        }
        normalized
    }

    fn get(&self, key: &str) -> &'a [OieExtraction] {
        self.indices.get(key).map_or(&[], |&index| self.list[index].1)
    }
}

/// Removes spaces, escapes of brackets and ASCII punctuation.
fn normalize(text: &str) -> String {
    let mut text = text.replace(' ', "");
    for escape in ["-LRB-", "-RRB-", "-LSB-", "-RSB-", "-LCB-", "-RCB-"] {
        text = text.replace(escape, "");
    }
    text.retain(|c| !c.is_ascii_punctuation());
    text
}

/// Sums of precision and recall over sentences, for each confidence.
struct Sums {
    /// All distinct confidences, ascending.
    confidences: Vec<f64>,
    sums: Vec<Sum>,
}

#[derive(Clone, Default)]
struct Sum {
    precision: f64,
    predicted: usize,
    recall: f64,
    gold: usize,
}

impl Sums {
    fn new(predicted: &Normalized) -> Self {
        let extractions = predicted.list.iter().flat_map(|(_, extractions)| *extractions);
        let mut confidences: Vec<f64> =
            extractions.map(|extraction| extraction.confidence).collect();
        confidences.sort_by(f64::total_cmp);
        confidences.dedup();
        let sums = vec![Sum::default(); confidences.len()];
        Self { confidences, sums }
    }

    fn add_sentence(&mut self, gold: &[OieExtraction], predicted: &[OieExtraction]) {
        let matches: Vec<Vec<Match>> = gold
            .iter()
            .map(|gold| predicted.iter().map(|one| match_extractions(gold, one)).collect())
            .collect();
        let mut own: Vec<f64> = predicted.iter().map(|extraction| extraction.confidence).collect();
        own.sort_by(f64::total_cmp);
        own.dedup();
        let mut start = 0;
        for confidence in own {
            let end = self.confidences.partition_point(|&other| other <= confidence);
            let columns: Vec<usize> = (0..predicted.len())
                .filter(|&column| predicted[column].confidence >= confidence)
                .collect();
            let recall = |row: &Vec<Match>| {
                columns.iter().map(|&column| row[column].recall).fold(0.0, f64::max)
            };
            let recall: f64 = matches.iter().map(recall).sum();
            let precision = assigned_precision(&matches, &columns);
            for sum in &mut self.sums[start..end] {
                sum.precision += precision;
                sum.predicted += columns.len();
                sum.recall += recall;
                sum.gold += gold.len();
            }
            start = end;
        }
        for sum in &mut self.sums[start..] {
            sum.gold += gold.len();
        }
    }

    fn points(&self) -> Vec<OieCurvePoint> {
        let points = self.confidences.iter().zip(&self.sums).map(|(&confidence, sum)| {
            let precision = match sum.predicted {
                0 => 1.0,
                count => sum.precision / count as f64,
            };
            // There is a gold extraction.
            OieCurvePoint { confidence, precision, recall: sum.recall / sum.gold as f64 }
        });
        points.collect()
    }
}

/// Assigns each of the predicted `columns` to one gold row, or leaves it without a row if there are
/// fewer rows; in each step, the greatest precision is selected. Returns the sum of the precisions.
fn assigned_precision(matches: &[Vec<Match>], columns: &[usize]) -> f64 {
    let mut rows: Vec<usize> = (0..matches.len()).collect();
    let mut columns = columns.to_vec();
    let mut sum = 0.0;
    while !rows.is_empty() && !columns.is_empty() {
        let (mut best, mut position) = (f64::NEG_INFINITY, (0, 0));
        for (i, &row) in rows.iter().enumerate() {
            for (k, &column) in columns.iter().enumerate() {
                if matches[row][column].precision > best {
                    (best, position) = (matches[row][column].precision, (i, k));
                }
            }
        }
        rows.remove(position.0);
        columns.remove(position.1);
        sum += best;
    }
    sum
}
