//! Records of a stage: metrics, speed, profile and the progress line.
mod metrics;
mod profile;
mod progress;
mod step_log;

pub use metrics::StepMetrics;
pub(crate) use metrics::{PendingMeans, last_loss};
pub(crate) use profile::StepProfile;
pub(crate) use progress::print_note;
pub use progress::{ProgressLine, ProgressValues};
pub(crate) use step_log::StepLog;
