//! A small vocabulary trained on the corpus and the labels of a knowledge graph.
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use anyhow::{Result, anyhow};
use kg_triples::KnowledgeGraph;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokenizers::decoders::metaspace::Metaspace as MetaspaceDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::unicode::NFKC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder,
};

use crate::Corpus;

/// The languages of the text and of the labels: the seven languages of MLQA.
pub const LANGUAGES: [&str; 7] = ["en", "de", "es", "ar", "hi", "vi", "zh"];

/// Special tokens in the order of their ids.
const SPECIALS: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// Options of the vocabulary.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct VocabularyConfig {
    /// Number of tokens in the vocabulary.
    pub size: usize,
    /// Number of bytes of text per language.
    pub bytes_per_language: usize,
    /// Number of copies of each label in the training text. With enough copies, most labels become
    /// one or two tokens.
    pub label_copies: usize,
    /// Maximum number of different characters.
    pub alphabet: usize,
    /// Random seed for selecting texts.
    pub seed: u64,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        Self {
            size: 4_000,
            bytes_per_language: 1_500_000,
            label_copies: 400,
            alphabet: 2_500,
            seed: 0,
        }
    }
}

/// Trains a byte-pair vocabulary with the special tokens and pair layout of XLM-R.
///
/// # Errors
/// If training fails.
pub fn train(
    config: &VocabularyConfig,
    corpus: &Corpus,
    graph: &KnowledgeGraph,
) -> Result<Tokenizer> {
    let mut text: Vec<String> = Vec::new();
    for language in LANGUAGES {
        let mut paragraphs: Vec<&String> = corpus.get(language).into_iter().flatten().collect();
        paragraphs.shuffle(&mut trainer::rng_for(config.seed, language, 0));
        let mut bytes = 0;
        for paragraph in paragraphs {
            text.push(paragraph.clone());
            bytes += paragraph.len();
            if bytes > config.bytes_per_language {
                break;
            }
        }
        for id in graph.entities().chain(graph.relations()) {
            if let Some(label) = graph.label(id, language) {
                text.push(vec![label; config.label_copies].join(" "));
            }
        }
    }
    let training_error = |error: tokenizers::Error| anyhow!("training the vocabulary: {error}");
    let pre_tokenizer = Sequence::new(vec![
        PreTokenizerWrapper::WhitespaceSplit(WhitespaceSplit),
        PreTokenizerWrapper::Punctuation(Punctuation::new(SplitDelimiterBehavior::Isolated)),
        PreTokenizerWrapper::Metaspace(Metaspace::new('▁', PrependScheme::Never, true)),
    ]);
    let model = BPE::builder().unk_token("<unk>".into()).build().map_err(training_error)?;
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(Some(NFKC))
        .with_pre_tokenizer(Some(pre_tokenizer))
        .with_decoder(Some(MetaspaceDecoder::new('▁', PrependScheme::Never, true)))
        .with_post_processor(None::<TemplateProcessing>)
        .build()
        .map_err(training_error)?;
    let alphabet = alphabet(&text, config.alphabet).map_err(training_error)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(config.size)
        .min_frequency(2)
        .limit_alphabet(alphabet.len())
        .initial_alphabet(alphabet)
        .show_progress(false)
        .special_tokens(SPECIALS.map(|token| AddedToken::from(token, true)).into())
        .build();
    tokenizer.train(&mut trainer, text.into_iter()).map_err(training_error)?;
    let template = TemplateProcessing::builder()
        .try_single("<s> $A </s>")
        .and_then(|builder| builder.try_pair("<s> $A </s> </s>:1 $B:1 </s>:1"))
        .map_err(|error| anyhow!("template: {error}"))?
        .special_tokens(vec![("<s>", 0), ("</s>", 2)])
        .build()
        .map_err(|error| anyhow!("template: {error}"))?;
    tokenizer.with_post_processor(Some(template));
    Ok(tokenizer.into())
}

/// Returns the most frequent characters; ties are broken by code point. The characters are selected
/// here, because `BpeTrainer`'s selection among equally frequent characters differs between runs.
fn alphabet(text: &[String], max_count: usize) -> tokenizers::Result<HashSet<char>> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for line in text {
        let mut line = NormalizedString::from(line.as_str());
        NFKC.normalize(&mut line)?;
        for character in line.get().chars().filter(|character| !character.is_whitespace()) {
            *counts.entry(character).or_default() += 1;
        }
    }
    let mut sorted: Vec<(char, u64)> = counts.into_iter().collect();
    sorted.sort_unstable_by_key(|&(character, count)| (Reverse(count), character));
    Ok(sorted.into_iter().take(max_count).map(|(character, _)| character).collect())
}
