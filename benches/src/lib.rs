#![doc = include_str!("../README.md")]

mod answers;
mod case;
mod compare;
mod contrast;
mod entities;
mod linear;
mod lm;
mod masked_rows;
mod soft;
mod spans;
mod summary;
mod top_k;

pub use case::{Case, Spec, Step};
pub use compare::{is_quick, run};
pub use masked_rows::every_seventh;
pub use summary::{Line, Timed, folder};

/// The seed of every random input.
pub const SEED: i64 = 20;

/// All comparisons; the short list leaves out what takes minutes.
pub fn specs(quick: bool) -> Vec<Spec> {
    [
        lm::specs(quick),
        entities::specs(),
        contrast::specs(quick),
        spans::specs(),
        soft::specs(),
        top_k::specs(),
        answers::specs(),
        linear::specs(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
