//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // test helpers

mod cli;
mod cli_examples;
mod cli_files;
mod cli_knowledge;
mod cli_pairs;
mod cli_phrases;
mod common;
mod dump;
mod entity_linking;
mod extract_resume;
mod families;
mod graph;
mod interrupted;
mod jsonl;
mod knowledge;
mod matching;
mod memory;
mod names;
mod phrases;
mod pieces;
mod sample;
mod sequence;
mod switch;
mod wikidata;
