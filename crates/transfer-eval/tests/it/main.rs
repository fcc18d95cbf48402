//! The tests of the crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod cli;
mod cli_examples;
mod families;
mod lama;
mod map;
mod map_files;
mod mlama;
mod ner;
mod ner_files;
mod retrieval;
mod xnli;
