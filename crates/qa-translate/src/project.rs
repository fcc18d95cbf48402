//! An answer's span carried over to the translation without markers, by how similar the tokens of both are.
use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::TranslateError;

/// Which source and target tokens are linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// Those that are each other's most similar token.
    #[default]
    Mutual,
    /// Each source token with its most similar target token.
    SourceBest,
}

/// How a span is carried over.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectConfig {
    /// Which tokens are linked.
    pub links: Links,
    /// Links of a similarity below this do not count.
    pub min_similarity: f32,
    /// Linked target tokens with more unlinked ones than this between them are not of one span; the part with the most
    /// links is taken, then the one of the greatest summed similarity, then the first.
    pub max_gap: usize,
}

impl Default for ProjectConfig {
    fn default() -> Self {
        Self { links: Links::Mutual, min_similarity: 0.0, max_gap: 3 }
    }
}

/// The target tokens that stand for the source tokens `span`; `None` where nothing is linked.
///
/// The tokens of `span` are linked to target tokens, outliers are dropped by `max_gap`, and the result is the smallest
/// span that covers the rest. Of equally similar tokens the first is the best one, so the result is always the same.
///
/// # Shapes
/// - `similarity`: `[source tokens, target tokens]` f32, all finite, as the cosines of hidden states
///
/// ```
/// use ndarray::array;
/// use qa_translate::{ProjectConfig, project};
///
/// // "the red house" and "la casa roja"
/// let similarity = array![[0.9, 0.1, 0.2], [0.1, 0.3, 0.8], [0.2, 0.7, 0.3]];
/// assert_eq!(project(similarity.view(), 1..3, &ProjectConfig::default())?, Some(1..3));
/// # Ok::<(), qa_translate::TranslateError>(())
/// ```
///
/// # Errors
/// [`TranslateError::Projection`] if `span` is empty or leaves the matrix, or a similarity is not finite.
pub fn project(
    similarity: ArrayView2<'_, f32>,
    span: Range<usize>,
    config: &ProjectConfig,
) -> Result<Option<Range<usize>>, TranslateError> {
    let refuse = |what, expected: &str, got| {
        Err(TranslateError::Projection { what, expected: expected.into(), got })
    };
    if span.start >= span.end || span.end > similarity.nrows() {
        let rows = similarity.nrows();
        return refuse("span", "a part of the source tokens", format!("{span:?} of {rows}"));
    }
    if let Some(((row, column), value)) =
        similarity.indexed_iter().find(|(_, value)| !value.is_finite())
    {
        let got = format!("{value} in row {row}, column {column}");
        return refuse("similarity", "finite values", got);
    }
    let mut links: Vec<(usize, f32)> = Vec::with_capacity(span.len());
    for source in span {
        let Some((target, value)) = best(similarity.index_axis(Axis(0), source)) else { continue };
        let back = || best(similarity.index_axis(Axis(1), target)).map(|(source, _)| source);
        let linked = config.links == Links::SourceBest || back() == Some(source);
        if linked && value >= config.min_similarity {
            links.push((target, value));
        }
    }
    links.sort_by(|a, b| a.0.cmp(&b.0));
    let parts = links.chunk_by(|a, b| b.0 - a.0 <= config.max_gap.saturating_add(1));
    let strength = |part: &[(usize, f32)]| -> (usize, f64) {
        (part.len(), part.iter().map(|&(_, value)| f64::from(value)).sum())
    };
    let mut chosen: Option<(&[(usize, f32)], (usize, f64))> = None;
    for part in parts {
        let own = strength(part);
        if chosen.is_none_or(|(_, best)| own.0 > best.0 || (own.0 == best.0 && own.1 > best.1)) {
            chosen = Some((part, own));
        }
    }
    Ok(chosen.and_then(|(part, _)| Some(part.first()?.0..part.last()?.0 + 1)))
}

/// The first of the greatest values and its place.
fn best(row: ArrayView1<'_, f32>) -> Option<(usize, f32)> {
    let better = |best: Option<(usize, f32)>, (place, &value): (usize, &f32)| match best {
        Some((_, known)) if known >= value => best,
        _ => Some((place, value)),
    };
    row.iter().enumerate().fold(None, better)
}
