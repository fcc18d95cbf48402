//! Tests of linked texts: JSONL, WikiExtractor, pages of entities, and label matching.

mod labels;
mod pages;
mod text;
mod wiki;
