#![doc = include_str!("../README.md")]

mod endless;
mod error;
mod fingerprint;
mod line;
#[cfg(feature = "parquet")]
mod parquet_rows;
#[cfg(feature = "parquet")]
mod parquet_value;
mod prepared;
mod seed;
mod sharded_jsonl;
mod shards;
mod shuffled_lines;
mod stream;

pub use endless::Endless;
pub use error::{Error, Result};
pub use fingerprint::Fingerprint;
pub use prepared::{FileDigest, Manifest, Preparation, PreparedFolder};
pub use seed::{hash_of, item_rng, rng_for, seed_for};
pub use sharded_jsonl::ShardedJsonl;
pub use shards::{ShardFile, ShardLine, Shards, is_shard};
pub use shuffled_lines::{ShardPosition, ShuffleConfig, ShuffledLines};
pub use stream::{
    BatchStream, ExampleSource, ExampleStream, ReadingGroup, SourceError, StreamedBatch,
};
