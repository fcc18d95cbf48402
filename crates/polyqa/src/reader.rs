//! The reader: a model that answers questions over documents.
use std::io::IsTerminal;
use std::path::Path;

use collection::{Passage, Query};
use mlqa_eval::{DecodeConfig, NBest, Question, WindowConfig};
use model_hub::Hub;
use tasks::question_answering::QaPredictor;
use tch::Device;
use torch_ext::{Precision, to_usize};
use xlmr_model::{Config, Head, Pretrained};

use crate::answer::{Collector, TruncatedQuestion};
use crate::earlier_readers::trained_with_segments;
use crate::search::{Candidate, Pair, Retrieval, for_each_batch};
use crate::{Answers, Calibration, Document, DocumentIndex, Result};

/// Minimum hidden size of a large model, for which small batches occupy all CPU cores.
const LARGE_HIDDEN_SIZE: i64 = 512;

/// Returns the default window settings, limited to the model's positions.
///
/// The maximum length of a question is half a window, which is longer than in training: a long
/// question leaves less space for the context, but its end is not lost.
pub(crate) fn default_windows(config: &Config) -> WindowConfig {
    let positions = usize::try_from(config.max_length()).expect("a model has positions");
    with_long_questions(WindowConfig::for_model(positions))
}

/// Maximum number of special tokens of a window.
const SPECIAL_TOKENS: usize = 4;

/// Sets the maximum length of questions to half a window, or less if `doc_stride` requires it, but
/// not less than the default of windows of this length.
///
/// ```
/// let windows = polyqa::with_long_questions(mlqa_eval::WindowConfig::for_model(512));
/// assert_eq!((windows.max_length, windows.max_question_length), (384, 192));
/// ```
pub fn with_long_questions(windows: WindowConfig) -> WindowConfig {
    let WindowConfig { max_length, doc_stride, .. } = windows;
    let max_by_stride = max_length.saturating_sub(doc_stride + SPECIAL_TOKENS + 1);
    let default = WindowConfig::for_model(max_length).max_question_length;
    let max_question_length = default.max(max_by_stride.min(max_length / 2));
    WindowConfig { max_question_length, ..windows }
}

/// A step of [`Reader::answer_all`].
#[derive(Debug)]
pub enum Step {
    /// This number of passages has been read for questions.
    Read(usize),
    /// The next questions have been answered.
    Answers(Vec<Answers>),
}

/// An extractive reader: a model with a span head, and options for selecting answers.
///
/// Answers do not depend on which questions and passages are in one batch, except for rounding in
/// padded batches.
///
/// # Example
/// ```no_run
/// use polyqa::{Document, Reader};
///
/// let device = tch::Device::Cpu;
/// let precision = polyqa::select_precision(Some("auto"), device)?;
/// let reader = Reader::load("runs/mine/model", device, precision)?;
/// let text = Document { id: "peru".into(), text: "The capital of Peru is Lima.".into() };
/// let result = reader.answer("Was ist die Hauptstadt von Peru?", vec![text])?;
/// println!("{} ({:.0} %)", result.answers[0].text, 100.0 * result.answers[0].probability);
/// # Ok::<(), polyqa::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    pub(crate) pretrained: Pretrained,
    windows: WindowConfig,
    decoding: DecodeConfig,
    pub(crate) calibration: Calibration,
    pub(crate) batch_size: usize,
    max_answers: usize,
}

impl Reader {
    /// Loads a Hugging Face folder of a model with a span head, and its calibration if it has one.
    ///
    /// Windows have the default 384 tokens, or fewer if the model has fewer positions. Up to half of
    /// a window is available to the question; the end of a longer question is ignored, see
    /// [`Answers::truncated_question`]. At most five answers are returned per question. The segments
    /// of question and context are those of the folder's tokenizer, see
    /// [`Model::pair_segments`](xlmr_model::Model::pair_segments). A reader of an earlier version of
    /// `polyqa train`, which did not record segments, has the segments with which it was trained.
    ///
    /// # Errors
    /// The errors of [`Pretrained::load_trained`] and [`Calibration::read`]; [`Error::Read`](crate::Error::Read)
    /// or [`Error::Content`](crate::Error::Content) for a `tokenizer_config.json` that cannot be read.
    pub fn load(folder: impl AsRef<Path>, device: Device, precision: Precision) -> Result<Self> {
        let folder = folder.as_ref();
        let mut pretrained = Pretrained::load_trained(folder, Head::Span, device, precision)?;
        if trained_with_segments(folder, pretrained.model.config())? {
            pretrained.enable_pair_segments()?;
        }
        let config = pretrained.model.config();
        let calibration = Calibration::read(folder)?;
        let window_score = calibration.window_score;
        Ok(Self {
            windows: default_windows(config),
            decoding: DecodeConfig { window_score, ..DecodeConfig::default() },
            calibration,
            batch_size: if device == Device::Cpu && config.hidden_size >= LARGE_HIDDEN_SIZE {
                8
            } else {
                32
            },
            max_answers: 5,
            pretrained,
        })
    }

    /// Loads a model by its folder or its name on the hub. A model that is not cached is
    /// downloaded.
    ///
    /// # Errors
    /// The errors of [`Hub::resolve`] and [`load`](Self::load).
    pub fn open(model: &str, device: Device, precision: Precision) -> Result<Self> {
        Self::load(Hub::from_env().resolve(model, &mut |_| {})?.folder, device, precision)
    }

    /// Returns the compute precision.
    pub fn precision(&self) -> Precision {
        self.pretrained.model.precision()
    }

    /// Sets the length and overlap of the windows into which documents are cut. With
    /// [`segment_ids`](WindowConfig::segment_ids), contexts are in segment 1 even if the model's
    /// tokenizer returns no token types.
    ///
    /// # Errors
    /// [`Error::Eval`](crate::Error::Eval) naming a value that is invalid for the model;
    /// [`Error::Model`](crate::Error::Model).
    pub fn with_windows(mut self, windows: WindowConfig) -> Result<Self> {
        let config = self.pretrained.model.config();
        windows.validate(to_usize(config.max_length()), to_usize(config.type_vocab_size))?;
        if windows.segment_ids {
            self.pretrained.enable_pair_segments()?;
        }
        Ok(Self { windows, ..self })
    }

    /// Sets the options of answer selection.
    ///
    /// # Errors
    /// [`Error::Eval`](crate::Error::Eval) naming an invalid value.
    pub fn with_decoding(self, decoding: DecodeConfig) -> Result<Self> {
        decoding.validate()?;
        Ok(Self { decoding, ..self })
    }

    /// Sets the number of windows in a batch. The default is 32, or 8 for a large model on the CPU,
    /// where larger batches require more memory without saving time.
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets the maximum number of answers per question.
    #[must_use]
    pub fn with_max_answers(self, max_answers: usize) -> Self {
        Self { max_answers, ..self }
    }

    /// Sets the null threshold for texts in all languages; `None` leaves the calibration's thresholds
    /// unchanged.
    #[must_use]
    pub fn with_null_threshold(mut self, threshold: Option<f64>) -> Self {
        self.calibration.null_threshold = threshold.or(self.calibration.null_threshold);
        self
    }

    /// Removes the fits of "no answer" on mismatched pairs, so that probabilities are a softmax over
    /// answers and "no answer", and only the null threshold of the calibration applies.
    #[must_use]
    pub fn without_no_answer_fit(mut self) -> Self {
        self.calibration.no_answer = None;
        self
    }

    /// Returns whether a question has no answer in its context by the null threshold alone, which
    /// is fitted on unanswerable questions or set by the user.
    pub(crate) fn is_null(&self, n_best: &NBest) -> bool {
        let Some(threshold) = self.calibration.null_threshold else { return false };
        n_best.null_odds().is_none_or(|odds| odds > threshold)
    }

    /// Returns the window settings.
    pub fn windows(&self) -> &WindowConfig {
        &self.windows
    }

    /// Returns the options of answer selection.
    pub fn decoding(&self) -> &DecodeConfig {
        &self.decoding
    }

    /// Returns the best answers to a question over documents. Only the
    /// [`DEFAULT_CANDIDATES`](crate::DEFAULT_CANDIDATES) best passages by BM25 are read, and at most as
    /// many passages that seem to be in other languages than the question. If nearly all passages are
    /// in other languages, all passages are read.
    ///
    /// # Errors
    /// The errors of [`DocumentIndex::over`] and [`answer_all`](Self::answer_all).
    pub fn answer(&self, question: &str, documents: Vec<Document>) -> Result<Answers> {
        let index = DocumentIndex::over(&documents.into())?;
        let mut results = Vec::new();
        self.answer_all(&[question.into()], &Retrieval::by_words(&index), &mut |step| {
            if let Step::Answers(answers) = step {
                results.extend(answers);
            }
            Ok::<(), crate::Error>(())
        })?;
        Ok(results.pop().expect("answers to each question"))
    }

    /// Answers questions over the passages that are selected for them.
    ///
    /// Calls `on_step` after each batch of passages, and with the answers to consecutive groups of
    /// questions, in order. The selection also lowers the scores of answers in less relevant passages.
    /// At any time, about 256 kB of passages with their windows are in memory.
    ///
    /// ```no_run
    /// use polyqa::{CollectionSearch, Reader, Retrieval, Step};
    ///
    /// # fn answer(reader: &Reader) -> polyqa::Result<()> {
    /// let snapshot = collection::Collection::open("library")?.snapshot()?;
    /// let search = CollectionSearch::new(&snapshot, None);
    /// let questions = ["Wo liegt Lima?".into(), "Wo liegt Quito?".into()];
    /// reader.answer_all(&questions, &Retrieval::by_words(&search), &mut |step| {
    ///     if let Step::Answers(results) = step {
    ///         results.iter().for_each(|result| println!("{result:?}"));
    ///     }
    ///     Ok::<(), polyqa::Error>(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of `on_step`, [`PassageSearch::search`](crate::PassageSearch::search) and
    /// [`QaPredictor::predict`]; [`Error::Tasks`](crate::Error::Tasks) if the retriever fails.
    pub fn answer_all<E: From<crate::Error>>(
        &self,
        queries: &[Query],
        retrieval: &Retrieval<'_>,
        on_step: &mut dyn FnMut(Step) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let Retrieval { search, max_passages, .. } = *retrieval;
        for group in Retrieval::groups(queries) {
            let vectors = retrieval.embed(group)?;
            let mut collectors: Vec<Collector> =
                group.iter().map(|query| self.collector(&query.text)).collect();
            for_each_batch::<E>(search, group, &vectors, max_passages, &mut |batch| {
                let n_bests = self.candidates(&batch.questions)?;
                self.add_to(&mut collectors, &batch.pairs, n_bests, self.max_answers);
                on_step(Step::Read(batch.pairs.len()))?;
                Ok(true)
            })?;
            let answers = group
                .iter()
                .zip(collectors)
                .map(|(query, collector)| self.finish(collector, query.clone()))
                .collect::<Result<Vec<_>>>()?;
            on_step(Step::Answers(answers))?;
        }
        Ok(())
    }

    /// Adds the answers in passages to those of their questions. `n_bests` has the candidates of each
    /// pair.
    pub(crate) fn add_to(
        &self,
        collectors: &mut [Collector],
        pairs: &[Pair],
        n_bests: Vec<NBest>,
        max_answers: usize,
    ) {
        assert_eq!(pairs.len(), n_bests.len(), "candidates of each pair");
        for (Pair { question, candidate }, mut n_best) in pairs.iter().zip(n_bests) {
            let Candidate { passage, penalty } = candidate;
            for answer in &mut n_best.candidates {
                answer.score -= penalty;
            }
            collectors[*question].add(passage, &n_best, &self.calibration, max_answers);
        }
    }

    pub(crate) fn predictor(&self) -> QaPredictor<'_> {
        let Pretrained { model, tokenizer, .. } = &self.pretrained;
        QaPredictor::new(model, tokenizer, &self.windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.batch_size)
            .with_progress(std::io::stderr().is_terminal())
    }

    /// Returns a predictor that returns all candidates of a passage. Without all candidates, the
    /// answers would depend on their maximum number, because many of the best candidates overlap.
    pub(crate) fn document_predictor(&self) -> QaPredictor<'_> {
        self.predictor().with_max_candidates(usize::MAX)
    }

    /// Returns all candidates of each question in its context.
    fn candidates(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        Ok(self.document_predictor().predict(questions)?)
    }

    pub(crate) fn collector(&self, question: &str) -> Collector {
        Collector::new(self.decoding.n_best, question)
    }

    /// Returns the collected answers to a question.
    pub(crate) fn finish(&self, collector: Collector, query: Query) -> Result<Answers> {
        let truncated = self.truncated_question(&query.text)?;
        Ok(collector.finish(query, truncated, &self.calibration))
    }

    /// Returns the number of tokens of a question that is longer than the maximum
    /// ([`WindowConfig::max_question_length`]), of which only the beginning is evaluated.
    ///
    /// # Errors
    /// [`Error::Eval`](crate::Error::Eval) if the tokenizer fails.
    pub fn truncated_question(&self, question: &str) -> Result<Option<TruncatedQuestion>> {
        let max_tokens = self.windows.max_question_length;
        // A token has at least one byte, but for a token of the word boundary at the beginning.
        if self.windows.compatible.is_some() || question.len() < max_tokens {
            return Ok(None);
        }
        let encoding = self.pretrained.tokenizer.encode_fast(question, false).map_err(|error| {
            let (name, message) = (format!("on the question {question:?}"), error.to_string());
            mlqa_eval::Error::Tokenizer { name, message }
        })?;
        let tokens = encoding.get_ids().len();
        Ok((tokens > max_tokens).then_some(TruncatedQuestion { tokens, max_tokens }))
    }

    /// Returns the n-best lists of questions over their contexts, see [`QaPredictor::predict`].
    ///
    /// # Errors
    /// The errors of [`QaPredictor::predict`].
    pub fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        Ok(self.predictor().predict(questions)?)
    }

    /// Returns the answers to questions over their contexts, in order, with the `n_best` best
    /// candidates, or as many as the maximum number of answers.
    ///
    /// # Errors
    /// The errors of [`predict`](Self::predict).
    pub fn answer_in_contexts(&self, questions: &[Question]) -> Result<Vec<(Answers, NBest)>> {
        let n_bests = self.candidates(questions)?;
        let max_candidates = self.decoding.n_best.max(self.max_answers);
        let answers = questions.iter().zip(n_bests).map(|(question, mut n_best)| {
            let passage = Passage::whole(question.title.clone(), question.context.clone());
            let mut collector = self.collector(&question.question);
            collector.add(&passage, &n_best, &self.calibration, self.max_answers);
            n_best.truncate(max_candidates);
            let query = Query { id: Some(question.id.clone()), text: question.question.clone() };
            Ok((self.finish(collector, query)?, n_best))
        });
        answers.collect()
    }
}
