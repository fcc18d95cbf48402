//! One stage of training: its name, its folder, its machine.
use std::path::PathBuf;
use std::rc::Rc;

use torch_ext::{Precision, ProcessGroup};

use crate::{Environment, LossScaler};

/// Where a stage keeps its files and what it is called.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Shown in progress and errors.
    pub name: String,
    /// Holds `metrics.jsonl`, `checkpoints/` and, under `keep_models`, `models/`; after a loss that
    /// is not finite `not-finite.json`, and under [`Stage::with_profile`] `profile/`.
    pub folder: PathBuf,
    /// What bit-for-bit equality depends on beside seed and data.
    pub environment: Environment,
    /// What losses are computed in; it belongs to the fingerprint of the stage's checkpoints.
    pub precision: Precision,
    /// The scale of a float16 loss at the stage's start.
    pub(crate) scaler: Option<LossScaler>,
    pub(crate) stops_on_signals: bool,
    pub(crate) group: Option<Rc<ProcessGroup>>,
    pub(crate) profile_steps: u64,
    interrupt_after: Option<u64>,
}

impl Stage {
    /// A stage that keeps its files in `folder`, which is made where it does not exist.
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

    /// Sets what losses are computed in: the tasks' forward passes run under autocast, on the
    /// parameters' device, while parameters, gradients and optimiser stay float32. float16 scales
    /// the loss ([`LossScaler`]) and needs a CUDA device.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        let scaler = (precision == Precision::F16).then(LossScaler::default);
        Self { precision, scaler, ..self }
    }

    /// Lets the first SIGINT or SIGTERM finish the step, write a checkpoint and end training with
    /// [`Error::Stopped`](crate::Error::Stopped). A second one ends the process at once,
    /// as either does before and after training. The handlers belong to the whole process, which a
    /// library must not take by itself.
    #[must_use]
    pub fn stop_on_signals(self) -> Self {
        Self { stops_on_signals: true, ..self }
    }

    /// Lets the processes of `group` train one model: each takes a part of every batch, and their
    /// gradients are summed before the update, so all have the same parameters after it. All of
    /// them call this stage with the same data, configuration and model.
    ///
    /// The first rank's checkpoint and parameters are everybody's beginning, and it alone writes
    /// checkpoints and shows progress. A task whose batches cannot be cut
    /// ([`Task::takes_micro_batches`](crate::Task::takes_micro_batches)) is refused. On the CPU
    /// the number of processes changes sums' rounding alone; on a GPU, where dropout is drawn for
    /// each part of a batch, that holds with the same `micro_batch`, at most the batch divided by
    /// the number of processes.
    #[must_use]
    pub fn with_group(self, group: Option<Rc<ProcessGroup>>) -> Self {
        Self { group, ..self }
    }

    /// Records so many steps of each call with libtorch's profiler, from its sixth on where it
    /// makes so many: `profile/trace.json` in the stage's folder is the trace, for Perfetto, and
    /// `profile/tables.md` says where the time went: operators, a GPU's kernels, and what the host
    /// was in while the GPU had nothing to do. Recorded steps compute the same, more slowly. What
    /// keeps the files from being written is told, and training goes on.
    #[must_use]
    pub fn with_profile(self, steps: u64) -> Self {
        Self { profile_steps: steps, ..self }
    }

    /// Whether this process writes what is kept.
    pub(crate) fn leads(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.rank() == 0)
    }

    /// Scales the loss in any precision; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_loss_scaler(self, scaler: LossScaler) -> Self {
        Self { scaler: Some(scaler), ..self }
    }

    /// Stops after this many steps of a call, as an interruption would; for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn interrupt_after(self, steps: impl Into<Option<u64>>) -> Self {
        Self { interrupt_after: steps.into(), ..self }
    }

    /// The folder of the stage's checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    /// The folder of the parameters that stay, see [`TrainConfig::keep_models`].
    ///
    /// [`TrainConfig::keep_models`]: crate::TrainConfig::keep_models
    pub fn models(&self) -> PathBuf {
        self.folder.join("models")
    }

    /// The step after which this call stops, of a stage of `total` steps that goes on at `first`.
    pub(crate) fn last_step(&self, first: u64, total: u64) -> u64 {
        self.interrupt_after.map_or(total, |steps| total.min(first.saturating_add(steps)))
    }
}
