//! The contract between the trainer and a recipe.
use rand_chacha::ChaCha8Rng;
use tch::Tensor;
use torch_ext::TensorMap;

/// The loss of one batch: what is minimised, and its named parts for the log.
pub struct StepLosses {
    /// `[]`, with graph unless `accumulated`.
    pub total: Tensor,
    /// `[]` each, in the order they are logged; `loss/<name>` in the metrics, of several tasks `loss/<lane>/<name>`.
    pub parts: Vec<(&'static str, Tensor)>,
    /// Tokens of the batch, padding left out, where the examples' lengths do not say it.
    pub tokens: Option<u64>,
    /// Whether the gradients of `total` are in the parameters already, see [`accumulate`](crate::accumulate).
    pub accumulated: bool,
}

impl StepLosses {
    /// A single loss under one name.
    pub fn single(name: &'static str, loss: Tensor) -> Self {
        Self { parts: vec![(name, loss.detach())], total: loss, tokens: None, accumulated: false }
    }
}

/// Whatever stops a task from computing its losses.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// One step, as a task sees it.
pub struct Step<'a> {
    /// Indices of the batch's examples.
    pub batch: &'a [usize],
    /// The batch, counted from 0 in this task: the step, where the stage has no other task.
    pub number: u64,
    /// Batches of this task in the stage.
    pub total: u64,
    /// The step's own generator. libtorch's generator has been seeded for the step too.
    pub rng: ChaCha8Rng,
}

/// Examples and their losses. The model stays with the task; the trainer sees its parameters only.
pub trait Task {
    /// The length in tokens of each example, for batches of like length and for counting tokens.
    fn lengths(&self) -> &[usize];

    /// Names the data and everything else that decides the examples; a resumed run must have the same.
    fn fingerprint(&self) -> String;

    /// The losses of one batch.
    ///
    /// # Errors
    /// Whatever stops the task from computing them; training ends with it.
    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError>;

    /// Tensors beside the parameters that training changes: a queue of negatives, running statistics. Checkpoints hold them.
    ///
    /// # Errors
    /// Whatever stops the task from giving them.
    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(Vec::new())
    }

    /// Takes over what [`state`](Self::state) gave when the checkpoint was written.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit.
    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("{name}: this task keeps no state").into()),
        }
    }
}
