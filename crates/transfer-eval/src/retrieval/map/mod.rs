//! Linear maps between the vectors of two languages: Procrustes, CSLS, precision at k.
//!
//! | step | function |
//! |---|---|
//! | vectors of words, from `.vec`, `.npy` or `.safetensors` | [`WordVectors::read`] |
//! | pairs of words | [`Dictionary::read`] |
//! | length and mean | [`Frame`] |
//! | the orthogonal map | [`procrustes`], [`LinearMap::fit`] |
//! | more pairs from the vectors themselves | [`refine`] |
//! | neighbours, also by CSLS | [`nearest`], [`mean_similarity`] |
//! | P@1, P@5, P@10 | [`score_translations`] |
//!
//! ```
//! use ndarray::array;
//! use transfer_eval::retrieval::map::procrustes;
//!
//! // The target is the source, turned by 90 degrees.
//! let source = array![[1.0, 0.0], [0.0, 1.0]];
//! let target = array![[0.0, 1.0], [-1.0, 0.0]];
//! let map = procrustes(source.view(), target.view(), &[(0, 0), (1, 1)])?;
//! assert!((map[[0, 1]] - 1.0).abs() < 1e-12 && map[[0, 0]].abs() < 1e-12);
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
mod text_vectors;
mod word_vectors;

pub use dictionary::{Dictionary, IndexedPairs};
pub use frame::{Frame, Step, read_steps};
pub use linear_map::{LinearMap, MapConfig};
pub use nearest::{Neighbour, mean_similarity, nearest};
pub use precision::{
    Direction, OutOfVocabulary, Precision, TranslationConfig, TranslationScore, score_translations,
};
pub use procrustes::{procrustes, turned};
pub use refine::{RefineConfig, Refined, Round, refine};
pub use text_vectors::{read_labels, read_texts, read_word_embeddings, text_vectors};
pub use word_vectors::WordVectors;
