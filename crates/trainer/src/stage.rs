//! A training stage: name, folder and environment.
use std::path::PathBuf;
use std::rc::Rc;

use torch_ext::{Precision, ProcessGroup};

use crate::{Environment, LossScaler};

/// Name, folder and runtime options of a training stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name in progress lines and errors.
    pub name: String,
    /// Folder that contains `metrics.jsonl`, `checkpoints/` and, with `keep_models`, `models/`.
    /// After a non-finite loss, it contains `not-finite.json`; with [`Stage::with_profile`],
    /// `profile/`.
    pub folder: PathBuf,
    /// Runtime settings that must be equal for bit-identical runs, in addition to seed and data.
    pub environment: Environment,
    /// Compute precision of losses; part of the fingerprint of the stage's checkpoints.
    pub precision: Precision,
    /// The scale of a float16 loss at the stage's start.
    pub(crate) scaler: Option<LossScaler>,
    pub(crate) stops_on_signals: bool,
    pub(crate) group: Option<Rc<ProcessGroup>>,
    pub(crate) profile_steps: u64,
    interrupt_after: Option<u64>,
}

impl Stage {
    /// Creates a stage that stores its files in `folder`, which is created if missing.
    ///
    /// ```
    /// use trainer::{Environment, Stage};
    ///
    /// let environment = Environment {
    ///     threads: 2,
    ///     device: "cpu".into(),
    ///     float32_matmul: "highest".into(),
    /// };
    /// let stage = Stage::new("fine-tune", "runs/qa/fine-tune", environment);
    /// assert_eq!(stage.checkpoints(), stage.folder.join("checkpoints"));
    /// ```
    pub fn new(
        name: impl Into<String>,
        folder: impl Into<PathBuf>,
        environment: Environment,
    ) -> Self {
        let (name, folder) = (name.into(), folder.into());
        Self {
            name,
            folder,
            environment,
            precision: Precision::F32,
            scaler: None,
            stops_on_signals: false,
            group: None,
            profile_steps: 0,
            interrupt_after: None,
        }
    }

    /// Sets the compute precision of losses.
    ///
    /// Forward passes run under autocast on the parameters' device; parameters, gradients and
    /// optimiser stay float32. With float16, the loss is scaled ([`LossScaler`]), and a CUDA device
    /// is required.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let scaler = (precision == Precision::F16).then(LossScaler::default);
        Self { precision, scaler, ..self }
    }

    /// Enables graceful stopping: the first SIGINT or SIGTERM finishes the step, writes a
    /// checkpoint and returns [`Error::Stopped`](crate::Error::Stopped).
    ///
    /// A second signal ends the process immediately, as does any signal before or after training.
    /// Signal handlers are process-wide, so they are not installed by default.
    #[must_use]
    pub fn stop_on_signals(self) -> Self {
        Self { stops_on_signals: true, ..self }
    }

    /// Enables data-parallel training by the processes of `group`.
    ///
    /// Each process computes a part of every batch. Gradients are summed before the update, so all
    /// processes have equal parameters. All processes must have the same data, configuration and
    /// model.
    ///
    /// All processes start from the first rank's checkpoint and parameters. Only the first rank
    /// writes checkpoints and prints progress. A task without micro-batches
    /// ([`Task::supports_micro_batches`](crate::Task::supports_micro_batches)) is an error.
    ///
    /// On the CPU, the number of processes changes only rounding. On a GPU, dropout is drawn for
    /// each micro-batch, so results also depend on the size of the micro-batches. To compare runs
    /// with different numbers of processes on a GPU, use the same `micro_batch` in all runs. This
    /// value must not exceed the batch size divided by the largest number of processes.
    #[must_use]
    pub fn with_group(self, group: Option<Rc<ProcessGroup>>) -> Self {
        Self { group, ..self }
    }

    /// Profiles the given number of steps of each call of [`fit`](crate::fit), starting with the
    /// sixth step of the call if possible.
    ///
    /// `profile/trace.json` in the stage's folder opens in Perfetto. Results do not change, but
    /// profiled steps are slower. A failure to write the file is printed, and training continues.
    #[must_use]
    pub fn with_profile(self, steps: u64) -> Self {
        Self { profile_steps: steps, ..self }
    }

    /// Returns whether this process is rank 0, which writes files and prints.
    pub(crate) fn is_rank_0(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.rank() == 0)
    }

    /// Enables loss scaling in any precision; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_loss_scaler(self, scaler: LossScaler) -> Self {
        Self { scaler: Some(scaler), ..self }
    }

    /// Stops each call of `fit` after this many steps, like an interruption; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn interrupt_after(self, steps: impl Into<Option<u64>>) -> Self {
        Self { interrupt_after: steps.into(), ..self }
    }

    /// Returns the folder of the stage's checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// Returns the folder of permanently stored parameters; see [`TrainConfig::keep_models`].
    ///
    /// [`TrainConfig::keep_models`]: crate::TrainConfig::keep_models
    pub fn models(&self) -> PathBuf {
        self.folder.join("models")
    }

    /// Returns the step after which a call that starts at step `first` of `total` stops.
    pub(crate) fn last_step(&self, first: u64, total: u64) -> u64 {
        self.interrupt_after.map_or(total, |steps| total.min(first.saturating_add(steps)))
    }
}

/// The result of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Number of completed steps.
    pub steps: u64,
    /// Number of processed tokens, without padding.
    pub tokens: u64,
    /// Seconds of training, including earlier parts of a resumed run.
    pub seconds: f64,
    /// Mean loss of the last line of metrics.
    pub final_loss: f64,
    /// Whether the stage is complete.
    pub finished: bool,
}
