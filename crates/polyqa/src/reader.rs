//! The reader: a model that answers questions over documents.
use std::io::IsTerminal;
use std::path::Path;

use mlqa_eval::{DecodeConfig, NBest, Question, WindowConfig};
use model_hub::Hub;
use tasks::question_answering::QaPredictor;
use tch::Device;
use torch_ext::Precision;
use xlmr_model::{Config, Head, Pretrained};

use crate::answer::Gathered;
use crate::first_pass::{CANDIDATES, Selection};
use crate::passage::Passage;
use crate::{Answers, Calibration, Document, Documents, FirstPass, Result};

/// Bytes of contexts that are cut into windows at once; at least one document.
const BYTES_AT_ONCE: usize = 1 << 18;

/// Minimum hidden size of a large model, for which small batches use the whole CPU.
const LARGE_HIDDEN_SIZE: i64 = 512;

/// Returns the default window settings, limited to the model's positions.
pub(crate) fn default_windows(config: &Config) -> WindowConfig {
    let positions = usize::try_from(config.max_length()).unwrap_or(0);
    WindowConfig::fitting(positions, usize::try_from(config.type_vocab_size).unwrap_or(1))
}

/// Number of questions that are answered in one pass over the documents.
const QUESTIONS_PER_PASS: usize = 64;

/// An extractive reader: a model with a span head, and the selection of its answers.
///
/// Answers do not depend on which questions and documents are read together, except for rounding in
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
/// let found = reader.answer("Was ist die Hauptstadt von Peru?", vec![text])?;
/// println!("{} ({:.0} %)", found.answers[0].text, 100.0 * found.answers[0].probability);
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
    /// Windows have the default 384 tokens, or fewer if the model has fewer positions; at most five
    /// answers are returned per question.
    ///
    /// # Errors
    /// As [`Pretrained::load_trained`] and [`Calibration::read`].
    pub fn load(folder: impl AsRef<Path>, device: Device, precision: Precision) -> Result<Self> {
        let folder = folder.as_ref();
        let pretrained = Pretrained::load_trained(folder, Head::Span, device, precision)?;
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
    /// As [`Hub::resolve`] and [`load`](Self::load).
    pub fn open(model: &str, device: Device, precision: Precision) -> Result<Self> {
        Self::load(Hub::from_env().resolve(model, &mut |_| {})?.folder, device, precision)
    }

    /// Returns the compute precision.
    pub fn precision(&self) -> Precision {
        self.pretrained.model.precision()
    }

    /// Sets the length and overlap of the windows into which documents are cut.
    ///
    /// # Errors
    /// [`Error::Eval`](crate::Error::Eval) naming a length that is invalid for the model.
    pub fn with_windows(self, windows: WindowConfig) -> Result<Self> {
        let config = self.pretrained.model.config();
        let positions = usize::try_from(config.max_length()).unwrap_or(0);
        windows.validate(positions, usize::try_from(config.type_vocab_size).unwrap_or(1))?;
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
    /// where larger batches need more memory and save no time.
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets the maximum number of answers per question.
    #[must_use]
    pub fn with_answers(self, answers: usize) -> Self {
        Self { max_answers: answers, ..self }
    }

    /// Sets the null threshold; `None` leaves the calibration's threshold unchanged.
    #[must_use]
    pub fn with_null_threshold(mut self, threshold: Option<f64>) -> Self {
        self.calibration.null_threshold = threshold.or(self.calibration.null_threshold);
        self
    }

    /// Returns the window settings.
    pub fn windows(&self) -> &WindowConfig {
        &self.windows
    }

    /// Returns the options of answer selection.
    pub fn decoding(&self) -> &DecodeConfig {
        &self.decoding
    }

    /// Returns the best answers in a few documents. BM25 first selects the best [`CANDIDATES`]
    /// passages.
    ///
    /// # Errors
    /// As [`answer_all`](Self::answer_all).
    pub fn answer(&self, question: &str, documents: Vec<Document>) -> Result<Answers> {
        let batch = [(None, question.to_owned())];
        let mut found = Vec::new();
        let documents = documents.into();
        let pass = Some((&FirstPass::over(&documents)?, CANDIDATES));
        self.answer_all(&batch, &documents, pass, &mut |answers, _| -> Result<()> {
            found.extend(answers);
            Ok(())
        })?;
        Ok(found.pop().unwrap_or_else(|| {
            Gathered::new().finish(None, question.to_owned(), self.calibration.null_threshold)
        }))
    }

    /// Answers questions over all passages of the documents, or only over the passages selected by
    /// a first pass. Calls `done` with the answers to consecutive groups of questions, in order,
    /// and the number of documents that have been read. A call without answers reports progress.
    ///
    /// A question consists of an optional id and its text. The first pass lowers the scores of
    /// answers in less relevant passages; without it there are no penalties. One document with its
    /// windows, or about 256 kB of smaller documents, is in memory at a time.
    ///
    /// # Errors
    /// The errors of `done`, [`Documents::iter`] and [`QaPredictor::predict`].
    pub fn answer_all<E: From<crate::Error>>(
        &self,
        questions: &[(Option<String>, String)],
        documents: &Documents,
        first_pass: Option<(&FirstPass<'_>, usize)>,
        done: &mut dyn FnMut(Vec<Answers>, usize) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for batch in questions.chunks(QUESTIONS_PER_PASS) {
            let mut gathered: Vec<Gathered> = batch.iter().map(|_| Gathered::new()).collect();
            let texts: Vec<&str> = batch.iter().map(|(_, question)| question.as_str()).collect();
            let selection = first_pass.map(|(pass, passages)| pass.select(&texts, passages));
            let selection = selection.transpose()?;
            let mut pairs = Pairs::default();
            for (index, passage) in documents.passages().enumerate() {
                let (document, passage) = passage?;
                for (at, (_, question)) in batch.iter().enumerate() {
                    if selection.as_ref().is_some_and(|selection| !selection.contains(at, index)) {
                        continue;
                    }
                    pairs.push(at, question, index, &passage);
                    if pairs.bytes >= BYTES_AT_ONCE {
                        let pairs = std::mem::take(&mut pairs);
                        self.read(pairs, selection.as_ref(), &mut gathered)?;
                    }
                }
                done(Vec::new(), document)?;
            }
            self.read(pairs, selection.as_ref(), &mut gathered)?;
            let threshold = self.calibration.null_threshold;
            let finished = batch
                .iter()
                .zip(gathered)
                .map(|((id, question), one)| one.finish(id.clone(), question.clone(), threshold));
            done(finished.collect(), 0)?;
        }
        Ok(())
    }

    fn read(
        &self,
        pairs: Pairs,
        selection: Option<&Selection>,
        gathered: &mut [Gathered],
    ) -> Result<()> {
        let found = self.predict(&pairs.questions)?;
        pairs.items.iter().zip(found).for_each(|(pair, one)| {
            pair.gather(one, selection, gathered, &self.calibration, self.max_answers);
        });
        Ok(())
    }

    pub(crate) fn predictor(&self) -> QaPredictor<'_> {
        let Pretrained { model, tokenizer, .. } = &self.pretrained;
        QaPredictor::new(model, tokenizer, &self.windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.batch_size)
            .with_progress(std::io::stderr().is_terminal())
    }

    /// Returns the n-best lists of questions over their own contexts, see [`QaPredictor::predict`].
    ///
    /// # Errors
    /// As [`QaPredictor::predict`].
    pub fn predict(&self, questions: &[Question]) -> Result<Vec<NBest>> {
        Ok(self.predictor().predict(questions)?)
    }

    /// Returns the answers to questions over their own contexts, in order.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn answer_in_contexts(&self, questions: &[Question]) -> Result<Vec<(Answers, NBest)>> {
        let found = self.predict(questions)?;
        let answers = questions.iter().zip(found).map(|(question, one)| {
            let document = Document { id: question.title.clone(), text: question.context.clone() };
            let mut gathered = Gathered::new();
            gathered.add(&document, &one, &self.calibration, self.max_answers);
            let id = Some(question.id.clone());
            let threshold = self.calibration.null_threshold;
            (gathered.finish(id, question.question.clone(), threshold), one)
        });
        Ok(answers.collect())
    }
}

/// Pairs of questions and passages that are evaluated together.
#[derive(Default)]
pub(crate) struct Pairs {
    pub questions: Vec<Question>,
    pub items: Vec<Pair>,
    pub bytes: usize,
}

/// A question and a passage.
#[derive(Debug)]
pub(crate) struct Pair {
    question: usize,
    index: usize,
    passage: Passage,
}

impl Pair {
    /// Adds the answers found in the passage to the question's answers.
    pub fn gather(
        &self,
        mut found: NBest,
        selection: Option<&Selection>,
        gathered: &mut [Gathered],
        calibration: &Calibration,
        max_answers: usize,
    ) {
        if let Some(selection) = selection {
            selection.rescore(self.question, self.index, &mut found);
        }
        if let Some(gathered) = gathered.get_mut(self.question) {
            let found = self.passage.to_document_offsets(found);
            gathered.add(&self.passage.document, &found, calibration, max_answers);
        }
    }
}

impl Pairs {
    pub fn push(&mut self, at: usize, question: &str, index: usize, passage: &Passage) {
        let document = &passage.document;
        self.questions.push(Question {
            id: format!("{} about {}", at + 1, document.id),
            question: question.to_owned(),
            context: passage.text.clone(),
            answers: Vec::new(),
            title: document.id.clone(),
        });
        self.items.push(Pair { question: at, index, passage: passage.clone() });
        // An empty passage also takes memory.
        self.bytes = self.bytes.saturating_add(passage.text.len().max(256));
    }
}
