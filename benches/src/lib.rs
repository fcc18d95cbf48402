#![doc = include_str!("../README.md")]

mod compare;
mod entities;
mod lm;
mod spans;

pub use compare::{compare, quick};
pub use entities::EntityCase;
pub use lm::{LmCase, LmSize};
pub use spans::SpanCase;

/// The seed of every random input.
pub const SEED: i64 = 20;
