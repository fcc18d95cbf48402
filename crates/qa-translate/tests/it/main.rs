//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod chat;
mod cli;
mod common;
mod http;
mod markers;
mod mix;
mod ner;
mod place;
mod project;
mod protected;
mod provider;
mod recorded;
mod recorded_protected;
mod search;
mod spans;
mod translate;
