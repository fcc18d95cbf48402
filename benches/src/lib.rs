#![doc = include_str!("../README.md")]

mod answers;
mod case;
mod compare;
mod contrast;
mod entities;
mod lm;
mod process;
mod regression;
mod soft;
mod spans;
mod summary;
mod top_k;

use tch::Device;

pub use case::{Case, Spec, Step};
pub use compare::{is_quick, run};
pub use process::{cpu_seconds, exit, median, resident_mib};
pub use summary::{Line, Timed, folder, print};

/// Seed of all random inputs.
pub const SEED: i64 = 20;

/// Returns all comparisons, with inputs on `device`; the short list omits those that take minutes.
pub fn specs(quick: bool, device: Device) -> Vec<Spec> {
    [
        lm::specs(quick, device),
        entities::specs(device),
        contrast::specs(quick, device),
        regression::specs(device),
        spans::specs(device),
        soft::specs(device),
        top_k::specs(device),
        answers::specs(device),
    ]
    .into_iter()
    .flatten()
    .collect()
}
