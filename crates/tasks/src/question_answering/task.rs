//! Training task of extractive question answering (*Bridging the Language Gap*, section III-C).
use std::borrow::Cow;
use std::ops::Range;

use mlqa_eval::{Purpose, Question, Window, WindowConfig, WindowCounts, windows};
use objectives::{GroupSpanConfig, SpanConfig, group_span, span};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tokenizers::Tokenizer;
use trainer::{
    ExampleRecord, Examples, Fingerprint, SkippedData, Step, StepLosses, Task, TaskError,
};

use super::augmentation::{EmbeddingNoise, noisy_embeddings, replace_question_tokens};
use super::entity_spans::entity_tokens;
use super::predictor::check_window_length;
use super::window_batch::{fingerprint_windows, position_labels, window_lengths};
use super::{Negatives, QaAugmentation, QuestionEntitySpans, WindowBatch};
use xlmr_model::Model;

use crate::micro_batches::{Reduction, losses};
use crate::{Error, Result};

/// Options of [`QaTask`]. The default is plain fine-tuning, as in `run_qa` of transformers.
///
/// # Example
/// ```
/// use tasks::question_answering::QaConfig;
///
/// let text = "context_only = true\n[augmentation]\nembedding_noise = 1.2";
/// let config: QaConfig = toml::from_str(text).unwrap();
/// assert!(config.context_only && config.augmentation.embedding_noise == 1.2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QaConfig {
    /// Whether only context tokens may start or end an answer (and `<s>` in windows labelled as
    /// unanswerable). Otherwise every token except padding is allowed.
    pub context_only: bool,
    /// Augmentation of questions.
    pub augmentation: QaAugmentation,
    /// Options of the loss.
    pub span_loss: SpanConfig,
    /// Negative windows of each question.
    #[serde(skip_serializing_if = "Negatives::is_disabled")]
    pub negatives: Negatives,
}

/// Training data of [`QaTask`].
#[derive(Clone, Copy, Debug)]
pub struct QaData<'a> {
    /// Questions with gold answers. The first answer is the training target.
    pub questions: &'a [Question],
    /// Spans of the entities that [`QaAugmentation::question_replacement`] preserves, if known.
    pub question_entity_spans: Option<&'a QuestionEntitySpans>,
    /// Options of the windows.
    pub windows: &'a WindowConfig,
}

/// Training task of extractive question answering for a span head.
///
/// An example is a window; its loss, `span`, is [`objectives::span`].
///
/// With [`Negatives`] an example is a window with the answer and its negative windows, or a window
/// of a question without an answer; the loss is [`Negatives::loss`]. A window without the answer is
/// then not an example if its question has an answer, but it may be a negative window.
///
/// # Example
/// ```
/// use mlqa_eval::{Answer, Question, WindowConfig};
/// use tasks::question_answering::{QaConfig, QaData, QaTask};
/// use trainer::{Step, Task};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let question = Question {
///     id: "q1".into(),
///     question: "Which colour?".into(),
///     context: "It is a red house.".into(),
///     answers: vec![Answer::at(8, "red")],
///     title: "".into(),
/// };
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let questions = [question];
/// let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
/// let mut task = QaTask::new(&model, &tokenizer, &data, &QaConfig::default())?;
///
/// // `trainer::fit` runs all steps of a training.
/// let rng = trainer::rng_for(0, "qa", 0);
/// let mut step = Step::new(&[0], rng);
/// let losses = task.losses(&mut step)?;
/// assert_eq!(losses.parts[0].0, "span");
/// losses.total.backward();
/// # Ok::<(), tasks::Error>(())
/// ```
pub struct QaTask<'a> {
    model: &'a Model,
    config: QaConfig,
    rows: Vec<Row>,
    lengths: Vec<usize>,
    /// Ids that may replace a question token.
    replacements: Vec<u32>,
    counts: WindowCounts,
    /// Number of examples with an answer and no negative window; `None` if negative windows are
    /// disabled.
    count_without_negatives: Option<usize>,
}

struct Row {
    /// The training window, then its negative windows.
    windows: Vec<Window>,
    /// Id of the question.
    id: String,
    /// Range of the entity within the question's tokens; empty without an entity.
    entity: Range<usize>,
}

/// A row with its random augmentation in a step.
struct AugmentedRow<'r> {
    row: &'r Row,
    /// The token ids of each window, with some question tokens replaced.
    ids: Vec<Cow<'r, [u32]>>,
    /// Noise on the question's embeddings.
    noise: EmbeddingNoise,
}

impl<'a> QaTask<'a> {
    /// Creates a task and splits the questions into windows.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range; [`Error::Eval`] if an
    /// answer is not at its offset, or a question leaves no space for its context; [`Error::Data`]
    /// if the vocabulary has only special tokens.
    pub fn new(
        model: &'a Model,
        tokenizer: &Tokenizer,
        data: &QaData<'_>,
        config: &QaConfig,
    ) -> Result<Self> {
        config.augmentation.validate()?;
        check_window_length(model, data.windows)?;
        let windows = windows(data.questions, tokenizer, data.windows, Purpose::Train)?;
        let counts = WindowCounts::of(data.questions, &windows, tokenizer, data.windows)?;
        let negatives = match config.negatives.count {
            0 => None,
            _ => Some(config.negatives.select(data.questions, tokenizer, data.windows)?),
        };
        let mut rows = windows
            .into_iter()
            .map(|window| {
                let question = &data.questions[window.question];
                let entity = question_entity(tokenizer, data, question)?;
                let id = question.id.clone();
                Ok(Row { windows: vec![window], id, entity: entity.unwrap_or(0..0) })
            })
            .collect::<Result<Vec<Row>>>()?;
        let count_without_negatives = negatives.map(|negatives| {
            rows.retain_mut(|row| add_negatives(row, data.questions, &negatives));
            let lacks_negatives =
                |row: &&Row| matches!(&*row.windows, [window] if has_answer(window));
            rows.iter().filter(lacks_negatives).count()
        });
        let length = |row: &Row| {
            let longest = window_lengths(&row.windows).into_iter().max();
            longest.expect("a row has its training window")
        };
        let lengths = rows.iter().map(length).collect();
        let (replacements, config) = (ordinary_token_ids(tokenizer)?, config.clone());
        Ok(Self { model, config, rows, lengths, replacements, counts, count_without_negatives })
    }

    /// Returns the token ids of a row's windows, with the same random replacements of question
    /// tokens in each window.
    fn augmented_ids<'r>(&self, row: &'r Row, rng: &mut ChaCha8Rng) -> Vec<Cow<'r, [u32]>> {
        let max_rate = self.config.augmentation.question_replacement;
        let mut window_ids: Vec<Cow<'r, [u32]>> =
            row.windows.iter().map(|window| Cow::Borrowed(window.input_ids.as_slice())).collect();
        if max_rate > 0.0 {
            let window = &row.windows[0];
            let question = &window.input_ids[1..window.question_end];
            let entity = row.entity.clone();
            let replaced_question =
                replace_question_tokens(question, entity, &self.replacements, max_rate, rng);
            for ids in &mut window_ids {
                ids.to_mut()[1..window.question_end].copy_from_slice(&replaced_question);
            }
        }
        window_ids
    }

    /// Draws the augmentation of a batch's rows. This happens before the batch is split into
    /// micro-batches, so the draws do not depend on the split.
    fn augment<'r>(&'r self, batch: &[usize], rng: &mut ChaCha8Rng) -> Vec<AugmentedRow<'r>> {
        let rows = batch.iter().map(|&k| &self.rows[k]);
        let mut rows: Vec<AugmentedRow<'r>> = rows
            .map(|row| AugmentedRow {
                row,
                ids: self.augmented_ids(row, rng),
                noise: EmbeddingNoise::default(),
            })
            .collect();
        let max_ratio = self.config.augmentation.embedding_noise;
        if max_ratio > 0.0 {
            rows.iter_mut().for_each(|row| row.noise = EmbeddingNoise::draw(max_ratio, rng));
        }
        rows
    }

    /// Computes the mean loss over the labelled windows of some rows.
    fn span_loss(&self, rows: &[AugmentedRow<'_>]) -> Result<Tensor> {
        let ids: Vec<&[u32]> = rows.iter().flat_map(|row| &row.ids).map(AsRef::as_ref).collect();
        let windows: Vec<&Window> = rows.iter().flat_map(|row| &row.row.windows).collect();
        let mut batch =
            WindowBatch::with_ids(&ids, &windows, self.config.context_only, self.model)?;
        if self.config.augmentation.embedding_noise > 0.0 {
            let noise = rows.iter().flat_map(|row| std::iter::repeat_n(row.noise, row.ids.len()));
            let noise: Vec<EmbeddingNoise> = noise.collect();
            let embeddings = noisy_embeddings(self.model, &batch, &noise)?;
            batch.inputs.inputs_embeds = Some(embeddings);
        }
        let hidden = self.model.encode(&batch.inputs, true)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden, true)?;
        // Labels stay on the CPU, where they are checked without waiting for a GPU.
        let starts = position_labels(&windows, |window| window.start_position)?;
        let ends = position_labels(&windows, |window| window.end_position)?;
        let (mask, config) = (Some(&batch.answer_mask), &self.config.span_loss);
        let Some(normalization) = self.config.negatives.normalization() else {
            return Ok(span(&start_logits, &end_logits, &starts, &ends, mask, config)?);
        };
        let config = GroupSpanConfig { reduction: config.reduction, normalization };
        let groups = (0_i64..).zip(rows).flat_map(|(k, row)| std::iter::repeat_n(k, row.ids.len()));
        let groups = Tensor::f_from_slice(&groups.collect::<Vec<i64>>())?;
        Ok(group_span(&start_logits, &end_logits, &groups, &starts, &ends, mask, &config)?)
    }
}

/// Returns whether a training window contains the answer. The answer never starts at the window's
/// first token.
fn has_answer(window: &Window) -> bool {
    window.start_position.is_some_and(|start| start > 0)
}

/// Adds the negative windows of a row's question if the row's training window has the answer.
/// Returns whether the row is an example.
fn add_negatives(row: &mut Row, questions: &[Question], negatives: &[Vec<Window>]) -> bool {
    let window = &row.windows[0];
    let question = window.question;
    if has_answer(window) {
        row.windows.extend_from_slice(&negatives[question]);
        return true;
    }
    questions[question].answers.is_empty()
}

/// Returns the token range of the entity in a question; `None` without an entity.
fn question_entity(
    tokenizer: &Tokenizer,
    data: &QaData<'_>,
    question: &Question,
) -> Result<Option<Range<usize>>> {
    let span = data.question_entity_spans.and_then(|spans| spans.get(&question.id));
    match span {
        Some(span) => entity_tokens(tokenizer, &question.question, span),
        None => Ok(None),
    }
}

/// Returns all token ids except those of special tokens.
fn ordinary_token_ids(tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let added = tokenizer.get_added_tokens_decoder();
    let is_special = |id: &u32| added.get(id).is_some_and(|token| token.special);
    let size = tokenizer.get_vocab_size(true);
    let size =
        u32::try_from(size).map_err(|_| Error::data("vocabulary", "at most 2^32 tokens", size))?;
    let ordinary_ids: Vec<u32> = (0..size).filter(|id| !is_special(id)).collect();
    match ordinary_ids.is_empty() {
        true => Err(Error::data("vocabulary", "ordinary tokens", "only special tokens")),
        false => Ok(ordinary_ids),
    }
}

impl Task for QaTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("config", &self.config).add_ids("replacements", &self.replacements);
        fingerprint_windows(fingerprint, self.rows.iter().flat_map(|row| &row.windows));
        for row in &self.rows {
            fingerprint.add_json("entity", &row.entity);
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let rows = self.augment(step.batch, &mut step.rng);
        let targets = |row: &AugmentedRow<'_>| {
            let labelled = |window: &&Window| window.start_position.is_some();
            row.row.windows.iter().filter(labelled).count()
        };
        losses(step, "span", &rows, Reduction::Mean, targets, |rows| self.span_loss(rows))
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        let counts = &self.counts;
        let skipped = [
            ("questions without an answer", counts.without_answer),
            ("questions whose answer is blank", counts.blank_answer),
            ("questions whose context is blank", counts.blank_context),
            ("questions whose answer fits in no window", counts.answer_outside),
            ("questions cut at max_question_length", counts.truncated_question),
        ]
        .into_iter()
        .map(|(description, count)| SkippedData::new(description, count, counts.questions));
        let description = "windows with an answer that have no negative window";
        let without_negative = self
            .count_without_negatives
            .map(|count| SkippedData::new(description, count, self.rows.len()));
        skipped.chain(without_negative).collect()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let Row { windows, id, .. } = &self.rows[index];
        ExampleRecord {
            id: Some(id.clone()),
            input_ids: windows.iter().flat_map(|window| &window.input_ids).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xlmr_model::Model;

    use super::super::NegativeLoss;
    use super::*;
    use crate::testing::{
        self, assert_bf16_is_near_f32, assert_micro_batches_match, fingerprint_of, first_loss,
        model, tokenizer,
    };

    const CONTEXT: &str = "The official language of Peru is Spanish . A region is Asia .";

    fn question() -> Question {
        testing::question("q", "What is the official language of Peru ?", CONTEXT, "Spanish")
    }

    fn task<'a>(
        model: &'a Model,
        tokenizer: &Tokenizer,
        augmentation: QaAugmentation,
    ) -> QaTask<'a> {
        let (questions, windows) = ([question()], WindowConfig::default());
        let windows = WindowConfig { max_length: 90, doc_stride: 10, segment_ids: true, ..windows };
        let spans = QuestionEntitySpans::from([("q".to_owned(), 33..37)]);
        let data = QaData {
            questions: &questions,
            question_entity_spans: Some(&spans),
            windows: &windows,
        };
        let config = QaConfig { augmentation, ..QaConfig::default() };
        QaTask::new(model, tokenizer, &data, &config).unwrap()
    }

    #[test]
    fn the_entity_of_the_question_is_never_replaced() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let augmentation = QaAugmentation { question_replacement: 1.0, ..Default::default() };
        let task = task(&model, &tokenizer, augmentation);
        let row = &task.rows[0];
        let end = row.windows[0].question_end;
        let original = &row.windows[0].input_ids;
        let question = &original[1..end];
        let peru = tokenizer.encode_fast("Peru", false).unwrap();
        let peru = peru.get_ids();
        assert_eq!(&question[row.entity.clone()], peru);
        let mut rng = trainer::rng_for(1, "test", 0);
        let (mut changed, mut moved_entities) = (0, 0);
        for _ in 0..100 {
            let ids = task.augmented_ids(row, &mut rng).remove(0);
            assert_eq!(ids.len(), original.len());
            assert_eq!((ids[0], &ids[end..]), (0, &original[end..]));
            let augmented_question = &ids[1..end];
            assert!(
                augmented_question.windows(peru.len()).any(|part| part == peru),
                "{augmented_question:?}"
            );
            assert!(augmented_question.iter().all(|&id| id >= 5 || question.contains(&id)));
            changed += usize::from(augmented_question != question);
            moved_entities += usize::from(&augmented_question[row.entity.clone()] != peru);
        }
        assert!(
            changed > 70 && (20..80).contains(&moved_entities),
            "{changed} changed, {moved_entities} moved"
        );
    }

    #[test]
    fn noise_is_bounded_and_limited_to_the_question() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let task = task(&model, &tokenizer, QaAugmentation::default());
        let window = &task.rows[0].windows[0];
        let batch = WindowBatch::new(&[window], true, &model).unwrap();
        let ids: Vec<i64> = window.input_ids.iter().map(|&id| i64::from(id)).collect();
        let embeddings = Tensor::f_embedding(
            model.word_embeddings(),
            &Tensor::from_slice(&ids).unsqueeze(0),
            -1,
            false,
            false,
        )
        .unwrap();
        let question_length = window.context_start as i64 - 1;
        let mut max_ratio: f64 = 0.0;
        for k in 0..50 {
            let noise = EmbeddingNoise { ratio: 1.2 * k as f64 / 49.0, seed: k };
            let noise = noisy_embeddings(&model, &batch, &[noise]).unwrap() - &embeddings;
            let after = noise.slice(1, question_length, None, 1).abs().max().double_value(&[]);
            assert_eq!(after, 0.0);
            let ratio = noise.slice(1, 0, question_length, 1).norm()
                / embeddings.slice(1, 0, question_length, 1).norm();
            max_ratio = max_ratio.max(ratio.double_value(&[]));
        }
        assert!((0.8..1.5).contains(&max_ratio), "{max_ratio}");
    }

    #[test]
    fn windows_without_the_answer_are_trained_with_the_first_token() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let mut long_question = question();
        long_question.context =
            Arc::from(format!("{CONTEXT} {}", "The region of Peru is Asia . ".repeat(20)));
        let (questions, windows) = ([long_question], WindowConfig::default());
        let windows = WindowConfig { max_length: 60, doc_stride: 10, segment_ids: true, ..windows };
        let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
        let augmentation = QaAugmentation { question_replacement: 0.5, ..Default::default() };
        let config = QaConfig { context_only: true, augmentation, ..Default::default() };
        let mut task = QaTask::new(&model, &tokenizer, &data, &config).unwrap();
        assert!(task.rows.iter().any(|row| row.windows[0].start_position == Some(0)));
        let batch: Vec<usize> = (0..task.rows.len()).collect();
        let loss = first_loss(&mut task, &batch).double_value(&[]);
        assert!(loss.is_finite() && loss > 0.0);
    }

    #[test]
    fn skipped_questions_are_counted() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let without_answer = Question { answers: Vec::new(), ..question() };
        let long_question = Question { question: "What ? ".repeat(60), ..question() };
        let questions = [question(), without_answer.clone(), without_answer, long_question];
        let windows = WindowConfig::default();
        let windows =
            WindowConfig { max_length: 90, doc_stride: 10, max_question_length: 40, ..windows };
        let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
        let task = QaTask::new(&model, &tokenizer, &data, &QaConfig::default()).unwrap();
        let messages: Vec<String> =
            task.skipped_data().iter().map(SkippedData::to_string).collect();
        let expected = [
            "questions without an answer: 2 of 4",
            "questions whose answer is blank: 0 of 4",
            "questions whose context is blank: 0 of 4",
            "questions whose answer fits in no window: 0 of 4",
            "questions cut at max_question_length: 1 of 4",
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn options_entities_and_windows_are_in_the_fingerprint() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let hash = |change: &dyn Fn(&mut QaConfig, &mut WindowConfig, &mut QuestionEntitySpans)| {
            let questions = [question()];
            let mut windows = WindowConfig { max_length: 90, doc_stride: 10, ..Default::default() };
            let (mut config, mut spans) = (QaConfig::default(), QuestionEntitySpans::new());
            change(&mut config, &mut windows, &mut spans);
            let data = QaData {
                questions: &questions,
                question_entity_spans: Some(&spans),
                windows: &windows,
            };
            fingerprint_of(&QaTask::new(&model, &tokenizer, &data, &config).unwrap())
        };
        let default_hash = hash(&|_, _, _| {});
        assert_eq!(default_hash, hash(&|_, _, _| {}));
        assert_ne!(default_hash, hash(&|config, _, _| config.augmentation.embedding_noise = 0.1));
        assert_ne!(default_hash, hash(&|config, _, _| config.context_only = true));
        assert_ne!(default_hash, hash(&|config, _, _| config.negatives.count = 1));
        assert_eq!(default_hash, hash(&|config, _, _| config.negatives.seed = 1));
        assert_ne!(default_hash, hash(&|_, windows, _| windows.segment_ids = true));
        assert_ne!(default_hash, hash(&|_, _, spans| spans.extend([("q".to_owned(), 33..37)])));
    }

    #[test]
    fn invalid_options_are_reported_with_their_key() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let error_of = |augmentation, max_length| {
            let windows = WindowConfig { max_length, doc_stride: 10, ..Default::default() };
            let data = QaData { questions: &[], question_entity_spans: None, windows: &windows };
            let config = QaConfig { augmentation, ..QaConfig::default() };
            QaTask::new(&model, &tokenizer, &data, &config).err().unwrap().to_string()
        };
        let negative_noise = QaAugmentation { embedding_noise: -1.0, ..Default::default() };
        let error = error_of(negative_noise, 60);
        assert_eq!(error, "qa.augmentation.embedding_noise = -1: must be 0 or more");
        let invalid_rate = QaAugmentation { question_replacement: 1e30, ..Default::default() };
        let error = error_of(invalid_rate, 60);
        assert!(error.ends_with("must be from 0 to 1"), "{error}");
        let error = error_of(QaAugmentation::default(), 384);
        assert!(error.starts_with("windows.max_length = 384: must be at most"), "{error}");
    }

    #[test]
    fn windows_with_the_answer_are_trained_with_their_negatives() {
        let (model, tokenizer) = (model(4000), tokenizer());
        let titled_question = |k: usize, context: &str| Question {
            id: k.to_string(),
            context: Arc::from(context),
            title: "Peru".into(),
            ..question()
        };
        // Every second context is long, with windows that lack the answer.
        let context = |k: usize| format!("{CONTEXT} {}", "The region is Asia . ".repeat(k % 2 * 9));
        let mut questions: Vec<Question> =
            (0..8).map(|k| titled_question(k, &context(k))).collect();
        questions.push(Question { answers: Vec::new(), ..titled_question(8, "Japan is here .") });
        questions.push(Question { answers: Vec::new(), ..titled_question(9, "Asia is here .") });
        let windows = WindowConfig { max_length: 60, doc_stride: 10, ..WindowConfig::default() };
        let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
        let (parameters, batch) = (model.named_parameters(), (0..10).collect::<Vec<usize>>());
        let mut totals = Vec::new();
        for loss in [NegativeLoss::Shared, NegativeLoss::NoAnswer, NegativeLoss::Sigmoid] {
            let augmentation = QaAugmentation { embedding_noise: 0.1, question_replacement: 0.5 };
            let negatives = Negatives { count: 2, loss, seed: 3 };
            let config =
                QaConfig { context_only: true, augmentation, negatives, ..QaConfig::default() };
            let task = || QaTask::new(&model, &tokenizer, &data, &config).unwrap();
            let windows_per_row: Vec<usize> =
                task().rows.iter().map(|row| row.windows.len()).collect();
            assert_eq!(windows_per_row, [3, 3, 3, 3, 3, 3, 3, 3, 1, 1]);
            assert_micro_batches_match(&parameters, task, &batch);
            totals.push(first_loss(&mut task(), &batch).double_value(&[]));
            let skipped: Vec<SkippedData> = task().skipped_data();
            assert_eq!((skipped.len(), skipped.last().unwrap().count), (6, 0));
        }
        // The loss of an untrained model is about the logarithm of the number of tokens in the
        // softmax: the tokens of three windows for `shared`, and of one window for `no_answer`.
        let [shared, no_answer, sigmoid] = totals[..] else { panic!("{totals:?}") };
        assert!(no_answer + 0.5 < shared && shared < 6.0 && sigmoid > 20.0, "{totals:?}");
    }

    #[test]
    fn bf16_and_micro_batches_change_results_little() {
        let (model, tokenizer) = (model(4000), tokenizer());
        // Windows of different lengths, some without the answer, so that micro-batches have
        // different numbers of targets.
        let context = |k: usize| format!("{CONTEXT} {}", "The region of Peru . ".repeat(k % 7));
        let numbered_question = |k| Question { context: Arc::from(context(k)), ..question() };
        let questions: Vec<Question> = (0..40).map(numbered_question).collect();
        let windows = WindowConfig { max_length: 60, doc_stride: 10, ..WindowConfig::default() };
        let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
        let augmentation = QaAugmentation { question_replacement: 0.5, ..Default::default() };
        let config = QaConfig { context_only: true, augmentation, ..Default::default() };
        let task = || QaTask::new(&model, &tokenizer, &data, &config).unwrap();
        assert!(task().rows.len() > 40);
        let (parameters, batch) = (model.named_parameters(), (0..32).collect::<Vec<usize>>());
        assert_bf16_is_near_f32(&parameters, task, &batch);
        assert_micro_batches_match(&parameters, task, &batch);
        let record = task().example(0);
        assert_eq!((record.id.as_deref(), record.input_ids[0]), (Some("q"), 0));
    }
}
