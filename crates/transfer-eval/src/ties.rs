//! Ranks of candidates with equal scores.
use serde::{Deserialize, Serialize};

/// The rank of the gold candidate among candidates with the same score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// Last among candidates with the same score. A model that gives all candidates the same score
    /// has rank N, not 1.
    #[default]
    Pessimistic,
    /// By index: after candidates with the same score and a lower index, as in the arg max of most
    /// libraries.
    ByIndex,
}
