#![doc = include_str!("../README.md")]

mod adapters;
mod batch;
mod config;
mod error;
mod family;
mod folder;
mod fusion;
mod heads;
mod layers;
mod model;
mod parameters;
mod role;

pub use adapters::bottleneck::BottleneckConfig;
pub use adapters::lora::LoraConfig;
pub use batch::inputs::{Inputs, position_ids};
pub use batch::states::States;
pub use config::Config;
pub use error::{Error, Result};
pub use family::deberta::config::DebertaV2;
pub use family::eurobert::config::{EuroBert, EuroPooling};
pub use family::modernbert::config::{LayerType, ModernBert, Pooling};
pub use family::{Architecture, DistilBert};
pub use folder::load::{LoadOptions, LoadReport, Segments};
pub use folder::pretrained::{Inspection, Pretrained, read_tokenizer};
pub use folder::quantize::{QuantizeReport, quantize};
pub use folder::tokenizer::{SpecialTokens, check_tokenizer};
pub use folder::tokenizer_files::TokenizerFiles;
pub use folder::trim::{TrimReport, TrimmedVocabulary, VocabularyTrim};
pub use fusion::{FusionConfig, encode_fused};
pub use heads::kind::Head;
pub use heads::knowledge::{KnowledgeConfig, KnowledgeHeads};
pub use heads::projection::{Projection, ProjectionKind};
pub use layers::activation::Activation;
pub use layers::names::LoraTarget;
pub use model::Model;
pub use role::Role;
