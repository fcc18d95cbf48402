//! Named entity recognition: files, inputs for a tagger, entity-level scores.
mod average;
mod detect;
mod encode;
mod entity;
mod labels;
mod read;
mod score;
mod spans;
mod tag;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;

pub use encode::{IGNORE_INDEX, NerConfig, NerInput, encode_ner, sentence_tags};
pub use entity::{Entity, Scheme, find_entities};
pub use labels::Labels;
pub use read::{NerFormat, Sentence, read_ner, read_ner_with_format, write_ner};
pub use score::{EntityScore, NerScore, score_ner};
pub use spans::{
    LabelNames, LabelledSpan, SpanText, read_label_names, read_spans, rename_labels, score_spans,
};
