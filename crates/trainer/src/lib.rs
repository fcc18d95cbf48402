#![doc = include_str!("../README.md")]

mod accumulate;
mod batches;
mod checkpoint;
mod collate;
mod config;
mod error;
mod fit;
mod lane;
mod lane_run;
mod metrics;
mod optimizer;
mod progress;
mod schedule;
mod seed;
mod task;

pub use accumulate::{Share, accumulate};
pub use batches::{Batches, Epoch};
pub use checkpoint::{Checkpoint, Environment};
pub use collate::{pad_mask, pad_rows};
pub use config::{Decay, GroupConfig, TrainConfig};
pub use error::{Result, TrainError};
pub use fit::{FitReport, Stage, fit, fit_tasks};
pub use lane::{Lane, Updates};
pub use metrics::{MetricsWriter, StepMetrics};
pub use optimizer::{AdamW, ParameterGroup};
pub use progress::Progress;
pub use schedule::LinearSchedule;
pub use seed::{rng_for, seed_for};
pub use task::{Step, StepLosses, Task, TaskError};
pub use torch_ext::TensorMap;
