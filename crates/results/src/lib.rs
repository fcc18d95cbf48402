#![doc = include_str!("../README.md")]

mod error;
mod measured;
mod over_seeds;
mod paired;
mod printed;
mod published;
mod seeds;
mod spread;
mod table;

pub use error::{Error, Result};
pub use measured::Measured;
pub use over_seeds::{OverSeeds, over_seeds};
pub use paired::PairedDifference;
pub use printed::PrintedTable;
pub use published::{PUBLISHED_CSV, Published, published, select, tables};
pub use seeds::{AVERAGE, SeedSummary};
pub use spread::{ScoreSpread, Spread};
pub use table::{MISSING, Table, cell};
