//! Mapping of a model's classes to tags.
use std::path::Path;

use torch_ext::to_i64;
use transfer_eval::ner::Labels;
use xlmr_model::{Config, Head};

use crate::Result;

/// Creates the head with a class for each label.
///
/// # Example
/// ```
/// use tasks::token_classification::head;
/// use transfer_eval::ner::Labels;
/// use xlmr_model::Head;
///
/// let head = head(&Labels::iob2(&["LOC", "PER"])); // O, B-LOC, I-LOC, B-PER, I-PER
/// assert!(matches!(head, Head::TokenClassification { labels: 5 }));
/// ```
pub fn head(labels: &Labels) -> Head {
    Head::TokenClassification { labels: to_i64(labels.len()) }
}

/// Writes label names to the `config.json` of a saved model (`id2label`).
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) if `config.json` cannot be read or written.
pub fn write_label_names(folder: impl AsRef<Path>, labels: &Labels) -> Result<()> {
    let path = folder.as_ref().join("config.json");
    let id2label = (0..).zip(labels.tags().iter().cloned()).collect();
    let config = Config { id2label: Some(id2label), ..Config::from_file(&path)? };
    Ok(config.write(&path)?)
}
