#![doc = include_str!("../README.md")]

mod bootstrap;
mod error;
mod mean_interval;
mod measured;
mod over_seeds;
mod printed;
mod published;
mod seeds;
mod table;

pub use bootstrap::{bootstrap_means, bootstrap_weighted_means, percentile_interval};
pub use error::{Error, Result};
pub use mean_interval::{INTERVAL_LEGEND, MeanInterval, ScoreMeans};
pub use measured::Measured;
pub use over_seeds::{OverSeeds, over_seeds};
pub use printed::PrintedTable;
pub use published::{PUBLISHED_CSV, Published, published_results, select_published, table_ids};
pub use seeds::{AVERAGE, SeedSummary};
pub use table::{MISSING, Table, cell};
