//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod adapter_folder;
mod adapter_fusion;
mod adapters;
mod architectures;
mod bases;
mod cli;
mod common;
mod config;
mod config_defaults;
mod fusion;
mod inference;
mod inputs;
mod int8;
mod knowledge_heads;
mod load;
mod mixture;
mod model;
mod new_models;
mod other_libraries;
mod packed;
mod peers;
mod peft_merged;
mod pretrained;
mod published;
mod quantize;
mod save;
mod saved_adapters;
mod segments;
mod tokenizer;
mod tokenizer_versions;
mod transformers;
mod trim;
