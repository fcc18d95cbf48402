//! Orthogonal maps between the vectors of two languages (Procrustes), and nearest neighbours by
//! CSLS.
//!
//! [`evaluate_translation`] evaluates a map of [`WordVectors`] on a bilingual [`Dictionary`], as in
//! the Sinhala-English benchmark (arXiv 2311.10436).
//!
//! ```
//! use ndarray::array;
//! use transfer_eval::retrieval::map::{LinearMap, MapConfig, Step};
//!
//! // The target is the source, rotated by 90 degrees.
//! let mut source = array![[1.0, 0.0], [0.0, 1.0]];
//! let mut target = array![[0.0, 1.0], [-1.0, 0.0]];
//! let config = MapConfig { normalize: vec![Step::Unit] };
//! let map = LinearMap::fit(&mut source, &mut target, &[(0, 0), (1, 1)], &config)?;
//! let mapped = map.map_source(array![[1.0, 0.0]])?;
//! assert!((mapped[[0, 1]] - 1.0).abs() < 1e-6 && mapped[[0, 0]].abs() < 1e-6);
//! # Ok::<(), transfer_eval::Error>(())
//! ```
mod dictionary;
mod linear_map;
mod nearest;
mod normalization;
mod procrustes;
mod refine;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;
mod token_embeddings;
mod translation;
mod word_vectors;

pub use dictionary::Dictionary;
pub use linear_map::{LinearMap, MapConfig};
pub use nearest::{Neighbour, mean_similarity, nearest_neighbours};
use normalization::Normalization;
pub use normalization::Step;
use procrustes::{map_rows, procrustes};
pub use refine::RefinementRound;
pub use translation::{
    MappedVectors, Precision, TranslationReport, TranslationScore, evaluate_translation,
};
pub use word_vectors::WordVectors;
