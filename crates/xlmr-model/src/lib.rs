#![doc = include_str!("../README.md")]

mod activation;
mod checkpoint;
mod config;
mod dropout;
mod encoder;
mod error;
mod fields;
mod fusion;
mod head;
mod heads;
mod inputs;
mod knowledge_heads;
mod layers;
mod load;
mod model;
mod packing;
mod parameters;
mod pretrained;
mod projection;
mod save;
mod states;
mod tokenizer;

pub use activation::Activation;
pub use config::Config;
pub use error::{Error, Result};
pub use fusion::{FusionConfig, fused};
pub use head::Head;
pub use inputs::{Inputs, position_ids};
pub use knowledge_heads::{KnowledgeConfig, KnowledgeHeads};
pub use load::{LoadOptions, LoadReport, Segments};
pub use model::Model;
pub use pretrained::{Pretrained, read_tokenizer};
pub use projection::{Projection, ProjectionKind};
pub use states::States;
pub use tokenizer::{SpecialTokens, check_tokenizer};
