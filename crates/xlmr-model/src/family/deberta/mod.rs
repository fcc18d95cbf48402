//! DeBERTa v2 and v3.
pub(crate) mod attention;
pub(crate) mod config;
