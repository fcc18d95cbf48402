//! LAMA with a model: the rank of the right piece at a mask.
use transfer_eval::Ties;
use transfer_eval::lama::{Candidates, Cloze, rank_golds};

use crate::pooling::{at_positions, to_array};
use crate::{Encoder, Error, Result, inference};

/// The rank of each cloze's gold piece, from 1, in the order of the clozes, for
/// [`score_lama`](transfer_eval::lama::score_lama); `None` where the gold is no single piece. Only
/// one batch's scores over the vocabulary are held at once.
///
/// # Errors
/// If the model has no masked-LM head or refuses an input; [`Error::Config`] if `batch_size` is 0;
/// [`Error::Transfer`] as [`rank_golds`], with the number of the cloze, or if a mask is not in its
/// input.
///
/// # Example
/// ```
/// use tasks::cloze_ranking::rank_clozes;
/// use transfer_eval::Ties;
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
/// let ranks = rank_clozes(&model, &[cloze], None, Ties::Pessimistic, 32)?;
/// assert!(ranks[0].is_some_and(|rank| (1..=50).contains(&rank)));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn rank_clozes(
    model: &dyn Encoder,
    clozes: &[Cloze],
    candidates: Option<&Candidates>,
    ties: Ties,
    batch_size: usize,
) -> Result<Vec<Option<usize>>> {
    let outside = |cloze: &Cloze| cloze.mask >= cloze.input_ids.len();
    if let Some(number) = clozes.iter().position(outside)
        && let Some(cloze) = clozes.get(number)
    {
        let pieces = cloze.input_ids.len();
        let message = format!("mask at {}, but the input has {pieces} pieces", cloze.mask);
        let (what, index) = ("cloze", number + 1);
        return Err(transfer_eval::Error::Mismatch { what, index, line: None, message }.into());
    }
    let rows: Vec<&[u32]> = clozes.iter().map(|cloze| cloze.input_ids.as_slice()).collect();
    inference::by_length(model, &rows, batch_size, |indices, hidden| {
        let batch: Vec<Cloze> = indices.iter().filter_map(|&k| clozes.get(k)).cloned().collect();
        let masks: Vec<usize> = batch.iter().map(|cloze| cloze.mask).collect();
        let logits = model.mlm_logits(&at_positions(hidden, &masks)?)?; // [B, V]
        let logits = to_array("logits", &logits)?;
        rank_golds(logits.view(), &batch, candidates, ties)
            .map_err(|error| Error::from(counted_in_all(error, indices)))
    })
}

/// An error that counts in its batch, counting in all clozes.
fn counted_in_all(error: transfer_eval::Error, indices: &[usize]) -> transfer_eval::Error {
    match error {
        transfer_eval::Error::Mismatch { what, index, line, message } => {
            let number = index.checked_sub(1).and_then(|row| indices.get(row));
            let index = number.map_or(index, |number| number + 1);
            transfer_eval::Error::Mismatch { what, index, line, message }
        }
        other => other,
    }
}
