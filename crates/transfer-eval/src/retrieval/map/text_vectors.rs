//! Vectors of texts from a model's word embeddings alone, to have vectors without running a model.
use std::path::Path;

use ndarray::{Array1, Array2};
use tokenizers::Tokenizer;

use super::{WordVectors, arrays};
use crate::files::{numbered, read_rows};
use crate::{Error, Result};

/// The tensor of the word embeddings in XLM-R, BERT and ModernBERT.
const EMBEDDINGS: [&str; 3] = [
    "roberta.embeddings.word_embeddings.weight",
    "bert.embeddings.word_embeddings.weight",
    "model.embeddings.tok_embeddings.weight",
];

/// Texts with their names: `name<TAB>text` a line.
///
/// # Errors
/// [`Error::Read`]; [`Error::Line`] naming the line; [`Error::Content`] if there is none.
pub fn read_texts(path: impl AsRef<Path>) -> Result<Vec<(String, String)>> {
    let path = path.as_ref();
    let mut texts = Vec::new();
    for (number, line) in numbered(&read_rows(path)?) {
        let Some((name, text)) = line.split_once('\t') else {
            return Err(Error::line(path, number, "no tab; expected a name and a text"));
        };
        texts.push((name.to_owned(), text.to_owned()));
    }
    named(path, texts)
}

/// The entities' labels in `language` by their ids, from a `labels.tsv` (`id lang label kind`).
///
/// # Errors
/// [`Error::Read`]; [`Error::Line`] naming the line; [`Error::Content`] if there is none.
pub fn read_labels(path: impl AsRef<Path>, language: &str) -> Result<Vec<(String, String)>> {
    let path = path.as_ref();
    let mut texts = Vec::new();
    for (number, line) in numbered(&read_rows(path)?) {
        match (number, line.split('\t').collect::<Vec<_>>().as_slice()) {
            (1, ["id", "lang", "label", ..]) => {}
            (1, _) => {
                let message = format!("`{line}`; expected the columns id, lang, label");
                return Err(Error::line(path, 1, message));
            }
            (_, &[_, _, _, "relation"]) => {}
            (_, &[id, lang, label, ..]) if lang.eq_ignore_ascii_case(language) => {
                texts.push((id.to_owned(), label.to_owned()));
            }
            (_, [_, _, _, ..]) => {}
            _ => return Err(Error::line(path, number, "fewer cells than id, lang, label")),
        }
    }
    named(path, texts)
}

fn named(path: &Path, texts: Vec<(String, String)>) -> Result<Vec<(String, String)>> {
    match texts.is_empty() {
        true => Err(Error::content(path, "no text")),
        false => Ok(texts),
    }
}

impl WordVectors {
    /// The mean word embedding of each text's tokens, special tokens left out: how the label
    /// retrieval of the recipes sees labels before it centers them. `folder` holds the model.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Content`] naming the model's file and tensor; [`Error::Tokenizer`]
    /// naming the text, also where it has no token or one that has no embedding; [`Error::Array`]
    /// without a text.
    pub fn of_texts(
        texts: &[(String, String)],
        folder: &Path,
        tokenizer: &Tokenizer,
    ) -> Result<Self> {
        let path = folder.join("model.safetensors");
        let embeddings = arrays::read_tensor(&path, &EMBEDDINGS, usize::MAX)?;
        let mut values = Vec::with_capacity(texts.len() * embeddings.ncols());
        for (name, text) in texts {
            let wrong = |message: String| Error::Tokenizer(format!("`{name}`: {message}"));
            let encoding = tokenizer
                .encode_fast(text.as_str(), false)
                .map_err(|error| wrong(error.to_string()))?;
            let ids = encoding.get_ids();
            if ids.is_empty() {
                return Err(wrong("no token".into()));
            }
            let mut sum = Array1::<f64>::zeros(embeddings.ncols());
            for &id in ids {
                let row = usize::try_from(id).unwrap_or(usize::MAX);
                if row >= embeddings.nrows() {
                    let message =
                        format!("token {id}, but there are {} embeddings", embeddings.nrows());
                    return Err(wrong(message + "; is it the model's tokenizer?"));
                }
                sum.zip_mut_with(&embeddings.row(row), |sum, &value| *sum += f64::from(value));
            }
            values.extend(sum.iter().map(|sum| (sum / ids.len() as f64) as f32));
        }
        let vectors = Array2::from_shape_vec((texts.len(), embeddings.ncols()), values)
            .map_err(|error| Error::array("texts", error.to_string()))?;
        Self::new(texts.iter().map(|(name, _)| name.clone()).collect(), vectors)
    }
}
