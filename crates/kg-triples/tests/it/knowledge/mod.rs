//! Tests of mention examples, entailment examples, the mix of languages, and text pairs.

mod descriptions;
mod entailment;
mod entailment_split;
mod mention_hold_out;
mod mentions;
mod mix;
mod pairs;

use std::sync::LazyLock;

use kg_triples::KnowledgeGraph;
use kg_triples::knowledge::Descriptions;
use tokenizers::Tokenizer;

use crate::common::language;

/// The tokenizer of the fixtures, which is read only once.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(crate::common::tokenizer);
    &TOKENIZER
}

/// Decodes token ids and removes spaces.
fn decode(ids: &[u32]) -> String {
    tokenizer().decode(ids, false).unwrap().replace(' ', "")
}

/// Returns descriptions in which the text of an entity is its label.
fn label_texts(graph: &KnowledgeGraph) -> Descriptions {
    let mut descriptions = Descriptions::default();
    for id in graph.entities() {
        for language in graph.languages() {
            if let Some(label) = graph.label(id, language.as_str()) {
                descriptions.add(id, *language, label).unwrap();
            }
        }
    }
    descriptions
}

/// Returns descriptions of entities, each given with its languages. A text contains the entity and
/// the language.
fn describe(entities: &[(&str, &[&str])]) -> Descriptions {
    let mut descriptions = Descriptions::default();
    for (entity, languages) in entities {
        for code in *languages {
            let text = format!("{entity} in the words of {code}, one two three four five six");
            descriptions.add(entity, language(code), &text).unwrap();
        }
    }
    descriptions
}
