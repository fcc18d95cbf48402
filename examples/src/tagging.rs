//! Token classification: training on tagged sentences, and tagging others.
use anyhow::Result;
use objectives::tch::{Device, Kind, Reduction, Tensor};
use objectives::{IGNORE_INDEX, masked_positions};
use tokenizers::Tokenizer;
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, pad_mask, pad_rows};
use transfer_eval::ner::{
    Labels, LostWords, NerConfig, NerInput, NerScore, Scheme, Sentence, encode_ner, score_ner,
    sentence_tags,
};
use transfer_eval::xlmr::best_labels;
use xlmr_model::{Inputs, Model};

/// Tagged sentences as a training task for a model with a token classification head: cross-entropy in nats, the mean over the
/// batch's labelled tokens.
pub struct TaggingTask<'a> {
    model: &'a Model,
    rows: Vec<Row>,
    lengths: Vec<usize>,
}

struct Row {
    input_ids: Vec<i64>,
    labels: Vec<i64>,
}

impl<'a> TaggingTask<'a> {
    /// Inputs without a labelled token are left out.
    pub fn new(model: &'a Model, inputs: &[NerInput]) -> Self {
        let rows: Vec<Row> = inputs
            .iter()
            .filter(|input| input.labels.iter().any(|&label| label != IGNORE_INDEX))
            .map(|input| Row {
                input_ids: input.input_ids.iter().map(|&id| i64::from(id)).collect(),
                labels: input.labels.clone(),
            })
            .collect();
        let lengths = rows.iter().map(|row| row.input_ids.len()).collect();
        Self { model, rows, lengths }
    }
}

impl Task for TaggingTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        for Row { input_ids, labels } in &self.rows {
            fingerprint.ids("input_ids", input_ids).ids("labels", labels);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows: Vec<&Row> = step.batch.iter().filter_map(|&k| self.rows.get(k)).collect();
        let ids: Vec<&[i64]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let pad = self.model.config().pad_token_id;
        let inputs = Inputs {
            attention_mask: pad_mask(&ids, Device::Cpu)?,
            ..Inputs::new(pad_rows(&ids, pad, Device::Cpu)?)
        };
        let labelled = masked_positions(&pad_rows(&labels, IGNORE_INDEX, self.model.device())?)?;
        let hidden = labelled.gather(&self.model.encode(&inputs, true)?)?; // [N, H]
        let logits = self.model.token_logits(&hidden, true)?.f_to_kind(Kind::Float)?; // [N, C]
        let targets = labelled.targets.f_to_device(logits.device())?;
        let loss = logits.f_cross_entropy_loss(
            &targets,
            None::<&Tensor>,
            Reduction::Mean,
            IGNORE_INDEX,
            0.0,
        )?;
        Ok(StepLosses::single("tagging", loss))
    }
}

/// Gold sentences of one language, encoded for one tokenizer.
pub struct Tagged {
    /// As read.
    pub sentences: Vec<Sentence>,
    /// One or more for each sentence.
    pub inputs: Vec<NerInput>,
}

/// What a tagger gave for [`Tagged`].
pub struct Tagging {
    /// The sentences with the predicted tags in place of the gold ones; `O` for words that were not shown.
    pub sentences: Vec<Sentence>,
    /// Entity-level scores; words that were not shown count as missed.
    pub score: NerScore,
}

impl Tagged {
    /// Encodes sentences.
    ///
    /// # Errors
    /// Naming the sentence and line of a tag that is none of `labels`.
    pub fn new(
        sentences: Vec<Sentence>,
        tokenizer: &Tokenizer,
        labels: &Labels,
        config: &NerConfig,
    ) -> Result<Self> {
        let inputs = encode_ner(&sentences, tokenizer, labels, config)?;
        Ok(Self { sentences, inputs })
    }

    /// Tags the sentences and scores the tags.
    ///
    /// # Errors
    /// If the model fails or its logits are not finite.
    pub fn tag(&self, model: &Model, labels: &Labels, batch_size: usize) -> Result<Tagging> {
        let best = best_labels(model, &self.inputs, batch_size)?;
        let tags = sentence_tags(&self.sentences, &self.inputs, &best, labels)?;
        let score = score_ner(&self.sentences, &tags, LostWords::Missed, Scheme::Lenient)?;
        let sentences = self.sentences.iter().zip(tags);
        let sentences = sentences
            .map(|(gold, tags)| Sentence {
                tags: tags.into_iter().map(|tag| tag.unwrap_or_else(|| "O".into())).collect(),
                ..gold.clone()
            })
            .collect();
        Ok(Tagging { sentences, score })
    }
}

#[cfg(test)]
mod tests {
    use xlmr_model::{Config, Head};

    use super::*;

    fn tagger(labels: i64) -> Model {
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
        Model::new(&config, &[Head::TokenClassification { labels }], Device::Cpu, 1).unwrap()
    }

    /// Rows of different lengths, with labels at some places.
    fn inputs() -> Vec<NerInput> {
        let row = |sentence: usize, length: u32, every: usize| {
            let input_ids: Vec<u32> = (0..length).map(|k| 5 + (k * 7 + length) % 30).collect();
            let labelled = (1..input_ids.len() - 1).step_by(every);
            let words: Vec<(usize, usize)> = labelled.enumerate().collect();
            let mut labels = vec![IGNORE_INDEX; input_ids.len()];
            for &(word, place) in &words {
                labels[place] = (word % 5) as i64;
            }
            NerInput { sentence, input_ids, labels, words }
        };
        vec![row(0, 9, 2), row(1, 4, 1), row(2, 20, 3)]
    }

    fn loss(model: &Model, inputs: &[NerInput], batch: &[usize]) -> Tensor {
        let mut task = TaggingTask::new(model, inputs);
        let rng = trainer::rng_for(0, "test", 0);
        let mut step = Step { batch, number: 0, total: 1, rng };
        task.losses(&mut step).unwrap().total
    }

    /// Each row by itself, unpadded; each labelled token by itself, in float64.
    fn by_loop(model: &Model, inputs: &[NerInput], batch: &[usize]) -> f64 {
        let mut losses = Vec::new();
        for input in batch.iter().map(|&k| &inputs[k]) {
            let ids: Vec<i64> = input.input_ids.iter().map(|&id| i64::from(id)).collect();
            let inputs = Inputs::new(Tensor::from_slice(&ids).unsqueeze(0));
            let hidden = model.encode(&inputs, false).unwrap();
            let logits = model.token_logits(&hidden, false).unwrap().squeeze_dim(0);
            let logits = Vec::<Vec<f64>>::try_from(logits.to_kind(Kind::Double)).unwrap();
            for (row, &label) in logits.iter().zip(&input.labels) {
                if label != IGNORE_INDEX {
                    let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
                    losses.push(sum.ln() - row[label as usize]);
                }
            }
        }
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    #[test]
    fn labels_and_losses_ignore_the_same_value() {
        assert_eq!(transfer_eval::ner::IGNORE_INDEX, IGNORE_INDEX);
    }

    #[test]
    fn the_loss_is_that_of_a_loop_over_labelled_tokens() {
        let (model, inputs) = (tagger(5), inputs());
        for batch in [&[0, 1, 2][..], &[2, 0], &[1]] {
            let (got, want) =
                (loss(&model, &inputs, batch).double_value(&[]), by_loop(&model, &inputs, batch));
            assert!((got - want).abs() < 1e-5, "{batch:?}: got {got}, want {want}");
        }
        // The mean over tokens is not the mean over rows' means.
        let rows: f64 = (0..3).map(|k| by_loop(&model, &inputs, &[k])).sum::<f64>() / 3.0;
        assert!((rows - by_loop(&model, &inputs, &[0, 1, 2])).abs() > 1e-3);
    }

    #[test]
    fn the_gradient_is_that_of_a_difference_quotient() {
        let mut model = tagger(5);
        model.set_kind(Kind::Double).unwrap();
        let inputs = inputs();
        loss(&model, &inputs, &[0, 1, 2]).backward();
        let classifier = "classifier.bias";
        let parameters = model.named_parameters();
        let (_, bias) = parameters.iter().find(|(name, _)| name == classifier).unwrap();
        let gradient = Vec::<f64>::try_from(bias.grad()).unwrap();
        for (k, got) in gradient.iter().enumerate() {
            let at = |shift: f64| {
                let mut one = bias.detach().get(k as i64);
                let _ = one.g_add_scalar_(shift);
                let value = by_loop(&model, &inputs, &[0, 1, 2]);
                let _ = one.g_add_scalar_(-shift);
                value
            };
            let want = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((got - want).abs() < 1e-6, "bias {k}: got {got}, want {want}");
        }
    }

    #[test]
    fn rows_without_a_label_are_left_out() {
        let model = tagger(5);
        let mut inputs = inputs();
        inputs[1].labels.fill(IGNORE_INDEX);
        let mut task = TaggingTask::new(&model, &inputs);
        assert_eq!(task.examples().lengths(), Some([9, 20].as_slice()));
        let got = loss(&model, &inputs, &[0, 1]).double_value(&[]);
        assert!((got - by_loop(&model, &inputs, &[0, 2])).abs() < 1e-5);
    }
}
