//! LAMA evaluation: ranks of the correct vocabulary piece at a mask.
use std::collections::BTreeSet;

use tch::{Device, Kind, Tensor};
use torch_ext::to_i64;
use transfer_eval::lama::{Candidates, Cloze, TypedClozes, rank_golds};
use xlmr_model::Model;

use crate::pooling::{at_positions, to_array};
use crate::{Error, Result, inference};

/// Computes the rank of each cloze's gold piece, from 1, for
/// [`score_lama`](transfer_eval::lama::score_lama).
///
/// The result is `None` if the gold object is not a single piece. Memory use includes the
/// vocabulary logits of one batch.
///
/// # Errors
/// If the model has no masked-LM head or rejects an input; [`Error::Config`] if `batch_size` is 0;
/// [`Error::Transfer`] with the index of the cloze for errors of [`rank_golds`], or if the position
/// of a mask is outside its input.
///
/// # Example
/// ```
/// use tasks::cloze_ranking::rank_clozes;
/// use transfer_eval::lama::Cloze;
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// // <s> Paris capital of <mask> </s>
/// let cloze = Cloze {
///     id: "P1376-Q90".into(),
///     relation: "P1376".into(),
///     input_ids: vec![0, 11, 12, 13, 4, 2],
///     mask: 4,
///     gold: Some(14),
///     spaced: true,
/// };
/// let ranks = rank_clozes(&model, &[cloze], None, 32)?;
/// assert!(ranks[0].is_some_and(|rank| (1..=50).contains(&rank)));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn rank_clozes(
    model: &Model,
    clozes: &[Cloze],
    candidates: Option<&Candidates>,
    batch_size: usize,
) -> Result<Vec<Option<usize>>> {
    for (number, cloze) in clozes.iter().enumerate() {
        let pieces = cloze.input_ids.len();
        if cloze.mask >= pieces {
            let message = format!("mask at {}, but the input has {pieces} pieces", cloze.mask);
            let (what, index) = ("cloze", number + 1);
            return Err(transfer_eval::Error::Mismatch { what, index, line: None, message }.into());
        }
    }
    let rows: Vec<&[u32]> = clozes.iter().map(|cloze| cloze.input_ids.as_slice()).collect();
    inference::map_rows(model, &rows, batch_size, |indices, _, hidden| {
        let batch: Vec<Cloze> = indices.iter().map(|&k| clozes[k].clone()).collect();
        let masks: Vec<usize> = batch.iter().map(|cloze| cloze.mask).collect();
        let logits = model.mlm_logits(&at_positions(hidden, &masks)?)?; // [B, V]
        let logits = to_array("logits", &logits)?;
        rank_golds(logits.view(), &batch, candidates)
            .map_err(|error| Error::from(with_index_in_all_clozes(error, indices)))
    })
}

/// Computes the rank of each cloze's object among its relation's candidates, from 1, for
/// [`TypedClozes::score`].
///
/// A candidate of n pieces is scored in an input with n masks. Its score is the mean of its pieces'
/// log-probabilities over the complete vocabulary, as in mLAMA (Kassner, Dufter and Schütze 2021,
/// section 3.2). The mean makes objects with different numbers of pieces comparable.
///
/// # Errors
/// If the model has no masked-LM head or rejects an input; [`Error::Config`] if `batch_size` is 0;
/// [`Error::Data`] if a piece is not in the model's vocabulary; [`Error::Transfer`] for a score
/// that is NaN.
///
/// # Example
/// ```
/// use tasks::cloze_ranking::rank_typed;
/// use transfer_eval::lama::{Relation, TypedCloze, TypedClozes, TypedRelation};
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let relation = Relation { id: "P36".into(), ..Relation::default() };
/// // <s> The capital of France is … </s>, with an object of one piece and one of two
/// let clozes = TypedClozes {
///     relations: vec![TypedRelation { relation, candidates: vec![vec![14], vec![15, 16]] }],
///     clozes: vec![TypedCloze {
///         id: "Q142-P36-Q90".into(),
///         relation: 0,
///         before: vec![0, 11, 12, 13],
///         after: vec![2],
///         gold: 1,
///         other_correct: Default::default(),
///     }],
///     mask: 49,
/// };
/// assert!((1..=2).contains(&rank_typed(&model, &clozes, 32)?[0]));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn rank_typed(model: &Model, clozes: &TypedClozes, batch_size: usize) -> Result<Vec<usize>> {
    // A row contains the index of a cloze, a candidate length in pieces, and the input ids with
    // that number of masks. Each cloze has one row per distinct length of its candidates.
    let mut rows: Vec<(usize, usize, Vec<u32>)> = Vec::new();
    for (number, cloze) in clozes.clozes.iter().enumerate() {
        let lengths: BTreeSet<usize> = clozes.candidates(cloze).iter().map(Vec::len).collect();
        rows.extend(lengths.into_iter().filter(|&pieces| pieces > 0).map(|pieces| {
            let masks = std::iter::repeat_n(clozes.mask, pieces);
            let ids = cloze.before.iter().copied().chain(masks).chain(cloze.after.iter().copied());
            (number, pieces, ids.collect())
        }));
    }
    let ids: Vec<&[u32]> = rows.iter().map(|(_, _, ids)| ids.as_slice()).collect();
    let row_scores = inference::map_rows(model, &ids, batch_size, |indices, _, hidden| {
        let batch: Vec<&(usize, usize, Vec<u32>)> = indices.iter().map(|&k| &rows[k]).collect();
        score_rows(model, clozes, &batch, hidden)
    })?;
    let mut scores_by_cloze: Vec<Vec<f32>> = clozes
        .clozes
        .iter()
        .map(|cloze| vec![f32::NEG_INFINITY; clozes.candidates(cloze).len()])
        .collect();
    for ((number, ..), scores) in rows.iter().zip(row_scores) {
        for (candidate, score) in scores {
            scores_by_cloze[*number][candidate] = score;
        }
    }
    let ranks = clozes
        .clozes
        .iter()
        .zip(&scores_by_cloze)
        .map(|(cloze, scores)| clozes.rank(cloze, scores));
    Ok(ranks.collect::<Result<_, _>>()?)
}

/// Scores, for each row, the candidates that have as many pieces as the row has masks. Returns the
/// index and the score of each scored candidate, for each row.
fn score_rows(
    model: &Model,
    clozes: &TypedClozes,
    batch: &[&(usize, usize, Vec<u32>)],
    hidden: &Tensor,
) -> Result<Vec<Vec<(usize, f32)>>> {
    let (_, length, _) = hidden.size3()?;
    let mut positions = Vec::new();
    for (row, (number, pieces, _)) in (0i64..).zip(batch) {
        let first = clozes.clozes[*number].before.len();
        for position in first..first + pieces {
            positions.push(row * length + to_i64(position));
        }
    }
    let positions = Tensor::f_from_slice(&positions)?.f_to_device(hidden.device())?;
    let states = hidden.f_flatten(0, 1)?.f_index_select(0, &positions)?;
    let log_probabilities = model.mlm_logits(&states)?.f_log_softmax(-1, Kind::Float)?; // [P, V]
    let mut scores = Vec::with_capacity(batch.len());
    let mut offset = 0;
    for (number, pieces, _) in batch {
        let mask_count = to_i64(*pieces);
        let masks = log_probabilities.f_narrow(0, offset, mask_count)?; // [n, V]
        offset += mask_count;
        let candidates = clozes.candidates(&clozes.clozes[*number]);
        let matching = candidates.iter().enumerate().filter(|(_, ids)| ids.len() == *pieces);
        let (indices, ids): (Vec<usize>, Vec<&Vec<u32>>) = matching.unzip();
        let flat_ids: Vec<i64> =
            ids.iter().flat_map(|ids| ids.iter().copied().map(i64::from)).collect();
        if let Some(invalid_id) = flat_ids.iter().find(|&&id| id >= model.config().vocab_size) {
            let rule = format!("below the vocabulary size {}", model.config().vocab_size);
            return Err(Error::data("candidate's piece", rule, invalid_id));
        }
        let ids = Tensor::f_from_slice(&flat_ids)?.f_view([-1, mask_count])?; // [C, n]
        let ids = ids.f_transpose(0, 1)?.f_contiguous()?.f_to_device(masks.device())?;
        let means = masks.f_gather(1, &ids, false)?.f_mean_dim([0i64].as_slice(), false, None)?;
        let means = Vec::<f32>::try_from(means.f_to_device(Device::Cpu)?)?;
        scores.push(indices.into_iter().zip(means).collect());
    }
    Ok(scores)
}

/// Replaces the index of a cloze in an error: the index within the batch by the index within all
/// clozes.
fn with_index_in_all_clozes(
    error: transfer_eval::Error,
    indices: &[usize],
) -> transfer_eval::Error {
    match error {
        transfer_eval::Error::Mismatch { what, index, line, message } => {
            let number = index.checked_sub(1).and_then(|row| indices.get(row));
            let index = number.map_or(index, |number| number + 1);
            transfer_eval::Error::Mismatch { what, index, line, message }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use transfer_eval::lama::{Relation, TypedCloze, TypedRelation};
    use xlmr_model::{Config, Head, Inputs, Model};

    use super::*;

    fn model() -> Model {
        let config = Config { initializer_range: 0.5, ..Config::tiny(60) };
        Model::new(&config, &[Head::MaskedLm], Device::Cpu, 3).unwrap()
    }

    fn clozes() -> TypedClozes {
        let relation = |id: &str, candidates: Vec<Vec<u32>>| TypedRelation {
            relation: Relation { id: id.into(), ..Relation::default() },
            candidates,
        };
        let cloze = |relation, before: &[u32], after: &[u32], gold| TypedCloze {
            id: format!("{relation}-{gold}"),
            relation,
            before: before.to_vec(),
            after: after.to_vec(),
            gold,
            other_correct: BTreeSet::new(),
        };
        TypedClozes {
            relations: vec![
                relation("P1", vec![vec![14], vec![15, 16], vec![17, 18, 19], vec![20]]),
                relation("P2", vec![vec![21, 22], vec![23, 24]]),
            ],
            clozes: vec![
                cloze(0, &[0, 5, 6, 7], &[8, 2], 1),
                cloze(0, &[0, 9], &[10, 11, 12, 2], 3),
                cloze(1, &[0], &[30, 31, 32, 33, 34, 2], 0),
                cloze(0, &[0, 40, 41], &[2], 2),
            ],
            mask: 4,
        }
    }

    /// Reference implementation: one input per batch, and probabilities from exponentials in
    /// float64.
    fn reference_scores(model: &Model, clozes: &TypedClozes) -> Vec<Vec<f64>> {
        let score = |cloze: &TypedCloze, ids: &Vec<u32>| {
            let masks = vec![clozes.mask; ids.len()];
            let input = [cloze.before.clone(), masks, cloze.after.clone()].concat();
            let inputs = Inputs::from_rows(&[&input], 1).unwrap();
            let hidden = model.encode(&inputs, false).unwrap();
            let logits = model.mlm_logits(&hidden).unwrap().to_kind(Kind::Double).squeeze_dim(0);
            let log_probability = |(index, &id): (usize, &u32)| {
                let row = Vec::<f64>::try_from(logits.get((cloze.before.len() + index) as i64));
                let row = row.unwrap();
                row[id as usize] - row.iter().map(|logit| logit.exp()).sum::<f64>().ln()
            };
            ids.iter().enumerate().map(log_probability).sum::<f64>() / ids.len() as f64
        };
        let scores_of =
            |cloze| clozes.candidates(cloze).iter().map(|ids| score(cloze, ids)).collect();
        tch::no_grad(|| clozes.clozes.iter().map(scores_of).collect())
    }

    #[test]
    fn ranks_equal_the_reference_for_any_batch_size() {
        let (model, clozes) = (model(), clozes());
        let scores = reference_scores(&model, &clozes);
        let expected: Vec<usize> = clozes
            .clozes
            .iter()
            .zip(&scores)
            .map(|(cloze, scores)| {
                1 + scores.iter().filter(|score| **score > scores[cloze.gold]).count()
            })
            .collect();
        for batch_size in [1, 2, 3, 64] {
            assert_eq!(rank_typed(&model, &clozes, batch_size).unwrap(), expected);
        }
        assert!(expected.iter().any(|&rank| rank > 1), "all ranks are 1: {expected:?}");
    }

    #[test]
    fn ids_outside_the_vocabulary_are_errors() {
        let mut clozes = clozes();
        clozes.relations[1].candidates[0][1] = 60;
        let error = rank_typed(&model(), &clozes, 8).unwrap_err().to_string();
        assert!(error.contains("below the vocabulary size 60"), "{error}");
        assert!(rank_typed(&model(), &self::clozes(), 0).is_err());
        let headless_model = Model::new(&Config::tiny(60), &[Head::Span], Device::Cpu, 1).unwrap();
        assert!(rank_typed(&headless_model, &self::clozes(), 8).is_err());
        let no_clozes = TypedClozes { clozes: Vec::new(), ..self::clozes() };
        assert!(rank_typed(&model(), &no_clozes, 8).unwrap().is_empty());
    }
}
