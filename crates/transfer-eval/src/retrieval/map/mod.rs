//! Linear maps between the vectors of two languages: Procrustes, CSLS, precision at k.
//!
//! | step | function |
//! |---|---|
//! | vectors of words, from `.vec`, `.npy` or `.safetensors` | [`WordVectors::read`] |
//! | pairs of words | [`Dictionary::read`] |
//! | length and mean | [`Step`] |
//! | the orthogonal map | [`LinearMap::fit`] |
//! | more pairs from the vectors themselves | [`RefineConfig`] |
//! | neighbours, also by CSLS | [`nearest`], [`mean_similarity`] |
//! | P@1, P@5, P@10 | [`score_translations`] |
//!
//! ```
//! use ndarray::array;
//! use transfer_eval::retrieval::map::{LinearMap, MapConfig, Step};
//!
//! // The target is the source, turned by 90 degrees.
//! let mut source = array![[1.0, 0.0], [0.0, 1.0]];
//! let mut target = array![[0.0, 1.0], [-1.0, 0.0]];
//! let config = MapConfig { normalize: vec![Step::Unit], refine: None };
//! let (map, _) = LinearMap::fit(&mut source, &mut target, &[(0, 0), (1, 1)], &config)?;
//! assert!((map.matrix()[[0, 1]] - 1.0).abs() < 1e-12 && map.matrix()[[0, 0]].abs() < 1e-12);
//! # Ok::<(), transfer_eval::Error>(())
//! ```
pub(super) mod arrays;
mod dictionary;
mod frame;
mod linear_map;
mod nearest;
mod npy;
mod precision;
mod procrustes;
mod refine;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;
mod text_vectors;
mod word_vectors;

pub use dictionary::{Dictionary, IndexedPairs};
use frame::Frame;
pub use frame::Step;
pub use linear_map::{LinearMap, MapConfig};
pub use nearest::{Neighbour, mean_similarity, nearest};
pub use precision::{
    Direction, OutOfVocabulary, Precision, TranslationConfig, TranslationScore, score_translations,
};
use procrustes::{procrustes, turned};
pub use refine::{RefineConfig, Round};
pub use text_vectors::{read_labels, read_texts};
pub use word_vectors::WordVectors;
