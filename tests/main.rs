//! Integration tests of the recipes and programs.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod adapters;
mod common;
mod entity_alignment;
mod entity_cs;
mod fidelity;
mod filter;
mod good_to_best;
mod knowledge_adapters;
mod masked_lm_head;
mod mixmrc_lakm;
mod other_encoders;
mod pretrain_base;
mod programs;
mod prokd;
mod question_answering;
mod ranks;
mod recipe;
mod sentence_retrieval;
mod templates;
mod transfer_suite;
mod wikidata_guide;
mod xlm_k;
