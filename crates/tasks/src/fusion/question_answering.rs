//! Questions read together with their translations, as a training task (FILTER, section 3).
use std::path::Path;

use mlqa_eval::{Purpose, Question, UnanswerableWindow, Window, WindowConfig};
use objectives::{SoftmaxOver, soft_labels};
use tch::{Tensor, no_grad};
use tokenizers::Tokenizer;
use torch_ext::{Part, upload};
use trainer::{
    ExampleRecord, Examples, Fingerprint, LeftOut, Share, Step, StepLosses, Task, TaskError,
    accumulate,
};

use super::halves::{Half, SpanLogits, is_labelled, logits};
use super::teacher::lists;
use super::{FusedQaConfig, PairCounts, TeacherLogits, WindowPairs};
use crate::question_answering::{check_window_length, fingerprint_windows};
use crate::{Encoder, Error, Result, batch};

/// Pairs of windows as a training task for a span head: one example is a window of a question
/// beside one of its translation.
///
/// In phase one the loss is `source + target`, both [`objectives::span`] of the halves' own
/// answers; with a [teacher](Self::with_teacher) it is `source + (1 - α) target + α soft`, where
/// `soft` is the mean of [`objectives::soft_labels`] of starts and ends on the target half.
///
/// Reading: a mean is over the half's windows that have a label in the batch. Under
/// [`UnanswerableWindow::Cls`] a window without the answer is labelled with `<s>`; under
/// [`UnanswerableWindow::Drop`] it carries no loss, but is still read beside the other half. Pairs
/// without a label in either half are left out.
///
/// # Example
/// ```
/// use mlqa_eval::{Answer, Question, WindowConfig};
/// use tasks::fusion::{FusedQaConfig, FusedQaTask};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let question = |question: &str, context: &str, answer: &str, answer_start| Question {
///     id: "q1".into(),
///     question: question.into(),
///     context: context.into(),
///     answers: vec![Answer { text: answer.into(), answer_start }],
///     title: "".into(),
/// };
/// let german = [question("Welche Farbe?", "Ein rotes Haus.", "rotes", 4)];
/// let english = [question("Which colour?", "A red house.", "red", 2)];
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let config: FusedQaConfig = toml::from_str("fusion = { local = 1, cross = 1 }").unwrap();
/// let mut task =
///     FusedQaTask::new(&model, &tokenizer, (&german, &english), &windows, &config)?;
///
/// // `trainer::fit` makes the steps of a whole training.
/// let rng = trainer::rng_for(0, "qa", 0);
/// let mut step = Step { batch: &[0], number: 0, total: 1, micro_batch: None, rng };
/// let losses = task.losses(&mut step)?;
/// assert_eq!(losses.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["source", "target"]);
/// losses.total.backward();
/// # Ok::<(), tasks::Error>(())
/// ```
pub struct FusedQaTask<'a> {
    model: &'a dyn Encoder,
    config: FusedQaConfig,
    /// Whether windows without the answer are labelled.
    unanswerable: bool,
    pairs: WindowPairs,
    /// Question ids, by [`Window::question`].
    ids: Vec<String>,
    lengths: Vec<usize>,
    counts: PairCounts,
    teacher: Option<TeacherLogits>,
}

/// The parts of a teacher's file.
const PARTS: [&str; 2] = ["starts", "ends"];

impl<'a> FusedQaTask<'a> {
    /// Cuts questions and their translations, as many and in one order, to windows and pairs them.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range; [`Error::Data`] if the two
    /// are not as many; [`Error::Eval`] if an answer is not where the data says, or a question
    /// leaves no space for its context; [`Error::Empty`] if no pair has a label.
    pub fn new(
        model: &'a dyn Encoder,
        tokenizer: &Tokenizer,
        (target, source): (&[Question], &[Question]),
        windows: &WindowConfig,
        config: &FusedQaConfig,
    ) -> Result<Self> {
        config.soft.validate()?;
        check_window_length(model, windows)?;
        config.fusion.validate(model.layers())?;
        let unanswerable = windows.unanswerable_window == UnanswerableWindow::Cls;
        let pairing = config.pairing;
        let mut pairs =
            WindowPairs::new(target, source, tokenizer, windows, pairing, Purpose::Train)?;
        let counts = pairs.counts();
        let labelled: Vec<bool> = pairs
            .iter()
            .map(|(own, other)| is_labelled(own, unanswerable) || is_labelled(other, unanswerable))
            .collect();
        let mut labelled = labelled.into_iter();
        pairs.pairs.retain(|_| labelled.next().unwrap_or(false));
        if pairs.pairs.is_empty() {
            return Err(Error::empty(format!(
                "answer in any of {} pairs of windows",
                counts.pairs
            )));
        }
        let ids = target.iter().map(|question| question.id.clone()).collect();
        let (lengths, config) = (pairs.lengths(), config.clone());
        Ok(Self { model, config, unanswerable, pairs, ids, lengths, counts, teacher: None })
    }

    /// The examples, in order: every pair with a label.
    pub fn pairs(&self) -> &WindowPairs {
        &self.pairs
    }

    /// In which halves the answers are, of all pairs.
    pub fn counts(&self) -> &PairCounts {
        &self.counts
    }

    /// The scores that `teacher` gives the target half of every example, read beside its source
    /// half: from `path`, where it is there, else computed and written to it. The second value says
    /// whether they were read.
    ///
    /// # Errors
    /// [`Error::File`] if the file's scores are those of another teacher, other examples or other
    /// options; [`Error::TorchExt`] naming a file that cannot be read or written; [`Error::Model`]
    /// if the teacher has no span head or refuses an input; [`Error::Config`] if `batch_size` is 0.
    pub fn teacher_logits(
        &self,
        path: &Path,
        teacher: &dyn Encoder,
        batch_size: usize,
    ) -> Result<(TeacherLogits, bool)> {
        let mut fingerprint = Fingerprint::new();
        teacher.fingerprint(&mut fingerprint);
        fingerprint.serialize("fusion", &self.config.fusion);
        self.fingerprint_pairs(&mut fingerprint);
        TeacherLogits::read_or_compute(path, &PARTS, &fingerprint.finish()?, || {
            let rows = batch::by_length(&self.lengths, batch_size, |examples| {
                let [target, source] = self.halves(examples)?;
                let fusion = &self.config.fusion;
                let [(starts, ends), _] =
                    no_grad(|| logits(teacher, &target, &source, fusion, false))?;
                let lengths = self.target_lengths(examples);
                let both = lists(&starts, &lengths)?.into_iter().zip(lists(&ends, &lengths)?);
                Ok(both.map(|(start, end)| vec![start, end]).collect())
            })?;
            TeacherLogits::of_rows(&rows, PARTS.len())
        })
    }

    /// Trains phase two: on these scores too, which [`teacher_logits`](Self::teacher_logits) of
    /// this task, or the [mean](TeacherLogits::mean) of several, gave.
    ///
    /// # Errors
    /// [`Error::Data`] if they are not of this task's examples.
    pub fn with_teacher(self, teacher: TeacherLogits) -> Result<Self> {
        let all: Vec<usize> = (0..self.lengths.len()).collect();
        teacher.expect_lengths(&self.target_lengths(&all))?;
        Ok(Self { teacher: Some(teacher), ..self })
    }

    /// The windows of some examples.
    fn halves(&self, examples: &[usize]) -> Result<[Half<'_>; 2]> {
        let pairs: Vec<(&Window, &Window)> =
            examples.iter().filter_map(|&example| self.pairs.get(example)).collect();
        let context_only = self.config.context_only;
        let (target, source) = pairs.into_iter().unzip();
        Ok([
            Half::new(target, context_only, self.model)?,
            Half::new(source, context_only, self.model)?,
        ])
    }

    fn target_lengths(&self, examples: &[usize]) -> Vec<usize> {
        let pairs = examples.iter().filter_map(|&example| self.pairs.get(example));
        pairs.map(|(target, _)| target.input_ids.len()).collect()
    }

    /// How many of some examples carry a label in their source half, in their target half, and soft
    /// labels.
    fn labels(&self, examples: &[usize]) -> [usize; 3] {
        let labelled = |window: &Window| usize::from(is_labelled(window, self.unanswerable));
        let (mut source, mut target) = (0, 0);
        for (own, other) in examples.iter().filter_map(|&example| self.pairs.get(example)) {
            (source, target) = (source + labelled(other), target + labelled(own));
        }
        [source, target, examples.len()]
    }

    /// What some examples add to the losses of a batch with `all` labels.
    fn shares(&self, examples: &[usize], all: [usize; 3]) -> Result<Vec<Share>> {
        let halves = self.halves(examples)?;
        let [target, source] = &halves;
        let [own, other] = logits(self.model, target, source, &self.config.fusion, true)?;
        let (span_loss, unanswerable) = (&self.config.span_loss, self.unanswerable);
        let soft = match &self.teacher {
            None => None,
            Some(teacher) => Some(self.soft_loss(teacher, target, examples, &own)?),
        };
        let alpha = if soft.is_some() { self.config.soft.alpha } else { 0.0 };
        let losses = [
            ("source", 1.0, source.loss(&other, unanswerable, span_loss)?),
            ("target", 1.0 - alpha, target.loss(&own, unanswerable, span_loss)?),
            ("soft", alpha, soft),
        ];
        let mut shares = Vec::new();
        for ((name, weight, loss), (count, all)) in
            losses.into_iter().zip(self.labels(examples).into_iter().zip(all))
        {
            if let Some(loss) = loss {
                let loss = match count == all {
                    true => loss,
                    false => loss.f_mul_scalar(count as f64 / all.max(1) as f64)?,
                };
                shares.push(Share { name, weight, loss });
            }
        }
        Ok(shares)
    }

    /// The mean of the divergences of starts and of ends.
    fn soft_loss(
        &self,
        teacher: &TeacherLogits,
        target: &Half<'_>,
        examples: &[usize],
        (starts, ends): &SpanLogits,
    ) -> Result<Tensor> {
        let soft = &self.config.soft;
        let device = starts.device();
        let mask = target.soft_mask(soft.positions)?;
        let (_, length) = starts.size2()?;
        let side = |part, logits: &Tensor| -> Result<Tensor> {
            let teacher = upload(&teacher.padded(part, examples, length)?, device)?;
            Ok(soft_labels(logits, &teacher, Some(&mask), &soft.loss)?)
        };
        Ok(side(0, starts)?.f_add(&side(1, ends)?)?.f_mul_scalar(0.5)?)
    }

    fn fingerprint_pairs(&self, fingerprint: &mut Fingerprint) {
        for (target, source) in self.pairs.iter() {
            fingerprint_windows(fingerprint, [target, source]);
        }
    }
}

/// The sum of shares that are a batch's own losses.
pub(super) fn sum(shares: Vec<Share>) -> Result<StepLosses, TaskError> {
    let mut total: Option<Tensor> = None;
    let mut parts = Vec::with_capacity(shares.len());
    for Share { name, weight, loss } in shares {
        parts.push((name, loss.f_detach()?));
        let weighted = loss.f_mul_scalar(weight)?;
        total = Some(match total {
            Some(total) => total.f_add(&weighted)?,
            None => weighted,
        });
    }
    let total = total.ok_or_else(|| Error::empty("example in a batch"))?;
    Ok(StepLosses { total, parts, tokens: None, accumulated: false })
}

impl Task for FusedQaTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        let unanswerable = u64::from(self.unanswerable);
        fingerprint.serialize("config", &self.config).number("unanswerable", unanswerable);
        self.fingerprint_pairs(fingerprint);
        if let Some(teacher) = &self.teacher {
            teacher.fingerprint(fingerprint);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let all = self.labels(step.batch);
        match step.micro_batch {
            Some(size) if size < step.batch.len() => {
                accumulate(&Part::cut(step.batch, size), |part| Ok(self.shares(part, all)?))
            }
            _ => sum(self.shares(step.batch, all)?),
        }
    }

    /// One softmax over the batch cannot be cut.
    fn takes_micro_batches(&self) -> bool {
        self.teacher.is_none() || self.config.soft.loss.over == SoftmaxOver::Row
    }

    fn left_out(&self) -> Vec<LeftOut> {
        let PairCounts { pairs, target_alone, .. } = self.counts;
        let without = pairs - self.lengths.len();
        [
            ("pairs of windows without an answer", without),
            ("pairs whose source half lacks the answer of the target half", target_alone),
        ]
        .map(|(what, count)| LeftOut::new(what, count, pairs))
        .into()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let record = |(target, _): (&Window, &Window)| ExampleRecord {
            id: self.ids.get(target.question).cloned(),
            input_ids: target.input_ids.clone(),
        };
        self.pairs.get(index).map(record).unwrap_or_default()
    }
}
