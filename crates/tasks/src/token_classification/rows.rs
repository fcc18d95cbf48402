//! Encoded sentences of the tasks, and their forward pass.
use objectives::{IGNORE_INDEX, MaskedPositions};
use tch::{Kind, Tensor};
use torch_ext::upload;
use transfer_eval::ner::NerInput;
use xlmr_model::{Inputs, Model};

use crate::masked_lm::target_positions;
use crate::{Error, Result};

/// An encoded sentence.
#[derive(Clone)]
pub(super) struct TaggedRow {
    /// Token ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// `[L]`: the class of a labelled token, [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
    /// Language of the sentence; all rows of a task have one, or none.
    pub language: Option<String>,
}

impl TaggedRow {
    /// Returns the number of labelled tokens.
    pub fn labelled(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
    }
}

/// Returns the inputs with a labelled token as rows, and the number of other inputs.
///
/// # Errors
/// [`Error::Empty`] without a row.
pub(super) fn labelled_rows(inputs: &[NerInput]) -> Result<(Vec<TaggedRow>, usize)> {
    let row = |input: &NerInput| TaggedRow {
        input_ids: input.input_ids.clone(),
        labels: input.labels.clone(),
        language: None,
    };
    let mut rows: Vec<TaggedRow> = inputs.iter().map(row).collect();
    rows.retain(|row| row.labelled() > 0);
    match rows.is_empty() {
        true => Err(Error::empty("labelled sentences to train on")),
        false => {
            let unlabelled = inputs.len() - rows.len();
            Ok((rows, unlabelled))
        }
    }
}

/// Hidden states and logits of the labelled tokens of a batch, N in all.
pub(super) struct LabelledTokens {
    positions: MaskedPositions,
    /// `[B, L, H]`, in the model's precision.
    padded: Tensor,
    /// `[N, C]`, Float or Double.
    pub logits: Tensor,
    /// `[N]` i64, on the device of the logits.
    pub labels: Tensor,
}

impl LabelledTokens {
    /// Runs the encoder and the head with dropout.
    pub fn forward(model: &Model, rows: &[&TaggedRow]) -> Result<Self> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let mut inputs = Inputs::from_rows(&ids, model.config().pad_token_id)?;
        let languages: Option<Vec<&str>> = rows.iter().map(|row| row.language.as_deref()).collect();
        if let Some(languages) = languages {
            inputs = inputs.with_languages(languages);
        }
        let positions = target_positions(&labels, model.device())?;
        let padded = model.encode(&inputs, true)?;
        // Dropout depends on a token's position, so tokens are gathered after dropout.
        // [B, L, C]
        let logits = model.token_logits(&padded, true)?;
        let logits = positions.gather(&logits)?.f_to_kind(Kind::Float)?; // [N, C]
        let labels = upload(&positions.targets, logits.device())?;
        Ok(Self { positions, padded, logits, labels })
    }

    /// Returns the hidden states of the tokens, `[N, H]` Float.
    pub fn hidden(&self) -> Result<Tensor> {
        Ok(self.positions.gather(&self.padded)?.f_to_kind(Kind::Float)?)
    }
}

/// Models and inputs of the tasks' tests.
#[cfg(test)]
pub(super) mod testing {
    use tch::Device;
    use xlmr_model::{Config, Head};

    use super::*;

    /// A tagger without dropout.
    pub fn tagger(labels: i64) -> Model {
        tagger_of_seed(labels, 1)
    }

    pub fn tagger_of_seed(labels: i64, seed: u64) -> Model {
        let config = Config {
            hidden_size: 16,
            num_attention_heads: 2,
            num_hidden_layers: 2,
            intermediate_size: 32,
            max_position_embeddings: 60,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.3,
            ..Config::tiny(40)
        };
        Model::new(&config, &[Head::TokenClassification { labels }], Device::Cpu, seed).unwrap()
    }

    /// Rows of different lengths, with labels at some positions.
    pub fn inputs() -> Vec<NerInput> {
        let row = |sentence: usize, length: u32, step: usize| {
            let input_ids: Vec<u32> = (0..length).map(|k| 5 + (k * 7 + length) % 30).collect();
            let positions = (1..input_ids.len() - 1).step_by(step);
            let words: Vec<(usize, usize)> = positions.enumerate().collect();
            let mut labels = vec![IGNORE_INDEX; input_ids.len()];
            for &(word, position) in &words {
                labels[position] = (word % 5) as i64;
            }
            NerInput { sentence, input_ids, labels, words }
        };
        vec![row(0, 9, 2), row(1, 4, 1), row(2, 20, 3)]
    }
}
