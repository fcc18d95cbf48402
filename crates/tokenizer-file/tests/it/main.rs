//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod charsmap;
mod folder;
mod layout;
mod modules;
mod read;
mod sentencepiece;
mod token_types;
mod trim;
mod unchanged;
