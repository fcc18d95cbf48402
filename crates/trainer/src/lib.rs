#![doc = include_str!("../README.md")]

mod accumulate;
mod adamw_slot;
mod batches;
mod checkpoint;
mod collate;
mod config;
mod error;
mod fingerprint_ext;
mod fit;
mod loss_scaler;
mod metrics;
mod not_finite;
mod optimizer;
mod profile;
mod progress;
mod ranks;
mod round_robin;
mod schedule;
pub mod selection;
mod sharding;
mod skipped_data;
mod stage;
mod step_log;
mod step_values;
mod stop;
mod sums;
mod task;
mod task_slot;
mod task_state;
mod training;
mod writer;

pub use accumulate::{WeightedLoss, accumulate};
pub use batches::Batches;
pub use checkpoint::Environment;
pub use collate::{pad_mask, pad_rows};
pub use config::{Decay, GroupConfig, TrainConfig};
pub use error::{Error, Result};
pub use fingerprint_ext::FingerprintExt;
pub use fit::{fit, fit_best};
pub use loss_scaler::LossScaler;
pub use metrics::StepMetrics;
pub use not_finite::ExampleRecord;
pub use optimizer::AdamW;
pub use progress::{Progress, ProgressValues};
pub use shards::{
    BatchStream, Endless, ExampleSource, ExampleStream, Fingerprint, ShardFile, ShardLine,
    ShardPosition, ShardedJsonl, Shards, ShuffleConfig, ShuffledLines, StreamedBatch, is_shard,
    rng_for, seed_for,
};
pub use skipped_data::SkippedData;
pub use stage::{FitReport, Stage};
pub use task::{Examples, Step, StepLosses, Task, TaskError};
pub use task_slot::{Alternating, Tasks, WeightedSum};
pub use task_state::StreamPosition;
pub use torch_ext::{MicroBatch, Precision, TensorMap};
