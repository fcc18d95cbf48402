//! Candidates Z: stored best spans of a trained reader for each training window.
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use mlqa_eval::Window;
use objectives::{CandidateSpans, TopKConfig, answer_candidates, top_k_spans};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{TensorFile, to_i64, to_usize, write_tensors};
use trainer::Fingerprint;

use super::config::MiningConfig;
use xlmr_model::Model;

use crate::model_fingerprint::add_model;
use crate::question_answering::{WindowBatch, context_mask, fingerprint_windows, window_lengths};
use crate::{Error, Result, batch};

/// Candidates Z of all windows of a training set: N windows with K slots each.
#[derive(Debug)]
pub struct Candidates {
    /// `[N, K]` i64: the first token of each candidate, 0 in empty slots.
    pub starts: Tensor,
    /// `[N, K]` i64: the last token of each candidate, inclusive, 0 in empty slots.
    pub ends: Tensor,
    /// `[N, K]` bool: whether the slot holds a candidate.
    pub valid: Tensor,
    /// `[N]` i64: the slot of the gold span.
    pub gold_index: Tensor,
    /// Counts of the candidates.
    pub report: CandidateReport,
}

/// Counts of candidates (Table 3 of the paper shows the counts of one window).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct CandidateReport {
    /// Number of windows or examples, N.
    pub windows: usize,
    /// Candidates in all windows, including gold spans.
    pub candidates: usize,
    /// Windows whose gold span was among the reader's best spans.
    pub gold_listed: usize,
    /// Windows whose gold span was the reader's best span.
    pub gold_first: usize,
    /// Non-gold candidates with one correct boundary.
    pub one_boundary: usize,
    /// Candidates without a correct boundary.
    pub no_boundary: usize,
    /// Candidates with the gold span's tokens at another position; retained unless
    /// [`drop_duplicate_text`](MiningConfig::drop_duplicate_text) is set. The JSON key is
    /// `text_equal`.
    #[serde(rename = "text_equal")]
    pub duplicate_text: usize,
}

impl Display for CandidateReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { windows, candidates, gold_listed, gold_first, .. } = self;
        write!(
            f,
            "{candidates} candidates of {windows} windows; windows with the gold span among the \
             reader's spans: {gold_listed}, as the best span: {gold_first}; candidates with one \
             correct boundary: {}, with none: {}, with the gold text elsewhere: {}",
            self.one_boundary, self.no_boundary, self.duplicate_text
        )
    }
}

/// Finds candidates of training windows with a reader. Each window must contain its gold span.
#[derive(Clone, Copy)]
pub struct CandidateMiner<'a> {
    /// Encoder and span head.
    pub model: &'a Model,
    /// Training windows.
    pub windows: &'a [Window],
    /// Windows per batch.
    pub batch_size: usize,
}

/// Metadata of the candidates file. It is a single entry, because the order of several entries is
/// not deterministic.
#[derive(Deserialize, Serialize)]
struct Record {
    fingerprint: String,
    report: CandidateReport,
}

const RECORD: &str = "record";
const TENSOR_NAMES: [&str; 4] = ["starts", "ends", "valid", "gold_index"];

impl Candidates {
    /// Loads candidates from `path`, or computes and stores them.
    ///
    /// The file at `path` is used if it was computed with the same model parameters, windows and
    /// options. The returned flag is true if the candidates were read from `path`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of a value that is out of range; [`Error::Data`] if a
    /// window has no gold span; [`Error::Model`] if the model has no span head or rejects an input;
    /// [`Error::TorchExt`] naming a file that cannot be read or written.
    ///
    /// # Example
    /// ```
    /// use mlqa_eval::{Answer, Purpose, Question, WindowConfig, windows};
    /// use tasks::two_stage::{MiningConfig, CandidateMiner, Candidates};
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
    /// let windows = windows(&[question], &tokenizer, &WindowConfig::default(), Purpose::Train)?;
    /// let miner = CandidateMiner { model: &model, windows: &windows, batch_size: 64 };
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("candidates.safetensors");
    /// let config = MiningConfig { count: 5, ..MiningConfig::default() };
    ///
    /// let (computed, read) = Candidates::load_or_compute(&path, &miner, &config)?;
    /// assert_eq!((computed.starts.size(), computed.report.windows, read), (vec![1, 5], 1, false));
    /// assert!(Candidates::load_or_compute(&path, &miner, &config)?.1);
    /// # Ok::<(), tasks::Error>(())
    /// ```
    pub fn load_or_compute(
        path: &Path,
        miner: &CandidateMiner<'_>,
        config: &MiningConfig,
    ) -> Result<(Self, bool)> {
        let fingerprint = miner.fingerprint(config)?;
        if path.exists() {
            let file = TensorFile::open(path)?;
            let record = file.metadata(RECORD);
            // A file without a record of this form is from other code, and is computed again.
            let record = record.and_then(|text| serde_json::from_str::<Record>(&text).ok());
            if let Some(record) = record.filter(|record| record.fingerprint == fingerprint) {
                return Ok((Self::read(&file, record.report)?, true));
            }
        }
        let computed = miner.compute(config)?;
        let record = Record { fingerprint, report: computed.report.clone() };
        let record = atomic_file::json::to_string(path, &record)?;
        let tensors = [&computed.starts, &computed.ends, &computed.valid, &computed.gold_index];
        write_tensors(path, TENSOR_NAMES.into_iter().zip(tensors), &[(RECORD, record.as_str())])?;
        Ok((computed, false))
    }

    fn read(file: &TensorFile, report: CandidateReport) -> Result<Self> {
        let [starts, ends, valid, gold_index] = TENSOR_NAMES;
        Ok(Self {
            starts: file.read(starts)?,
            ends: file.read(ends)?,
            valid: file.read(valid)?,
            gold_index: file.read(gold_index)?,
            report,
        })
    }

    /// Returns K, the number of slots per window.
    pub fn slot_count(&self) -> usize {
        to_usize(self.starts.size()[1])
    }

    /// Creates empty slots for N windows.
    fn empty(windows: usize, slots: usize) -> Result<Self> {
        let (rows, slots) = (to_i64(windows), to_i64(slots));
        let zeros = |kind| Tensor::f_zeros([rows, slots], (kind, Device::Cpu));
        Ok(Self {
            starts: zeros(Kind::Int64)?,
            ends: zeros(Kind::Int64)?,
            valid: zeros(Kind::Bool)?,
            gold_index: Tensor::f_zeros([rows], (Kind::Int64, Device::Cpu))?,
            report: CandidateReport { windows, ..CandidateReport::default() },
        })
    }
}

impl CandidateMiner<'_> {
    /// Computes the hash of the model with its parameters, the windows and the options.
    fn fingerprint(&self, config: &MiningConfig) -> Result<String> {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add_json("config", config);
        add_model(&mut fingerprint, self.model);
        fingerprint_windows(&mut fingerprint, self.windows);
        Ok(fingerprint.finish()?)
    }

    fn compute(&self, config: &MiningConfig) -> Result<Candidates> {
        config.validate()?;
        let mut candidates = Candidates::empty(self.windows.len(), config.count)?;
        batch::compute_by_length(&window_lengths(self.windows), self.batch_size, |rows| {
            no_grad(|| self.compute_batch(rows, config, &mut candidates))?;
            Ok(vec![(); rows.len()])
        })?;
        Ok(candidates)
    }

    /// Computes the candidates of the windows with the indices `rows`.
    fn compute_batch(
        &self,
        rows: &[usize],
        config: &MiningConfig,
        candidates: &mut Candidates,
    ) -> Result<()> {
        let windows: Vec<&Window> = rows.iter().map(|&k| &self.windows[k]).collect();
        let batch = WindowBatch::new(&windows, true, self.model)?;
        let hidden = self.model.encode(&batch.inputs, false)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden, false)?;
        let device = start_logits.device();
        let context = context_mask(&windows)?.f_to_device(device)?;
        let top_k = TopKConfig { k: config.count, max_answer_len: Some(config.max_answer_len) };
        let mut spans = top_k_spans(&start_logits, &end_logits, Some(&context), &top_k)?;
        let duplicates =
            duplicate_text(&windows, &CandidateSpans::from(&spans))?.f_to_device(device)?;
        candidates.report.duplicate_text += count_true(&duplicates)?;
        if config.drop_duplicate_text {
            spans.valid = spans.valid.f_logical_and(&duplicates.f_logical_not()?)?;
        }
        let (gold_starts, gold_ends) = gold_positions(&windows)?;
        let (gold_starts, gold_ends) =
            (gold_starts.f_to_device(device)?, gold_ends.f_to_device(device)?);
        let start_matches = spans.starts.f_eq_tensor(&gold_starts.f_unsqueeze(1)?)?;
        let end_matches = spans.ends.f_eq_tensor(&gold_ends.f_unsqueeze(1)?)?;
        let is_gold = start_matches.f_logical_and(&end_matches)?.f_logical_and(&spans.valid)?;
        candidates.report.gold_listed += count_true(&is_gold)?;
        candidates.report.gold_first += count_true(&is_gold.f_narrow(1, 0, 1)?)?;
        let (_, length) = start_logits.size2()?;
        let reader_spans = CandidateSpans::from(&spans);
        let batch_candidates = answer_candidates(&reader_spans, &gold_starts, &gold_ends, length)?;
        let start_matches = batch_candidates.starts.f_eq_tensor(&gold_starts.f_unsqueeze(1)?)?;
        let end_matches = batch_candidates.ends.f_eq_tensor(&gold_ends.f_unsqueeze(1)?)?;
        let one_boundary =
            start_matches.f_logical_xor(&end_matches)?.f_logical_and(&batch_candidates.valid)?;
        let no_boundary = start_matches.f_logical_or(&end_matches)?.f_logical_not()?;
        candidates.report.candidates += count_true(&batch_candidates.valid)?;
        candidates.report.one_boundary += count_true(&one_boundary)?;
        candidates.report.no_boundary +=
            count_true(&no_boundary.f_logical_and(&batch_candidates.valid)?)?;
        let rows: Vec<i64> = rows.iter().copied().map(to_i64).collect();
        let rows = Tensor::f_from_slice(&rows)?;
        for (tensor, values) in [
            (&mut candidates.starts, &batch_candidates.starts),
            (&mut candidates.ends, &batch_candidates.ends),
            (&mut candidates.valid, &batch_candidates.valid),
            (&mut candidates.gold_index, &batch_candidates.gold_index),
        ] {
            let _ = tensor.f_index_copy_(0, &rows, &values.f_to_device(Device::Cpu)?)?;
        }
        Ok(())
    }
}

/// Returns the number of true elements of a mask.
fn count_true(mask: &Tensor) -> Result<usize> {
    let count = mask.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    usize::try_from(count).map_err(|_| Error::data("mask", "a count", count))
}

/// `[B]` i64 each, on the CPU: the gold span's first and last token.
pub(super) fn gold_positions(windows: &[&Window]) -> Result<(Tensor, Tensor)> {
    let positions = |position: fn(&Window) -> Option<usize>| -> Result<Tensor> {
        let gold = windows.iter().map(|window| {
            let missing = || {
                let actual = format!("none in a window of question number {}", window.question + 1);
                Error::data("gold span", "tokens of the context", actual)
            };
            Ok(to_i64(position(window).filter(|&k| k > 0).ok_or_else(missing)?))
        });
        Ok(Tensor::f_from_slice(&gold.collect::<Result<Vec<i64>>>()?)?)
    };
    Ok((positions(|window| window.start_position)?, positions(|window| window.end_position)?))
}

/// `[B, M]` bool, on the CPU: candidates with the gold span's tokens at another position.
pub(super) fn duplicate_text(windows: &[&Window], spans: &CandidateSpans<'_>) -> Result<Tensor> {
    // All tensors are copied to the CPU in a single transfer.
    let valid = spans.valid.f_to_kind(Kind::Int64)?;
    let stacked =
        Tensor::f_stack(&[spans.starts, spans.ends, &valid], 0)?.f_to_device(Device::Cpu)?;
    let to_rows = |index| -> Result<Vec<Vec<i64>>> {
        Ok(Vec::<Vec<i64>>::try_from(stacked.f_select(0, index)?)?)
    };
    let (starts, ends, valid) = (to_rows(0)?, to_rows(1)?, to_rows(2)?);
    if starts.len() != windows.len() {
        let expected = format!("one row for each of {} windows", windows.len());
        return Err(Error::data("spans", expected, format!("{} rows", starts.len())));
    }
    let mut flat: Vec<bool> = Vec::new();
    for (window, ((starts, ends), valid)) in
        windows.iter().zip(starts.iter().zip(&ends).zip(&valid))
    {
        let gold = window.start_position.zip(window.end_position);
        let tokens = |(first, last): (usize, usize)| &window.input_ids[first..=last];
        for ((&start, &end), &valid) in starts.iter().zip(ends).zip(valid) {
            let span = (to_usize(start), to_usize(end));
            let duplicate = |gold| gold != span && tokens(gold) == tokens(span);
            flat.push(valid == 1 && gold.is_some_and(duplicate));
        }
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view(spans.starts.size().as_slice())?)
}
