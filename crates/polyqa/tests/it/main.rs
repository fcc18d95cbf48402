//! Tests of the reader and of the program.
#![allow(clippy::unwrap_used, clippy::panic)] // tests

mod cli;
mod collection;
mod common;
mod document_index;
mod embedded;
mod postgres;
mod pretrained;
mod reader;
mod retrieval;
mod segments;
mod sentence_transformers;
#[cfg(feature = "serve")]
mod serve;
mod serve_collection;
mod train;
