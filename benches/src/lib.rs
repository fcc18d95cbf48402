#![doc = include_str!("../README.md")]

mod answers;
mod compare;
mod entities;
mod lm;
mod spans;
mod top_k;

pub use answers::{AnswerContrastCase, HardLearningCase};
pub use compare::{compare, quick};
pub use entities::EntityCase;
pub use lm::{LmCase, LmSize};
pub use spans::SpanCase;
pub use top_k::TopKCase;

/// The seed of every random input.
pub const SEED: i64 = 20;
