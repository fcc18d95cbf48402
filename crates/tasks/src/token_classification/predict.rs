//! Prediction and scoring of tags by a trained model.
use tch::Kind;
use tokenizers::Tokenizer;
use torch_ext::to_usize;
use transfer_eval::ner::{
    Labels, NerConfig, NerInput, NerScore, Scheme, Sentence, encode_ner, score_ner, sentence_tags,
};
use xlmr_model::Model;

use crate::{Result, inference};

/// Predicts a label in `0..C` for every token of each row, including special tokens, in the order
/// of the rows.
///
/// # Errors
/// If the model has no token classification head or rejects an input;
/// [`Error::Data`](crate::Error::Data) if a logit is not finite;
/// [`Error::Config`](crate::Error::Config) if `batch_size` is 0.
///
/// # Example
/// ```
/// use tasks::token_classification::best_labels;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::TokenClassification { labels: 5 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let labels = best_labels(&model, &[&[0, 11, 12, 2], &[0, 13, 2]], 8)?;
/// assert_eq!(labels.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3]);
/// assert!(labels.concat().iter().all(|&label| label < 5));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn best_labels(model: &Model, rows: &[&[u32]], batch_size: usize) -> Result<Vec<Vec<usize>>> {
    inference::map_rows(model, rows, batch_size, |indices, _, hidden| {
        let labels = inference::argmax_rows(model.token_logits(hidden, false)?)?;
        let (_, length, _) = hidden.size3()?;
        let padded_rows = labels.chunks_exact(to_usize(length)).zip(indices);
        Ok(padded_rows.map(|(labels, &row)| labels[..rows[row].len()].to_vec()).collect())
    })
}

/// A predicted label and its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelProbability {
    /// The label, in `0..C`.
    pub label: usize,
    /// Its probability, from 1 / C to 1.
    pub probability: f32,
}

/// Predicts a label and its probability for every token of each row, including special tokens, in
/// the order of the rows. All rows are in `language`, which a mixture of LoRA modules with a gate for
/// each language ([`LoraMixtureConfig`](xlmr_model::LoraMixtureConfig)) requires.
///
/// # Errors
/// The errors of [`best_labels`].
///
/// # Example
/// ```
/// use tasks::token_classification::best_labels_with_probabilities;
/// use xlmr_model::{Config, Head, Model};
///
/// let head = Head::TokenClassification { labels: 5 };
/// let model = Model::new(&Config::tiny(50), &[head], tch::Device::Cpu, 1)?;
/// let rows = best_labels_with_probabilities(&model, &[&[0, 11, 2]], Some("en"), 8)?;
/// assert!(rows[0].iter().all(|token| token.label < 5 && token.probability > 0.2));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn best_labels_with_probabilities(
    model: &Model,
    rows: &[&[u32]],
    language: Option<&str>,
    batch_size: usize,
) -> Result<Vec<Vec<LabelProbability>>> {
    inference::map_rows_in_language(model, rows, language, batch_size, |indices, _, hidden| {
        let logits = inference::check_finite(model.token_logits(hidden, false)?)?;
        let lengths: Vec<usize> = indices.iter().map(|&row| rows[row].len()).collect();
        let labels = inference::argmax_rows(logits.shallow_clone())?;
        let (greatest, _) = logits.f_softmax(-1, Kind::Float)?.f_max_dim(-1, false)?; // [B, L]
        let probabilities = inference::to_lists(&greatest, &lengths)?;
        let (_, length, _) = hidden.size3()?;
        let padded_labels = labels.chunks_exact(to_usize(length));
        let row = |(labels, probabilities): (&[usize], Vec<f32>)| {
            let tokens = labels.iter().zip(probabilities);
            tokens
                .map(|(&label, probability)| LabelProbability { label, probability })
                .collect::<Vec<_>>()
        };
        Ok(padded_labels.zip(probabilities).map(row).collect())
    })
}

/// Sentences with gold tags, encoded for one tokenizer.
///
/// # Example
/// ```
/// use tasks::token_classification::EncodedSentences;
/// use transfer_eval::ner::{Labels, NerConfig, Sentence};
/// use xlmr_model::{Config, Head, Model};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
///
/// // let tokenizer = xlmr_model::read_tokenizer("xlm-roberta-base")?;
/// let labels = Labels::iob2(&["LOC", "MISC", "ORG", "PER"]);
/// let head = Head::TokenClassification { labels: 9 };
/// let vocab_size = i64::try_from(tokenizer.get_vocab_size(true)).unwrap();
/// let model = Model::new(&Config::tiny(vocab_size), &[head], tch::Device::Cpu, 1)?;
/// let sentence = Sentence::new(&["Paris", "sleeps"], &["B-LOC", "O"]);
/// let sentences =
///     EncodedSentences::new(vec![sentence], &tokenizer, &labels, &NerConfig::default())?;
/// let tagged = sentences.predict(&model, &labels, 32)?;
/// assert_eq!(tagged.sentences[0].tags.len(), 2);
/// # Ok::<(), tasks::Error>(())
/// ```
pub struct EncodedSentences {
    /// The sentences.
    pub sentences: Vec<Sentence>,
    /// One or more inputs for each sentence, in the order of `sentences`.
    pub inputs: Vec<NerInput>,
}

/// Predictions for [`EncodedSentences`].
pub struct TaggedSentences {
    /// The sentences with predicted tags, in order; truncated words have the tag `O`.
    pub sentences: Vec<Sentence>,
    /// Entity-level scores; truncated words count as missed.
    pub score: NerScore,
}

impl EncodedSentences {
    /// Encodes the sentences with the tokenizer.
    ///
    /// # Errors
    /// [`Error::Transfer`](crate::Error::Transfer) naming the sentence and line of a tag that is
    /// not in `labels`.
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
    /// The errors of [`best_labels`]; [`Error::Transfer`](crate::Error::Transfer) if the head has
    /// more labels than `labels`.
    pub fn predict(
        &self,
        model: &Model,
        labels: &Labels,
        batch_size: usize,
    ) -> Result<TaggedSentences> {
        let rows: Vec<&[u32]> =
            self.inputs.iter().map(|input| input.input_ids.as_slice()).collect();
        let predicted = best_labels(model, &rows, batch_size)?;
        let tags = sentence_tags(&self.sentences, &self.inputs, &predicted, labels)?;
        let score = score_ner(&self.sentences, &tags, Scheme::Lenient)?;
        let sentences = self.sentences.iter().zip(tags);
        let sentences = sentences
            .map(|(gold, tags)| Sentence {
                tags: tags.into_iter().map(|tag| tag.unwrap_or_else(|| "O".into())).collect(),
                ..gold.clone()
            })
            .collect();
        Ok(TaggedSentences { sentences, score })
    }
}
