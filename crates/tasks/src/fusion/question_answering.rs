//! Question answering with questions fused with their translations (FILTER, section 3).
use mlqa_eval::{Purpose, Question, UnanswerableWindow, Window, WindowConfig};
use tokenizers::Tokenizer;
use trainer::{ExampleRecord, Fingerprint, SkippedData};
use xlmr_model::{FusionConfig, Model};

use super::halves::{Half, is_labelled, logits};
use super::task::{FusedForward, FusedHead};
use super::{FusedQaConfig, FusedTask, PairCounts, WindowPairs};
use torch_ext::to_usize;

use crate::question_answering::{check_window_length, fingerprint_windows};
use crate::{Error, Result};

/// Training task of fused question answering.
///
/// An example is a window of a question and a window of its translation.
///
/// The loss of each half is [`objectives::span`], see [`FusedTask`]. The loss `soft` is the mean
/// over start and end logits.
///
/// Interpretation: under [`UnanswerableWindow::Cls`] a window without the answer is labelled with
/// `<s>`; under [`UnanswerableWindow::Drop`] such a window has no loss, but is still encoded with
/// the other half. Pairs are skipped if neither half has a label.
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
///     answers: vec![Answer::at(answer_start, answer)],
///     title: "".into(),
/// };
/// let german = [question("Welche Farbe?", "Ein rotes Haus.", "rotes", 4)];
/// let english = [question("Which colour?", "A red house.", "red", 2)];
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let config: FusedQaConfig = toml::from_str("fusion = { local = 1, cross = 1 }").unwrap();
/// let mut task =
///     FusedQaTask::new(&model, &tokenizer, &german, &english, &windows, &config)?;
///
/// // `trainer::fit` runs all steps of a training.
/// let rng = trainer::rng_for(0, "qa", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert_eq!(losses.parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["source", "target"]);
/// losses.total.backward();
/// # Ok::<(), tasks::Error>(())
/// ```
pub type FusedQaTask<'a> = FusedTask<'a, SpanPairs>;

/// Pairs of windows for a span head.
pub struct SpanPairs {
    config: FusedQaConfig,
    /// Whether windows without the answer are labelled.
    label_unanswerable: bool,
    /// The examples, in order: every pair with a label.
    pub(super) pairs: WindowPairs,
    /// Question ids; [`Window::question`] is an index into this list.
    ids: Vec<String>,
    counts: PairCounts,
}

impl<'a> FusedTask<'a, SpanPairs> {
    /// Splits questions and their translations into windows and pairs them. Both lists must have
    /// the same length and order.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range; [`Error::Data`] if the
    /// numbers of questions differ; [`Error::Eval`] if an answer is not at its offset, or a
    /// question leaves no space for its context; [`Error::Empty`] if no pair has a label.
    pub fn new(
        model: &'a Model,
        tokenizer: &Tokenizer,
        target: &[Question],
        source: &[Question],
        windows: &WindowConfig,
        config: &FusedQaConfig,
    ) -> Result<Self> {
        config.soft.validate()?;
        check_window_length(model, windows)?;
        config.fusion.validate(to_usize(model.config().num_hidden_layers))?;
        let label_unanswerable = windows.unanswerable_window == UnanswerableWindow::Cls;
        let pairing = config.pairing;
        let mut pairs =
            WindowPairs::new(target, source, tokenizer, windows, pairing, Purpose::Train)?;
        let counts = pairs.counts();
        let WindowPairs { target: target_windows, source: source_windows, pairs: indices } =
            &mut pairs;
        indices.retain(|&(target, source)| {
            is_labelled(&target_windows[target], label_unanswerable)
                || is_labelled(&source_windows[source], label_unanswerable)
        });
        if pairs.pairs.is_empty() {
            return Err(Error::empty(format!(
                "answer in any of {} pairs of windows",
                counts.pairs
            )));
        }
        let ids = target.iter().map(|question| question.id.clone()).collect();
        let lengths = pairs.lengths();
        let soft = config.soft.clone();
        let head = SpanPairs { config: config.clone(), label_unanswerable, pairs, ids, counts };
        Ok(Self { model, head, fusion: config.fusion, soft, lengths, teacher: None })
    }

    /// Returns the counts of pairs by the halves that contain the answer.
    pub fn counts(&self) -> &PairCounts {
        &self.head.counts
    }
}

impl FusedHead for SpanPairs {
    const OUTPUTS: &'static [&'static str] = &["starts", "ends"];

    fn forward(
        &self,
        model: &Model,
        fusion: &FusionConfig,
        examples: &[usize],
        train: bool,
    ) -> Result<FusedForward> {
        let FusedQaConfig { context_only, span_loss, soft, .. } = &self.config;
        let pairs = examples.iter().map(|&example| self.pairs.get(example));
        let (target, source): (Vec<&Window>, Vec<&Window>) = pairs.unzip();
        let target = Half::new(target, *context_only, model)?;
        let source = Half::new(source, *context_only, model)?;
        let [target_logits, source_logits] = logits(model, &target, &source, fusion, train)?;
        let loss = |half: &Half<'_>, logits| half.loss(logits, self.label_unanswerable, span_loss);
        let losses = if train {
            [loss(&source, &source_logits)?, loss(&target, &target_logits)?]
        } else {
            [None, None]
        };
        let (starts, ends) = target_logits;
        let soft_mask = Some(target.soft_mask(soft.positions)?);
        Ok(FusedForward { scores: vec![starts, ends], soft_mask, losses })
    }

    fn score_count(&self, example: usize) -> Option<usize> {
        Some(self.pairs.get(example).0.input_ids.len())
    }

    fn label_counts(&self, examples: &[usize]) -> [usize; 2] {
        let labelled = |window: &Window| usize::from(is_labelled(window, self.label_unanswerable));
        let (mut source, mut target) = (0, 0);
        for &example in examples {
            let (target_window, source_window) = self.pairs.get(example);
            source += labelled(source_window);
            target += labelled(target_window);
        }
        [source, target]
    }

    fn fingerprint_options(&self, fingerprint: &mut Fingerprint) {
        let label_unanswerable = u64::from(self.label_unanswerable);
        fingerprint.add_json("config", &self.config).add_number("unanswerable", label_unanswerable);
    }

    fn fingerprint_pairs(&self, fingerprint: &mut Fingerprint) {
        for (target, source) in self.pairs.iter() {
            fingerprint_windows(fingerprint, [target, source]);
        }
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let PairCounts { pairs, target_alone, .. } = self.counts;
        let unlabelled = pairs - self.pairs.pairs.len();
        [
            ("pairs of windows without an answer", unlabelled),
            ("pairs whose source half lacks the answer of the target half", target_alone),
        ]
        .map(|(description, count)| SkippedData::new(description, count, pairs))
        .into()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let (target, _) = self.pairs.get(index);
        ExampleRecord {
            id: Some(self.ids[target.question].clone()),
            input_ids: target.input_ids.clone(),
        }
    }
}
