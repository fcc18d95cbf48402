//! Augmentation of QA training: noise on question embeddings, and random question tokens.
use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{to_i64, to_usize};

use super::WindowBatch;
use xlmr_model::Model;

use crate::{Error, Result};

/// Augmentation of training questions, drawn for each question and step. It is disabled by default.
///
/// # Example
/// ```
/// use tasks::question_answering::QaAugmentation;
///
/// let augmentation: QaAugmentation = toml::from_str("question_replacement = 0.3").unwrap();
/// assert_eq!(augmentation.embedding_noise, 0.0);
/// augmentation.validate()?;
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QaAugmentation {
    /// Maximum of r, the ratio of the noise's norm to the embedding's norm. For each question and
    /// step, r is drawn uniformly from 0 to this value. The noise on an embedding e of the question
    /// is Gaussian, with the expected squared norm (r · ‖e‖)².
    pub embedding_noise: f64,
    /// Maximum fraction of question tokens replaced by random tokens. Tokens of the entity are not
    /// replaced, but may move within the question.
    pub question_replacement: f64,
}

impl QaAugmentation {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range or not finite.
    pub fn validate(&self) -> Result<()> {
        let error = |key: &str, value, rule| {
            Err(Error::config(format!("qa.augmentation.{key}"), value, rule))
        };
        match *self {
            Self { embedding_noise: noise, .. } if !(noise.is_finite() && noise >= 0.0) => {
                error("embedding_noise", noise, "0 or more")
            }
            Self { question_replacement: rate, .. } if !(0.0..=1.0).contains(&rate) => {
                error("question_replacement", rate, "from 0 to 1")
            }
            _ => Ok(()),
        }
    }
}

/// Replaces question tokens outside `entity`, and randomly moves the entity within the question.
///
/// A rate r is drawn from 0 to `max_rate`. Every token outside the entity is replaced with
/// probability r by a random token of `replacements`, and with probability r the entity moves to a
/// random position between the other tokens. An empty `entity` protects no token. The result has
/// the length of `question`. The result equals `question` if `replacements` is empty, or if a
/// truncated question does not contain the complete entity.
pub(super) fn replace_question_tokens(
    question: &[u32],
    entity: Range<usize>,
    replacements: &[u32],
    max_rate: f64,
    rng: &mut ChaCha8Rng,
) -> Vec<u32> {
    let count = to_i64(replacements.len());
    if count == 0 || entity.end > question.len() {
        return question.to_vec();
    }
    let rate = rng.random::<f64>() * max_rate;
    let entity_tokens = &question[entity.clone()];
    let mut before: Vec<u32> = question[..entity.start].to_vec();
    let mut after: Vec<u32> = question[entity.end..].to_vec();
    for token in before.iter_mut().chain(&mut after) {
        if rng.random::<f64>() < rate {
            *token = replacements[to_usize(rng.random_range(0..count))];
        }
    }
    if rng.random::<f64>() < rate {
        before.append(&mut after);
        let split_index = rng.random_range(0..=before.len());
        after = before.split_off(split_index);
    }
    [&before, entity_tokens, &after].concat()
}

/// Parameters of the noise on one row's question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct EmbeddingNoise {
    /// r, the ratio of the noise's norm to the embedding's norm.
    pub(super) ratio: f64,
    /// Seed of the noise directions. Each row has a separate seed, so that its noise does not
    /// depend on other rows.
    pub(super) seed: i64,
}

impl EmbeddingNoise {
    /// Draws a ratio from 0 to `max_ratio` ([`QaAugmentation::embedding_noise`]), and a seed.
    pub(super) fn draw(max_ratio: f64, rng: &mut ChaCha8Rng) -> Self {
        Self { ratio: rng.random::<f64>() * max_ratio, seed: rng.random() }
    }
}

/// Computes the token embeddings `[B, L, E]` of a batch, with Gaussian noise on the embeddings of
/// the question.
///
/// `noise` has one entry for each row. The noise on an embedding e of the row's question
/// ([`WindowBatch::question`]) has the expected squared norm (r · ‖e‖)², similar to NEFTune (Jain
/// et al. 2024). Gradients flow to the token embeddings, not to the noise, which is drawn on the
/// CPU from the rows' seeds, without libtorch's generator.
///
/// # Errors
/// [`Error::Torch`] if libtorch fails, or if there is not one entry for each row.
pub(super) fn noisy_embeddings(
    model: &Model,
    batch: &WindowBatch,
    noise: &[EmbeddingNoise],
) -> Result<Tensor> {
    let device = model.device();
    let (_, width) = model.word_embeddings().size2()?;
    let ids = torch_ext::upload(&batch.inputs.input_ids, device)?;
    // [B, L, E]
    let embeddings = Tensor::f_embedding(model.word_embeddings(), &ids, -1, false, false)?;
    let question = batch.question.f_to_kind(Kind::Bool)?; // [B, L]
    let (rows, length) = question.size2()?;
    if to_i64(noise.len()) != rows {
        return Err(Error::data("noise", format!("{rows} entries, one per row"), noise.len()));
    }
    let counts = question.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?;
    let mut question_noise = Vec::with_capacity(noise.len());
    for (noise, count) in noise.iter().zip(Vec::<i64>::try_from(counts)?) {
        let scale = noise.ratio / (width as f64).sqrt();
        question_noise
            .push(torch_ext::seeded_randn(&[count, width], noise.seed)?.f_mul_scalar(scale)?);
    }
    let question_noise = torch_ext::upload(&Tensor::f_cat(&question_noise, 0)?, device)?;
    let question_indices = question.f_flatten(0, 1)?.f_nonzero()?.f_squeeze_dim(1)?;
    let question_indices = torch_ext::upload(&question_indices, device)?;
    let norms = embeddings.f_detach()?.f_norm_scalaropt_dim(2.0, [-1i64], true)?; // [B, L, 1]
    let noise = Tensor::f_zeros([rows * length, width], (question_noise.f_kind()?, device))?
        .f_index_copy(0, &question_indices, &question_noise)?
        .f_view([rows, length, width])?
        .f_mul(&norms)?;
    Ok(embeddings.f_add(&noise)?)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_entity_is_retained_in_a_changed_question() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let question = [10, 11, 12, 13];
        let unchanged = replace_question_tokens(&question, 1..2, &[20, 21], 0.0, &mut rng);
        assert_eq!(unchanged, question);
        let changed = replace_question_tokens(&question, 1..2, &[20, 21], 1.0, &mut rng);
        assert!(changed.len() == 4 && changed.contains(&11));
    }
}
