//! P@1 and P@10 by relation.
use std::collections::BTreeMap;

use ndarray::ArrayView2;
use results::Measured;
use serde::Serialize;

use crate::error::check_counts;
use crate::lama::{Candidates, Cloze, Corpus, Relation};
use crate::{Error, Result};

/// Precision over facts, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Precision {
    /// Share of facts whose object is the best prediction.
    pub p_at_1: f64,
    /// Share of facts whose object is among the ten best predictions.
    pub p_at_10: f64,
}

/// The scores of one relation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RelationScore {
    /// The relation's id.
    pub relation: String,
    /// Cardinality of the relation in T-REx: `1-1`, `N-1` or `N-M`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Number of scored facts.
    pub facts: usize,
    /// Precision over the scored facts.
    pub precision: Precision,
}

/// The scores of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LamaScore {
    /// Mean over relations. Papers report it as the "Total" of Google-RE and T-REx.
    #[serde(rename = "macro")]
    pub macro_average: Precision,
    /// Precision over all facts.
    pub micro: Precision,
    /// Mean over the relations of each cardinality, such as `N-1`; empty if no relation has a
    /// cardinality.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, Precision>,
    /// The relations that have a scored fact, in input order.
    pub relations: Vec<RelationScore>,
    /// Number of scored facts.
    pub facts: usize,
}

impl Cloze {
    /// Returns the rank of the gold piece, from 1, in `best`, a list of pieces with the best first;
    /// `None` if the list does not contain the gold piece. Ten pieces suffice for [`score_lama`].
    ///
    /// ```
    /// use transfer_eval::lama::Cloze;
    ///
    /// let input_ids = vec![0, 4, 2];
    /// let (id, relation) = ("1".to_owned(), "P36".to_owned());
    /// let cloze = Cloze { id, relation, input_ids, mask: 1, gold: Some(7), spaced: true };
    /// assert_eq!(cloze.rank_among(&[9, 7, 3]), Some(2));
    /// ```
    pub fn rank_among(&self, best: &[u32]) -> Option<usize> {
        let gold = self.gold?;
        best.iter().position(|&id| id == gold).map(|index| index + 1)
    }
}

impl LamaScore {
    /// Returns the rows of XLM-K's Table 5 for a corpus: relations of Google-RE, cardinalities of
    /// T-REx, and the total. The total is the mean over relations for Google-RE and T-REx, and the
    /// mean over facts for ConceptNet and SQuAD.
    pub fn measured(&self, model: &str, corpus: Corpus) -> Vec<Measured> {
        let row = |name: &str, precision: Precision| {
            let setting = format!("LAMA {} {name}", corpus.name());
            Measured::new(model, &setting, "en", "p@1", precision.p_at_1)
        };
        let relation_row = |relation: &RelationScore| {
            let name = match relation.relation.as_str() {
                "place_of_birth" => "birth-place",
                "date_of_birth" => "birth-date",
                "place_of_death" => "death-place",
                other => other,
            };
            row(name, relation.precision)
        };
        let mut rows: Vec<Measured> = match corpus {
            Corpus::GoogleRe => self.relations.iter().map(relation_row).collect(),
            _ => self.kinds.iter().map(|(kind, precision)| row(kind, *precision)).collect(),
        };
        let total = match corpus {
            Corpus::GoogleRe | Corpus::TRex => self.macro_average,
            Corpus::ConceptNet | Corpus::Squad => self.micro,
        };
        rows.push(row("Total", total));
        rows
    }
}

/// Returns the rank of each cloze's gold piece, from 1, among the candidates or, without
/// candidates, among all pieces; `None` if the gold object is not a single piece. The gold piece is
/// ranked after all pieces with the same score, so that constant scores are not rewarded.
///
/// # Shapes
/// - `logits`: `[N, V]` float32, the scores (or log-probabilities) at the masks, one row per cloze;
///   V is the size of the vocabulary
///
/// # Errors
/// [`Error::Array`] if `logits` does not have N rows; [`Error::Mismatch`] naming the cloze if a
/// logit is NaN, or if the gold piece is V or more or is not among the candidates.
pub fn rank_golds(
    logits: ArrayView2<'_, f32>,
    clozes: &[Cloze],
    candidates: Option<&Candidates>,
) -> Result<Vec<Option<usize>>> {
    let (rows, width) = logits.dim();
    if rows != clozes.len() {
        let message = format!("{rows} rows for {} clozes", clozes.len());
        return Err(Error::array("logits", message));
    }
    let rank = |(k, (row, cloze)): (usize, (ndarray::ArrayView1<'_, f32>, &Cloze))| {
        let Some(gold) = cloze.gold else { return Ok(None) };
        let cloze_error = |message: String| Error::mismatch("cloze", k, None, message);
        let score_of = |id: u32| {
            let score = usize::try_from(id).ok().and_then(|id| row.get(id)).copied();
            let score = score.ok_or_else(|| cloze_error(format!("piece {id}, but V = {width}")))?;
            if score.is_nan() { Err(cloze_error(format!("logit {id} is NaN"))) } else { Ok(score) }
        };
        let score = score_of(gold)?;
        let precedes = |id: u32| -> Result<bool> { Ok(score_of(id)? >= score) };
        let mut rank = 1;
        match candidates.map(|candidates| candidates.ids(cloze.spaced)) {
            Some(ids) => {
                if !ids.contains(&gold) {
                    return Err(cloze_error(format!(
                        "gold piece {gold} is not among the candidates"
                    )));
                }
                for &id in ids.iter().filter(|&&id| id != gold) {
                    rank += usize::from(precedes(id)?);
                }
            }
            None => {
                let ids = (0..=u32::MAX).take(width).filter(|&id| id != gold);
                for id in ids {
                    rank += usize::from(precedes(id)?);
                }
            }
        }
        Ok(Some(rank))
    };
    logits.outer_iter().zip(clozes).enumerate().map(rank).collect()
}

fn check_count(clozes: &[Cloze], got: usize) -> Result<()> {
    let id = |at: usize| clozes.get(at).map(|cloze| format!("`{}`", cloze.id));
    check_counts(("cloze", "clozes"), clozes.len(), got, id)
}

/// Computes P@1 and P@10 from one rank per cloze. A cloze without a rank counts as wrong. Relations
/// without a cloze are excluded from the mean.
///
/// ```
/// use transfer_eval::lama::{Cloze, Relation, score_lama};
///
/// let relation = |id: &str| Relation { id: id.into(), ..Relation::default() };
/// let cloze = |relation: &str| Cloze {
///     id: "1".into(),
///     relation: relation.into(),
///     input_ids: vec![0, 4, 2],
///     mask: 1,
///     gold: Some(7),
///     spaced: true,
/// };
/// let relations = [relation("P19"), relation("P36")];
/// let clozes = [cloze("P19"), cloze("P36"), cloze("P36")];
/// let score = score_lama(&relations, &clozes, &[Some(1), Some(4), None])?;
/// assert_eq!((score.macro_average.p_at_1, score.macro_average.p_at_10), (50.0, 75.0));
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] unless there is one rank per cloze; [`Error::Mismatch`] if the relation of a
/// cloze is missing in `relations`; [`Error::Nothing`] without any cloze.
pub fn score_lama(
    relations: &[Relation],
    clozes: &[Cloze],
    ranks: &[Option<usize>],
) -> Result<LamaScore> {
    check_count(clozes, ranks.len())?;
    let relation_indices: BTreeMap<&str, usize> =
        relations.iter().enumerate().map(|(k, relation)| (relation.id.as_str(), k)).collect();
    let row = |(k, (cloze, &rank)): (usize, (&Cloze, &Option<usize>))| {
        let relation = relation_indices.get(cloze.relation.as_str());
        let relation = relation.copied().ok_or_else(|| {
            let message = format!("relation `{}` is not among the relations", cloze.relation);
            Error::mismatch("cloze", k, None, message)
        })?;
        Ok((relation, rank))
    };
    let rows = clozes.iter().zip(ranks).enumerate().map(row).collect::<Result<Vec<_>>>()?;
    score_ranks(&relations.iter().collect::<Vec<_>>(), rows)
}

/// Computes P@1 and P@10 from pairs of a relation's index and a rank; a rank of `None` counts as
/// wrong.
pub(crate) fn score_ranks(
    relations: &[&Relation],
    rows: impl IntoIterator<Item = (usize, Option<usize>)>,
) -> Result<LamaScore> {
    let mut hits = vec![Hits::default(); relations.len()];
    let mut total = Hits::default();
    for (relation, rank) in rows {
        hits[relation].add(rank);
        total.add(rank);
    }
    if total.facts == 0 {
        return Err(Error::Nothing { what: "cloze" });
    }
    let scored = relations.iter().zip(&hits).filter(|(_, hits)| hits.facts > 0);
    let relations: Vec<RelationScore> = scored
        .map(|(relation, hits)| RelationScore {
            relation: relation.id.clone(),
            kind: relation.kind.clone(),
            facts: hits.facts,
            precision: hits.precision(),
        })
        .collect();
    let mut by_kind: BTreeMap<String, Vec<Precision>> = BTreeMap::new();
    for score in &relations {
        if let Some(kind) = &score.kind {
            by_kind.entry(kind.clone()).or_default().push(score.precision);
        }
    }
    let precisions: Vec<Precision> = relations.iter().map(|score| score.precision).collect();
    Ok(LamaScore {
        macro_average: mean(&precisions),
        micro: total.precision(),
        kinds: by_kind.into_iter().map(|(kind, scores)| (kind, mean(&scores))).collect(),
        relations,
        facts: total.facts,
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Hits {
    facts: usize,
    at_1: usize,
    at_10: usize,
}

impl Hits {
    fn add(&mut self, rank: Option<usize>) {
        self.facts += 1;
        self.at_1 += usize::from(rank == Some(1));
        self.at_10 += usize::from(rank.is_some_and(|rank| rank <= 10));
    }

    fn precision(self) -> Precision {
        let share = |hits: usize| 100.0 * hits as f64 / self.facts as f64;
        Precision { p_at_1: share(self.at_1), p_at_10: share(self.at_10) }
    }
}

fn mean(scores: &[Precision]) -> Precision {
    let count = scores.len() as f64;
    let mean_of = |part: fn(&Precision) -> f64| scores.iter().map(part).sum::<f64>() / count;
    Precision { p_at_1: mean_of(|score| score.p_at_1), p_at_10: mean_of(|score| score.p_at_10) }
}
