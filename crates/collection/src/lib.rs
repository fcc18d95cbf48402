#![doc = include_str!("../README.md")]

mod collection;
mod document;
mod error;
mod fusion;
mod manifest;
mod snapshot;
mod terms;
mod vectors;
mod words;
mod writer;

pub use collection::Collection;
pub use document::{Document, Hit, Passage, Query};
pub use error::{Error, Result};
pub use manifest::Encoder;
pub use snapshot::Snapshot;
pub use writer::Writer;
