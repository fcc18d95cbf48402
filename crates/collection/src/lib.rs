#![doc = include_str!("../README.md")]

mod collection;
mod document;
mod error;
mod fusion;
mod manifest;
mod memory;
mod postings;
mod segment;
mod snapshot;
mod stored;
mod terms;
mod vectors;
mod words;
mod writer;

pub use collection::Collection;
pub use document::{Document, Hit, Passage, Query};
pub use error::{Error, Result};
pub use fusion::fuse;
pub use manifest::Encoder;
pub use memory::MemoryWriter;
pub use snapshot::Snapshot;
pub use writer::Writer;
