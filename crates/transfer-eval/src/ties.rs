//! Ranks among equals.
use serde::{Deserialize, Serialize};

/// Where the right one of several equally good candidates stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// Behind all of its equals. A model that gives every candidate the same score has rank N, not 1.
    #[default]
    Pessimistic,
    /// By index: behind those of its equals that come earlier, as the arg max of most libraries.
    ByIndex,
}
