//! Storage of passage embeddings in a file, so that later runs embed only new passages.
use std::path::Path;

use serde_json::json;
use tch::{Kind, Tensor};
use torch_ext::{TensorFile, to_i64, to_usize, write_tensors};

use crate::retriever::{Key, Vector};
use crate::{Error, Result, Retriever};

/// Text whose embedding identifies the encoder.
const PROBE: &str = "Where is the capital of Peru? 秘鲁的首都在哪里？";

/// Tolerance per element of the probe's embedding; rounding depends on the processor.
const TOLERANCE: f32 = 1e-3;

/// Bytes of a SHA-256 digest.
const DIGEST_BYTES: i64 = 32;

impl Retriever {
    /// Adds the embeddings in a file written by [`save_embeddings`](Self::save_embeddings) to the
    /// cache, and returns the number of embeddings in the file. If the embeddings exceed the
    /// cache's 256 MB, the oldest ones are removed from the cache.
    ///
    /// # Errors
    /// [`Error::Content`] if the file was written with a different encoder or different options, or
    /// is not an embedding file; [`Error::Tasks`] if it cannot be read.
    pub fn load_embeddings(&self, path: impl AsRef<Path>) -> Result<usize> {
        let path = path.as_ref();
        let content_error = |problem: String| Error::Content { path: path.to_owned(), problem };
        let file = TensorFile::open(path).map_err(tasks::Error::from)?;
        let expected = self.options();
        match file.metadata("options") {
            Some(stored) if stored == expected => {}
            Some(stored) => {
                let problem = format!(
                    "embeddings with the options {stored}, expected {expected}; delete the file or \
                     choose another path"
                );
                return Err(content_error(problem));
            }
            None => return Err(content_error("not a file of embeddings".to_owned())),
        }
        let read_tensor = |name: &str, kind: Kind| -> Result<Tensor> {
            let tensor = file.read(name).map_err(tasks::Error::from)?;
            match tensor.kind() == kind {
                true => Ok(tensor),
                false => Err(content_error(format!(
                    "tensor {name}: {:?}, expected {kind:?}",
                    tensor.kind()
                ))),
            }
        };
        let digests = read_tensor("digests", Kind::Uint8)?;
        let embeddings = read_tensor("embeddings", Kind::Float)?;
        let (stored_probe, probe) = (read_tensor("probe", Kind::Float)?, self.probe()?);
        let width = to_i64(probe.len());
        let count = digests.size().first().map_or(0, |&count| count); // 0 for a scalar
        let shapes = [digests.size(), embeddings.size(), stored_probe.size()];
        if shapes != [vec![count, DIGEST_BYTES], vec![count, width], vec![width]] {
            let problem =
                format!("shapes {shapes:?}, expected [n, 32], [n, {width}] and [{width}]");
            return Err(content_error(problem));
        }
        let stored_probe: Vec<f32> = to_vec(&stored_probe)?;
        if !stored_probe.iter().zip(&*probe).all(|(a, b)| (a - b).abs() <= TOLERANCE) {
            let problem = "embeddings of another encoder; delete the file or choose another path";
            return Err(content_error(problem.to_owned()));
        }
        let digests: Vec<u8> = to_vec(&digests)?;
        let embeddings: Vec<f32> = to_vec(&embeddings)?;
        let digests = digests.chunks_exact(size_of::<Key>());
        for (digest, embedding) in digests.zip(embeddings.chunks_exact(probe.len())) {
            let key = Key::try_from(digest).expect("a digest has the size of a key");
            self.add_to_cache(key, embedding.into());
        }
        Ok(to_usize(count))
    }

    /// Writes the cached embeddings atomically to a safetensors file with three tensors. `digests`
    /// (U8, `[n, 32]`) contains the SHA-256 of each text with its kind (`passage` or `question`).
    /// `embeddings` (F32, `[n, H]`) contains the embeddings of the texts, with `H` elements each:
    /// the hidden size, or the model's `truncate_dim`.
    /// `probe` (F32, `[H]`) is the embedding of a fixed text, which identifies the encoder. The
    /// metadata key `options` contains prefixes, pooling, maximum length and precision.
    ///
    /// # Errors
    /// [`Error::Tasks`] if the file cannot be written or the encoder fails.
    pub fn save_embeddings(&self, path: impl AsRef<Path>) -> Result<()> {
        let probe = self.probe()?;
        let cached = self.cached_embeddings();
        let digests: Vec<u8> = cached.iter().flat_map(|(key, _)| *key).collect();
        let values: Vec<f32> = cached.iter().flat_map(|(_, v)| v.iter().copied()).collect();
        let to_matrix = |tensor: Tensor, width: i64| tensor.f_view([-1, width]);
        let width = to_i64(probe.len());
        let tensors = || -> std::result::Result<[Tensor; 3], tch::TchError> {
            Ok([
                to_matrix(Tensor::f_from_slice(&digests)?, DIGEST_BYTES)?,
                to_matrix(Tensor::f_from_slice(&values)?, width)?,
                Tensor::f_from_slice(&probe)?,
            ])
        };
        let tensors = tensors().map_err(tasks::Error::from)?;
        let named_tensors = ["digests", "embeddings", "probe"].into_iter().zip(&tensors);
        let options = self.options();
        let result = write_tensors(path, named_tensors, &[("options", &options)]);
        Ok(result.map_err(tasks::Error::from)?)
    }

    /// Returns the options that determine embeddings, as JSON.
    pub(crate) fn options(&self) -> String {
        let (query, passage) = self.prefixes();
        let mut options = json!({
            "query_prefix": query,
            "passage_prefix": passage,
            "pooling": self.pooling,
            "max_length": self.max_length,
            "precision": self.precision().name(),
        });
        // These options are omitted unless they have an effect, so that files of earlier versions
        // remain valid.
        if self.lower_case {
            options["lower_case"] = json!(true);
        }
        if self.truncate_start {
            options["truncation_side"] = json!("left");
        }
        if self.is_truncated() {
            options["truncate_dim"] = json!(self.width);
        }
        options.to_string()
    }

    /// Returns the embedding of [`PROBE`], which is computed once.
    pub(crate) fn probe(&self) -> Result<Vector> {
        if let Some(vector) = self.probe.get() {
            return Ok(vector.clone());
        }
        let ids = self.tokenize(PROBE)?;
        let vectors = self.encode(&[&ids])?;
        let vector = vectors.into_iter().next().expect("an embedding of each text");
        Ok(self.probe.get_or_init(|| vector).clone())
    }
}

/// Returns all elements of a tensor.
fn to_vec<T>(tensor: &Tensor) -> Result<Vec<T>>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    let flat = tensor.f_contiguous().and_then(|tensor| tensor.f_view([-1]));
    Ok(flat.and_then(Vec::try_from).map_err(tasks::Error::from)?)
}
