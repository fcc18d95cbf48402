//! Word vectors from the token embeddings of an encoder, which is not run.
use std::path::Path;

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};

use super::WordVectors;
use crate::{Error, Result};

/// Ends of the names of token embeddings: of BERT, XLM-R, ELECTRA and DeBERTa, of ModernBERT, and of
/// EuroBERT.
const NAMES: [&str; 3] = ["word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight"];

impl WordVectors {
    /// Computes the vector of each word as the mean of the embeddings of its tokens. `folder` is a
    /// model folder with `model.safetensors` and a tokenizer.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] naming the file if it has no float32 token embeddings or
    /// several; [`Error::Tokenizer`] for a word without a token, or with a token that has no
    /// embedding; [`Error::Array`] without a word, or if a word is repeated.
    pub fn from_token_embeddings(folder: impl AsRef<Path>, words: Vec<String>) -> Result<Self> {
        let folder = folder.as_ref();
        let tokenizer =
            tokenizer_file::read(folder).map_err(|error| Error::Tokenizer(error.to_string()))?;
        let path = folder.join("model.safetensors");
        let bytes = atomic_file::fs::read(&path)?;
        atomic_file::report_opened(&path);
        let (rows, embeddings) = find_embeddings(&bytes, &path)?;
        let width = embeddings.len() / rows;
        let mut vectors = Array2::zeros((words.len(), width / size_of::<f32>()));
        for (word, mut vector) in std::iter::zip(&words, vectors.outer_iter_mut()) {
            let error = |message: String| Error::Tokenizer(format!("`{word}`: {message}"));
            let encoding = tokenizer
                .encode_fast(word.as_str(), false)
                .map_err(|cause| error(cause.to_string()))?;
            let ids = encoding.get_ids();
            let mut sums = vec![0.0_f64; vector.len()];
            for &id in ids {
                let start = id as usize * width;
                let Some(embedding) = embeddings.get(start..start + width) else {
                    let message = format!("token {id}, but {} has {rows} rows", path.display());
                    return Err(error(message + "; is this the model's tokenizer?"));
                };
                let values = embedding.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(value));
            }
            if ids.is_empty() {
                return Err(error("no token".to_owned()));
            }
            vector.zip_mut_with(&ndarray::aview1(&sums), |slot, sum| {
                *slot = (sum / ids.len() as f64) as f32;
            });
        }
        Self::new(words, vectors)
    }
}

/// Returns the number of rows and the data of the token embeddings.
fn find_embeddings<'b>(bytes: &'b [u8], path: &Path) -> Result<(usize, &'b [u8])> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Error::content(path, format!("not a safetensors file: {error}")))?;
    let is_embedding = |name: &str| NAMES.iter().any(|end| name.ends_with(end));
    let mut names: Vec<&str> = file.names().into_iter().filter(|name| is_embedding(name)).collect();
    names.sort_unstable();
    let &[name] = names.as_slice() else {
        let message = format!(
            "{} tensors of token embeddings ({}); expected one whose name ends with {}",
            names.len(),
            names.join(", "),
            NAMES.join(", ")
        );
        return Err(Error::content(path, message));
    };
    let tensor = file.tensor(name).map_err(|error| Error::content(path, error.to_string()))?;
    match (tensor.shape(), tensor.dtype()) {
        (&[rows, width], Dtype::F32) if rows * width > 0 => Ok((rows, tensor.data())),
        (shape, dtype) => {
            let message =
                format!("`{name}` is {dtype:?} of shape {shape:?}; expected F32 [rows, D]");
            Err(Error::content(path, message))
        }
    }
}
