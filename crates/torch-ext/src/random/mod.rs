//! Random generators and dropout masks that do not depend on the number of threads.
mod dropout;
mod rng;

pub use dropout::{dropout_factors, dropout_factors_like, token_offsets};
pub use rng::{MicroBatch, MicroBatchSeeds, first_row, rng_state, seeded_randn, set_rng_state};
