//! BM25 (Robertson and Zaragoza 2009) over words, the baseline without an encoder.
use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};
use unicode_segmentation::UnicodeSegmentation;

use crate::data::Inputs;
use crate::recipe::Recipe;
use crate::report::PairRanks;

/// Splits a text into lower-case words by UAX #29; each Han or Hiragana character is a word.
#[derive(Default)]
pub struct WordTokenizer;

impl Tokenizer for WordTokenizer {
    fn tokenize(&self, text: &str) -> Vec<String> {
        text.unicode_words().map(str::to_lowercase).collect()
    }
}

/// Computes the ranks of the paragraphs of held-out questions, for all pairs of languages.
/// Paragraphs with the same score as the correct paragraph rank before it.
pub fn paragraph_ranks(recipe: &Recipe, inputs: &Inputs) -> Vec<PairRanks> {
    let mut pairs = Vec::new();
    for (&candidate, paragraphs) in &inputs.paragraphs {
        let prefix = recipe.prefixes.passage.as_str();
        let texts: Vec<&str> =
            paragraphs.iter().map(|text| text.strip_prefix(prefix).unwrap_or(text)).collect();
        let embedder: Embedder<u32, WordTokenizer> =
            EmbedderBuilder::with_tokenizer_and_fit_to_corpus(WordTokenizer, &texts).build();
        let mut scorer = Scorer::new();
        for (index, text) in texts.iter().enumerate() {
            scorer.upsert(&index, embedder.embed(text));
        }
        for (&query, questions) in &inputs.question_texts {
            let held_out = inputs.questions.iter().zip(questions).filter(|(q, _)| q.held_out);
            let rank = |(question, text): (&crate::data::Question, &String)| {
                let text = text.strip_prefix(&recipe.prefixes.query).unwrap_or(text);
                let matches = scorer.matches(&embedder.embed(text));
                match matches.iter().find(|m| m.id == question.paragraph) {
                    Some(gold) => matches.iter().filter(|m| m.score >= gold.score).count(),
                    None => texts.len(),
                }
            };
            pairs.push(PairRanks { query, candidate, ranks: held_out.map(rank).collect() });
        }
    }
    pairs
}
