//! XLM-K: mentions and facts as training data, the joint task over them, and its two retrieval probes.
mod config;
mod facts;
mod mentions;
mod probe;
mod states;
mod task;

pub use config::{LossConfig, Parts, Pooling, TaskConfig};
pub use facts::{FactSource, Facts, ObjectExample};
pub use mentions::{HeldOut, MentionSource, Mentions};
pub use probe::{Probe, ProbeConfig, RankedBy};
pub use task::KnowledgeTask;

/// A number from 0 to 1 that depends on `seed` and `name` alone: what is held out is below a share.
fn share(seed: u64, name: &str) -> f64 {
    (trainer::seed_for(seed, name, 0) as u64 >> 11) as f64 / (1u64 << 53) as f64
}
