//! EuroBERT.
pub(crate) mod config;
pub(crate) mod layer;
