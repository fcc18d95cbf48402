//! Compares runs with each other and with published tables.
mod evidence;
mod published_table;
mod runs;

pub use evidence::{Interval, PairedTest, Resampling, bootstrap, holm, paired_test};
pub use published_table::{PublishedComparison, compare, comparison_markdown};
pub use runs::{RunDifference, compare_runs};
