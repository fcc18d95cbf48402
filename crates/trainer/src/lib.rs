#![doc = include_str!("../README.md")]

mod checkpoint;
mod config;
mod error;
mod fit;
mod optimizer;
mod ranks;
mod record;
pub mod selection;
mod stage;
mod stop;
mod task;
mod training;

pub use checkpoint::{Environment, StreamPosition};
pub use config::{Decay, GroupConfig, TrainConfig};
pub use error::{Error, Result};
pub use fit::{fit, fit_best};
pub use optimizer::{AdamW, LossScaler};
pub use record::{ProgressLine, ProgressValues, StepMetrics};
pub use shards::{
    BatchStream, Endless, ExampleSource, ExampleStream, Fingerprint, ReadingGroup, ShardFile,
    ShardLine, ShardPosition, ShardedJsonl, Shards, ShuffleConfig, ShuffledLines, StreamedBatch,
    is_shard, rng_for, seed_for,
};
pub use stage::{FitReport, Stage};
pub use stop::StopSignals;
pub use task::{
    Alternating, Batches, ExampleRecord, Examples, FingerprintExt, SkippedData, Step, StepLosses,
    Task, TaskError, Tasks, WeightedLoss, WeightedSum, accumulate, pad_mask, pad_rows,
};
pub use torch_ext::{MicroBatch, Precision, StepContext, TensorMap};
