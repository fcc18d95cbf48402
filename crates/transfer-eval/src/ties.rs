//! Ranks where scores are equal.
use serde::{Deserialize, Serialize};

/// The rank of the right candidate among others of the same score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// Behind all others of its score. A model that gives every candidate the same score has rank
    /// N, not 1.
    #[default]
    Pessimistic,
    /// By index: behind those of its score that come earlier, as the arg max of most libraries.
    ByIndex,
}
