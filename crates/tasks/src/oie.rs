//! Open information extraction by tagging: a tagger predicts the predicates of a sentence, and then the
//! arguments of each marked predicate.
//!
//! Multi²OIE (Ro et al. 2020), on which MT4CrossOIE (Yang et al. 2023) builds, has a head for predicates
//! and an attention block for arguments. Here one token classification head has the labels of both, and
//! marks around a predicate tell the encoder which arguments to tag.
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;
use transfer_eval::ner::{Labels, NerConfig, NerInput, Sentence, encode_ner, sentence_tags};
use transfer_eval::oie::{
    ARGUMENTS, MarkedPredicate, OieSentence, PREDICATE, argument_tags, check_marks,
    extraction_confidence, extractions_of_tags, marked_predicates, predicate_tags,
};
use xlmr_model::Model;

use crate::Result;
use crate::token_classification::{LabelProbability, best_labels_with_probabilities};

/// Options of [`training_inputs`] and [`extract`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OieConfig {
    /// Maximum number of pieces of an input, including special tokens and marks. Words beyond it have
    /// no tags. The default is MT4CrossOIE's.
    pub max_length: usize,
    /// The marks before and after a predicate. Both must be in the vocabulary.
    pub marks: [String; 2],
}

impl Default for OieConfig {
    fn default() -> Self {
        Self { max_length: 100, marks: ["@", "#"].map(str::to_owned) }
    }
}

impl OieConfig {
    fn encoding(&self) -> NerConfig {
        NerConfig { max_length: self.max_length }
    }
}

/// Returns the tags of a tagger: those of predicates and of up to four arguments.
pub fn oie_labels() -> Labels {
    let types: Vec<&str> = std::iter::once(PREDICATE).chain(ARGUMENTS).collect();
    Labels::iob2(&types)
}

/// Inputs of [`TokenClassificationTask`](crate::token_classification::TokenClassificationTask).
pub struct OieInputs {
    /// First the sentences with tagged predicates, then one input with tagged arguments for each
    /// extraction.
    pub inputs: Vec<NerInput>,
    /// Number of gold extractions.
    pub extractions: usize,
    /// Number of gold extractions whose arguments tags cannot represent
    /// ([`TaggedArguments`](transfer_eval::oie::TaggedArguments)); their inputs are missing.
    pub skipped: usize,
}

/// Encodes gold extractions for training.
///
/// # Errors
/// [`Error::Transfer`](crate::Error::Transfer) if a mark is not in the vocabulary.
pub fn training_inputs(
    gold: &[OieSentence],
    tokenizer: &Tokenizer,
    config: &OieConfig,
) -> Result<OieInputs> {
    check_marks(&config.marks, tokenizer)?;
    let arguments = argument_tags(gold, &config.marks);
    let extractions = arguments.sentences.len() + arguments.skipped;
    let mut sentences = predicate_tags(gold).sentences;
    sentences.extend(arguments.sentences.into_iter().map(|marked| marked.sentence));
    let inputs = encode_ner(&sentences, tokenizer, &oie_labels(), &config.encoding())?;
    Ok(OieInputs { inputs, extractions, skipped: arguments.skipped })
}

/// Extracts predicates and arguments from sentences, whose words are separated by spaces.
///
/// All sentences are in `language`, which a mixture of LoRA modules with a gate for each language
/// requires. Sentences without an extraction are not in the result.
///
/// # Errors
/// [`Error::Transfer`](crate::Error::Transfer) if a mark is not in the vocabulary; the errors of
/// [`best_labels_with_probabilities`].
///
/// # Example
/// ```
/// use tasks::oie::{OieConfig, extract, oie_labels};
/// use tasks::token_classification;
/// use xlmr_model::{LoadOptions, Pretrained};
///
/// let head = token_classification::head(&oie_labels());
/// let options = LoadOptions::default();
/// let (tagger, _) = Pretrained::load("../../data/base", &[head], tch::Device::Cpu, options)?;
/// let marks = ["§", "°"].map(String::from); // in this vocabulary
/// let config = OieConfig { marks, ..OieConfig::default() };
/// let sentences = ["Ada wrote the first program ."];
/// let found = extract(&tagger.model, &tagger.tokenizer, &sentences, Some("en"), &config, 8)?;
/// assert!(found.iter().all(|sentence| sentence.text == sentences[0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn extract(
    model: &Model,
    tokenizer: &Tokenizer,
    sentences: &[&str],
    language: Option<&str>,
    config: &OieConfig,
    batch_size: usize,
) -> Result<Vec<OieSentence>> {
    check_marks(&config.marks, tokenizer)?;
    let tagger = Tagger { model, tokenizer, labels: oie_labels(), language, config, batch_size };
    let untagged = |text: &&str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        Sentence::new(&words, &vec!["O"; words.len()])
    };
    let (sentences, predicates) = tagger.tag(sentences.iter().map(untagged).collect())?;
    let mut marked = marked_predicates(&sentences, &config.marks);
    let untagged = marked.iter().map(|marked| marked.sentence.clone()).collect();
    let (tagged, arguments) = tagger.tag(untagged)?;
    let mut confidences = Vec::with_capacity(marked.len());
    for ((marked, tagged), words) in marked.iter_mut().zip(tagged).zip(&arguments) {
        let MarkedPredicate { sentence, source, predicate } = marked;
        let predicate = predicates[*source][predicate.start];
        confidences.push(extraction_confidence(predicate, &tagged.tags, words));
        *sentence = tagged;
    }
    Ok(extractions_of_tags(&marked, &confidences)?)
}

struct Tagger<'a> {
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    labels: Labels,
    language: Option<&'a str>,
    config: &'a OieConfig,
    batch_size: usize,
}

impl Tagger<'_> {
    /// Tags sentences, and returns the probability of each word's tag; 1 for the tag `O` of a truncated
    /// word.
    fn tag(&self, sentences: Vec<Sentence>) -> Result<(Vec<Sentence>, Vec<Vec<f64>>)> {
        let encoding = self.config.encoding();
        let inputs = encode_ner(&sentences, self.tokenizer, &self.labels, &encoding)?;
        let rows: Vec<&[u32]> = inputs.iter().map(|input| &*input.input_ids).collect();
        let predicted =
            best_labels_with_probabilities(self.model, &rows, self.language, self.batch_size)?;
        let mut probabilities: Vec<Vec<f64>> =
            sentences.iter().map(|sentence| vec![1.0; sentence.words.len()]).collect();
        for (input, tokens) in inputs.iter().zip(&predicted) {
            for &(word, position) in &input.words {
                probabilities[input.sentence][word] = f64::from(tokens[position].probability);
            }
        }
        let labels: Vec<Vec<usize>> = predicted
            .iter()
            .map(|row| row.iter().map(|one: &LabelProbability| one.label).collect())
            .collect();
        let tags = sentence_tags(&sentences, &inputs, &labels, &self.labels)?;
        let tagged = sentences.into_iter().zip(tags).map(|(sentence, tags)| {
            let tags = tags.into_iter().map(|tag| tag.unwrap_or_else(|| "O".into())).collect();
            Sentence { tags, ..sentence }
        });
        Ok((tagged.collect(), probabilities))
    }
}
