//! Projection of a span to a translation by the similarity of tokens, without markers.
use std::collections::BTreeSet;
use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::Error;

/// How the most similar tokens of both directions become links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Symmetrization {
    /// A source token and a target token are linked if each of the two is the most similar token of
    /// the other one.
    #[default]
    Intersection,
    /// Links of the intersection, and links of one direction next to such links that link a further
    /// token (Och and Ney 2003; Koehn et al. 2005). A token may have several links.
    GrowDiag,
}

/// Projection options.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionConfig {
    /// Minimum similarity of two linked tokens. Unless the minimum is negative, tokens with a
    /// similarity of 0 are not linked.
    pub min_similarity: f32,
    /// Maximum number of unlinked target tokens between two linked tokens of a span.
    ///
    /// The span is split at larger gaps, and the part with the most links is used. If several parts
    /// have the most links, the part with the greatest summed similarity is used.
    pub max_gap: usize,
    /// How the most similar tokens of both directions become links.
    pub symmetrization: Symmetrization,
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        let symmetrization = Symmetrization::default();
        Self { min_similarity: 0.0, max_gap: 3, symmetrization }
    }
}

impl ProjectionConfig {
    /// Returns whether tokens with a similarity may be linked.
    fn is_similar(&self, value: f32) -> bool {
        value >= self.min_similarity && (value > 0.0 || self.min_similarity < 0.0)
    }
}

/// Returns the target tokens that correspond to the source tokens `span`; `None` if no token is
/// linked.
///
/// Tokens are linked by [`Symmetrization`] if their similarity is at least `min_similarity`. The
/// linked target tokens are split into groups at gaps of more than `max_gap` tokens. The result is the smallest span that covers
/// the group with the most links. Ties are resolved in favour of the first token.
///
/// # Shapes
/// - `similarity`: `[source tokens, target tokens]` f32, finite, such as cosines of hidden states
///
/// ```
/// use ndarray::array;
/// use qa_translate::{ProjectionConfig, project};
///
/// // "the red house" and "la casa roja"
/// let similarity = array![[0.9, 0.1, 0.2], [0.1, 0.3, 0.8], [0.2, 0.7, 0.3]];
/// assert_eq!(project(similarity.view(), 1..3, &ProjectionConfig::default())?, Some(1..3));
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Projection`] if `span` is empty or exceeds the matrix, or a similarity in the row of a
/// span token, or in the column of its most similar target token, is not finite. With
/// [`Symmetrization::GrowDiag`], all similarities must be finite.
pub fn project(
    similarity: ArrayView2<'_, f32>,
    span: Range<usize>,
    config: &ProjectionConfig,
) -> Result<Option<Range<usize>>, Error> {
    let projection_error =
        |name, expected: &str, got| Err(Error::Projection { name, expected: expected.into(), got });
    if span.start >= span.end || span.end > similarity.nrows() {
        let rows = similarity.nrows();
        return projection_error(
            "span",
            "a part of the source tokens",
            format!("{span:?} of {rows}"),
        );
    }
    if config.symmetrization == Symmetrization::GrowDiag {
        let links = grow_diag(similarity, config)?.into_iter();
        let links = links.filter(|(source, _)| span.contains(source));
        let links = links.map(|(source, target)| (target, similarity[(source, target)]));
        return Ok(best_span(links.collect(), config.max_gap));
    }
    let mut links: Vec<(usize, f32)> = Vec::with_capacity(span.len());
    for source in span {
        let row = similarity.index_axis(Axis(0), source);
        let Some((target, value)) = argmax(row, |column| (source, column))? else { continue };
        let column = similarity.index_axis(Axis(1), target);
        let is_mutual = argmax(column, |row| (row, target))?.is_some_and(|(row, _)| row == source);
        if is_mutual && config.is_similar(value) {
            links.push((target, value));
        }
    }
    Ok(best_span(links, config.max_gap))
}

/// Returns the target tokens that are linked to the source tokens `span`; `None` if no token is
/// linked.
///
/// `links` contains pairs of a source token and a target token, such as the word alignment of
/// eflomal, fast_align or awesome-align. A token may have several links. The linked target tokens
/// are split into groups at gaps of more than `max_gap` tokens. The result is the smallest span that
/// covers the group with the most links. Ties are resolved in favour of the first group.
///
/// ```
/// use qa_translate::project_links;
///
/// // "the town hall" and "das Rathaus"
/// let links = [(0, 0), (1, 1), (2, 1)];
/// assert_eq!(project_links(&links, 1..3, 3), Some(1..2));
/// assert_eq!(project_links(&links, 3..4, 3), None);
/// ```
pub fn project_links(
    links: &[(usize, usize)],
    span: Range<usize>,
    max_gap: usize,
) -> Option<Range<usize>> {
    let links = links.iter().filter(|(source, _)| span.contains(source));
    best_span(links.map(|&(_, target)| (target, 1.0)).collect(), max_gap)
}

/// Returns the smallest span that covers the best group of linked target tokens. `links` contains
/// the target token and the similarity of each link.
fn best_span(mut links: Vec<(usize, f32)>, max_gap: usize) -> Option<Range<usize>> {
    links.sort_by_key(|&(target, _)| target);
    let mut best_group: Option<LinkGroup> = None;
    for group in links.chunk_by(|a, b| b.0 - a.0 <= max_gap.saturating_add(1)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let similarity = group.iter().map(|&(_, value)| f64::from(value)).sum();
        let group = LinkGroup { links: group.len(), similarity, span: first.0..last.0 + 1 };
        if best_group.as_ref().is_none_or(|best| group.is_better_than(best)) {
            best_group = Some(group);
        }
    }
    best_group.map(|group| group.span)
}

/// Returns the links of [`Symmetrization::GrowDiag`].
fn grow_diag(
    similarity: ArrayView2<'_, f32>,
    config: &ProjectionConfig,
) -> Result<BTreeSet<(usize, usize)>, Error> {
    let (rows, columns) = similarity.dim();
    let mut forward = BTreeSet::new();
    for row in 0..rows {
        let best = argmax(similarity.row(row), |column| (row, column))?;
        forward.extend(best.filter(|&(_, value)| config.is_similar(value)).map(|(t, _)| (row, t)));
    }
    let mut backward = BTreeSet::new();
    for column in 0..columns {
        let best = argmax(similarity.column(column), |row| (row, column))?;
        backward
            .extend(best.filter(|&(_, value)| config.is_similar(value)).map(|(s, _)| (s, column)));
    }
    let mut links: BTreeSet<(usize, usize)> = forward.intersection(&backward).copied().collect();
    let candidates: Vec<(usize, usize)> = forward.union(&backward).copied().collect();
    let mut has_source: BTreeSet<usize> = links.iter().map(|link| link.0).collect();
    let mut has_target: BTreeSet<usize> = links.iter().map(|link| link.1).collect();
    loop {
        let count = links.len();
        for &(source, target) in &candidates {
            let is_neighbor = (source.saturating_sub(1)..=source + 1)
                .any(|s| (target.saturating_sub(1)..=target + 1).any(|t| links.contains(&(s, t))));
            let is_unlinked = !has_source.contains(&source) || !has_target.contains(&target);
            if is_neighbor && is_unlinked && links.insert((source, target)) {
                has_source.insert(source);
                has_target.insert(target);
            }
        }
        if links.len() == count {
            return Ok(links);
        }
    }
}

/// Linked target tokens without large gaps.
struct LinkGroup {
    /// Number of links.
    links: usize,
    /// Summed similarity of the links.
    similarity: f64,
    span: Range<usize>,
}

impl LinkGroup {
    fn is_better_than(&self, other: &Self) -> bool {
        self.links > other.links
            || (self.links == other.links && self.similarity > other.similarity)
    }
}

/// Returns the index and the value of the first maximum. `matrix_index` converts the index of a
/// value to a row and a column for error messages.
fn argmax(
    values: ArrayView1<'_, f32>,
    matrix_index: impl Fn(usize) -> (usize, usize),
) -> Result<Option<(usize, f32)>, Error> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &value) in values.iter().enumerate() {
        if !value.is_finite() {
            let (row, column) = matrix_index(index);
            return Err(Error::Projection {
                name: "similarity",
                expected: "finite values".into(),
                got: format!("{value} in row {row}, column {column}"),
            });
        }
        if best.is_none_or(|(_, best_value)| value > best_value) {
            best = Some((index, value));
        }
    }
    Ok(best)
}
