//! Training on texts fused with their translations (FILTER, section 3).
use std::path::Path;

use objectives::{SoftmaxOver, soft_labels};
use tch::{Tensor, no_grad};
use torch_ext::{MicroBatch, upload};
use trainer::{
    ExampleRecord, Examples, Fingerprint, SkippedData, Step, StepLosses, Task, TaskError,
    WeightedLoss, accumulate,
};
use xlmr_model::{FusionConfig, Model};

use super::{SoftTeaching, TeacherLogits};
use crate::inference::to_lists;
use crate::model_fingerprint::add_model;
use crate::{Error, Result, batch};

/// Output of a head for some pairs.
pub struct FusedForward {
    /// Scores of the target half: `[B, ..]` for each of [`FusedHead::OUTPUTS`].
    pub(super) scores: Vec<Tensor>,
    /// `[B, L]` bool on the CPU: positions with soft labels; `None`: all positions.
    pub(super) soft_mask: Option<Tensor>,
    /// The mean losses over the labels of the source half and of the target half; `None` if a half
    /// has no label.
    pub(super) losses: [Option<Tensor>; 2],
}

/// Pairs of texts for one type of head, with the forward pass of this head.
pub trait FusedHead {
    /// Names of the head's outputs in a teacher's file, such as `starts` and `ends`.
    const OUTPUTS: &'static [&'static str];

    /// Computes the scores of some pairs and, in training, their losses.
    ///
    /// # Errors
    /// If the model has no such head or rejects the ids, or a label is outside the head's classes.
    fn forward(
        &self,
        model: &Model,
        fusion: &FusionConfig,
        examples: &[usize],
        train: bool,
    ) -> Result<FusedForward>;

    /// Returns the number of scores per output for an example; `None` if there is one score per
    /// class.
    fn score_count(&self, _example: usize) -> Option<usize> {
        None
    }

    /// Returns the number of pairs with a label in the source half, and the number of pairs with a
    /// label in the target half.
    fn label_counts(&self, examples: &[usize]) -> [usize; 2] {
        [examples.len(); 2]
    }

    /// Adds the options to the fingerprint.
    fn fingerprint_options(&self, fingerprint: &mut Fingerprint);

    /// Adds the pairs to the fingerprint.
    fn fingerprint_pairs(&self, fingerprint: &mut Fingerprint);

    /// Returns the counts of skipped data.
    fn skipped_data(&self) -> Vec<SkippedData> {
        Vec::new()
    }

    /// Returns the target half of a pair.
    fn example(&self, index: usize) -> ExampleRecord;
}

/// Training task of fused pairs of texts: [`FusedQaTask`](super::FusedQaTask) and
/// [`FusedClassificationTask`](super::FusedClassificationTask).
///
/// In phase one the loss is `source + target`, the losses of the two halves. With a
/// [teacher](Self::with_teacher) it is `source + (1 - α) target + α soft`, where `soft` is
/// [`objectives::soft_labels`] on the target half, averaged over the head's outputs.
///
/// The paper does not specify how a half's loss is averaged; this task averages over the examples
/// of the batch whose half has a label.
pub struct FusedTask<'a, H> {
    pub(super) model: &'a Model,
    pub(super) head: H,
    pub(super) fusion: FusionConfig,
    pub(super) soft: SoftTeaching,
    /// Number of tokens of each pair.
    pub(super) lengths: Vec<usize>,
    pub(super) teacher: Option<TeacherLogits>,
}

impl<'a, H: FusedHead> FusedTask<'a, H> {
    /// Loads or computes the teacher's scores of the target half of every pair.
    ///
    /// Scores are read from `path` if it exists; otherwise they are computed and written to it. The
    /// returned flag is true if the scores were read.
    ///
    /// # Errors
    /// [`Error::File`] if the file contains the scores of another teacher, other examples or other
    /// options; [`Error::TorchExt`] naming a file that cannot be read or written; [`Error::Model`]
    /// if the teacher lacks the head or rejects an input; [`Error::Config`] if `batch_size` is 0.
    pub fn teacher_logits(
        &self,
        path: &Path,
        teacher: &Model,
        batch_size: usize,
    ) -> Result<(TeacherLogits, bool)> {
        let mut fingerprint = Fingerprint::new();
        add_model(&mut fingerprint, teacher);
        fingerprint.add_json("fusion", &self.fusion);
        self.head.fingerprint_pairs(&mut fingerprint);
        TeacherLogits::read_or_compute(path, H::OUTPUTS, &fingerprint.finish()?, || {
            let rows = batch::compute_by_length(&self.lengths, batch_size, |examples| {
                let output = no_grad(|| self.head.forward(teacher, &self.fusion, examples, false))?;
                // A head with one score per class has no padding to remove.
                let score_count = |&example| self.head.score_count(example).unwrap_or(usize::MAX);
                let counts: Vec<usize> = examples.iter().map(score_count).collect();
                let mut rows = vec![Vec::new(); examples.len()];
                for scores in &output.scores {
                    let lists = to_lists(scores, &counts)?;
                    rows.iter_mut().zip(lists).for_each(|(row, list)| row.push(list));
                }
                Ok(rows)
            })?;
            TeacherLogits::from_rows(&rows, H::OUTPUTS.len())
        })
    }

    /// Enables phase two with scores from [`teacher_logits`](Self::teacher_logits), or the
    /// [mean](TeacherLogits::mean) of several teachers' scores.
    ///
    /// # Errors
    /// [`Error::Data`] if the scores do not match this task's pairs.
    pub fn with_teacher(self, teacher: TeacherLogits) -> Result<Self> {
        teacher.check_count(self.lengths.len())?;
        let classes = teacher.row(0, 0).len();
        let count = |example| self.head.score_count(example).unwrap_or(classes);
        teacher.check_lengths(&(0..self.lengths.len()).map(count).collect::<Vec<_>>())?;
        Ok(Self { teacher: Some(teacher), ..self })
    }

    /// Returns the numbers of source labels, target labels and soft labels of some examples.
    fn label_counts(&self, examples: &[usize]) -> [usize; 3] {
        let [source, target] = self.head.label_counts(examples);
        [source, target, examples.len()]
    }

    /// Computes the losses of some examples, weighted by their share of the batch's labels.
    fn weighted_losses(
        &self,
        examples: &[usize],
        batch_label_counts: [usize; 3],
    ) -> Result<Vec<WeightedLoss>> {
        let output = self.head.forward(self.model, &self.fusion, examples, true)?;
        let teacher = self.teacher.as_ref();
        let soft = teacher.map(|teacher| self.soft_loss(teacher, examples, &output)).transpose()?;
        let alpha = if soft.is_some() { self.soft.alpha } else { 0.0 };
        let [source, target] = output.losses;
        let losses =
            [("source", 1.0, source), ("target", 1.0 - alpha, target), ("soft", alpha, soft)];
        let mut weighted_losses = Vec::new();
        for ((name, weight, loss), (count, batch_count)) in
            losses.into_iter().zip(self.label_counts(examples).into_iter().zip(batch_label_counts))
        {
            if let Some(loss) = loss {
                let loss = match count == batch_count {
                    true => loss,
                    false => loss.f_mul_scalar(count as f64 / batch_count.max(1) as f64)?,
                };
                weighted_losses.push(WeightedLoss { name, weight, loss });
            }
        }
        Ok(weighted_losses)
    }

    /// Computes the divergence from the teacher, averaged over the head's outputs.
    fn soft_loss(
        &self,
        teacher: &TeacherLogits,
        examples: &[usize],
        output: &FusedForward,
    ) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (index, scores) in output.scores.iter().enumerate() {
            let (_, count) = scores.size2()?;
            let class_count = teacher.row(0, 0).len();
            if self.head.score_count(0).is_none() && i64::try_from(class_count) != Ok(count) {
                return Err(Error::data(
                    "teacher's scores",
                    format!("{count} classes"),
                    class_count,
                ));
            }
            let teacher = upload(&teacher.padded(index, examples, count)?, scores.device())?;
            let loss = soft_labels(scores, &teacher, output.soft_mask.as_ref(), &self.soft.loss)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&loss)?,
                None => loss,
            });
        }
        let sum = sum.ok_or_else(|| Error::empty("score in a batch"))?;
        Ok(sum.f_mul_scalar(1.0 / H::OUTPUTS.len() as f64)?)
    }
}

/// Adds up the weighted losses of a batch that is not split into micro-batches.
fn sum_losses(weighted_losses: Vec<WeightedLoss>) -> Result<StepLosses, TaskError> {
    let mut total: Option<Tensor> = None;
    let mut parts = Vec::with_capacity(weighted_losses.len());
    for WeightedLoss { name, weight, loss } in weighted_losses {
        parts.push((name, loss.f_detach()?));
        let weighted = loss.f_mul_scalar(weight)?;
        total = Some(match total {
            Some(total) => total.f_add(&weighted)?,
            None => weighted,
        });
    }
    let total = total.ok_or_else(|| Error::empty("example in a batch"))?;
    Ok(StepLosses { total, parts, tokens: None, is_accumulated: false })
}

impl<H: FusedHead> Task for FusedTask<'_, H> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        self.head.fingerprint_options(fingerprint);
        self.head.fingerprint_pairs(fingerprint);
        if let Some(teacher) = &self.teacher {
            teacher.fingerprint(fingerprint);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch_label_counts = self.label_counts(step.batch);
        match step.micro_batch {
            Some(size) if size < step.batch.len() => {
                accumulate(&step.context, &MicroBatch::cut(step.batch, size), |examples| {
                    Ok(self.weighted_losses(examples, batch_label_counts)?)
                })
            }
            _ => sum_losses(self.weighted_losses(step.batch, batch_label_counts)?),
        }
    }

    /// Returns true without a teacher. With a teacher, returns false if the softmax of the soft
    /// labels is over the batch, or if their loss is a mean over positions of rows with different
    /// lengths.
    fn supports_micro_batches(&self) -> bool {
        let equal_row_sizes = self.head.score_count(0).is_none();
        self.teacher.is_none()
            || match self.soft.loss.over {
                SoftmaxOver::Row => true,
                SoftmaxOver::RowPositions => equal_row_sizes,
                SoftmaxOver::Batch => false,
            }
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        self.head.skipped_data()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        self.head.example(index)
    }
}
