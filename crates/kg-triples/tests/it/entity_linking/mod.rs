//! Tests of linked texts: JSONL, WikiExtractor, pages of entities, and label matching.

mod labels;
mod pages;
mod text;
mod wiki;

use kg_triples::Language;
use kg_triples::entity_linking::Mention;

fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

/// The code points of a mention.
fn slice(text: &str, mention: &Mention) -> String {
    text.chars().skip(mention.start).take(mention.end - mention.start).collect()
}
