#![doc = include_str!("../README.md")]

mod answer_contrast;
mod case;
mod compare;
mod cosine_regression;
mod entity_completion;
mod hard_learning;
mod info_nce;
mod listwise;
mod masked_lm;
mod process;
mod soft_labels;
mod span;
mod summary;
mod top_k_spans;

use tch::Device;

pub use case::{Case, Spec, Step};
pub use compare::{is_quick, run};
pub use process::{cpu_seconds, exit_code, median, resident_mib};
pub use summary::{Line, Timed, print_table, results_folder};

/// Seed of all random inputs.
pub const SEED: i64 = 20;

/// Returns all comparisons with inputs on `device`, or with `quick` only the comparisons that do
/// not take minutes.
pub fn specs(quick: bool, device: Device) -> Vec<Spec> {
    [
        masked_lm::specs(quick, device),
        entity_completion::specs(device),
        info_nce::specs(quick, device),
        cosine_regression::specs(device),
        listwise::specs(device),
        span::specs(device),
        soft_labels::specs(device),
        top_k_spans::specs(device),
        hard_learning::specs(device),
        answer_contrast::specs(device),
    ]
    .into_iter()
    .flatten()
    .collect()
}
