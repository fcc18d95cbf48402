//! The candidates Z: a trained reader's best spans of each training window, computed once and kept.
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mlqa_eval::Window;
use objectives::tch::{Kind, Tensor, no_grad};
use objectives::{CandidateSpans, TopKConfig, answer_candidates, top_k_spans};
use serde::{Deserialize, Serialize};
use torch_ext::{TensorFile, write_tensors};
use trainer::Fingerprint;
use xlmr_model::Model;

use super::config::CandidateConfig;
use crate::fingerprint;
use crate::reading::Batch;

/// Z of all windows of a training set, window by window.
#[derive(Debug)]
pub struct Candidates {
    /// `[N, K]` i64: the first token of each candidate, 0 in empty slots.
    pub starts: Tensor,
    /// `[N, K]` i64: the last token of each candidate, inclusive, 0 in empty slots.
    pub ends: Tensor,
    /// `[N, K]` bool: whether a candidate stands here.
    pub valid: Tensor,
    /// `[N]` i64: the slot of the gold span.
    pub gold_index: Tensor,
    /// What they are like.
    pub report: CandidateReport,
}

/// Candidates counted (Table 3 of the paper shows one window's).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct CandidateReport {
    /// N.
    pub windows: usize,
    /// Candidates in all windows, the gold spans included.
    pub candidates: usize,
    /// Windows whose gold span was among the reader's spans by itself.
    pub gold_listed: usize,
    /// Windows whose gold span was the reader's first.
    pub gold_first: usize,
    /// Candidates other than gold with one boundary right.
    pub one_boundary: usize,
    /// Candidates with none right.
    pub no_boundary: usize,
    /// Candidates with the gold span's tokens at another position; kept unless `drop_text_equal`.
    pub text_equal: usize,
}

/// A reader and the windows it is asked about; each has its gold span.
pub struct MinedReader<'a> {
    /// Encoder and span head.
    pub model: &'a Model,
    /// The folder it was loaded from, for the fingerprint.
    pub folder: &'a Path,
    /// Training windows.
    pub windows: &'a [Window],
    /// Windows in a batch.
    pub batch_size: usize,
}

/// What the file keeps beside the tensors; one entry, since several have no fixed order.
#[derive(Deserialize, Serialize)]
struct Record {
    fingerprint: String,
    report: CandidateReport,
}

const RECORD: &str = "record";
const NAMES: [&str; 4] = ["starts", "ends", "valid", "gold_index"];

impl Candidates {
    /// Reads `path` if the same model made it from the same windows with the same options; else asks the reader and writes it.
    /// The second value says whether it was read.
    ///
    /// # Errors
    /// If a window has no gold span, the model fails, or a file cannot be read or written.
    pub fn load_or_mine(
        path: &Path,
        reader: &MinedReader<'_>,
        config: &CandidateConfig,
    ) -> Result<(Self, bool)> {
        let fingerprint = reader.fingerprint(config)?;
        if path.exists() {
            let file = TensorFile::open(path)?;
            let record = file.metadata(RECORD);
            let record = record.and_then(|text| serde_json::from_str::<Record>(&text).ok());
            if let Some(record) = record.filter(|record| record.fingerprint == fingerprint) {
                return Ok((Self::read(&file, record.report)?, true));
            }
        }
        let mined = reader.mine(config)?;
        let record = Record { fingerprint, report: mined.report.clone() };
        let record = serde_json::to_string(&record)?;
        let tensors = [&mined.starts, &mined.ends, &mined.valid, &mined.gold_index];
        write_tensors(path, NAMES.into_iter().zip(tensors), &[(RECORD, record.as_str())])?;
        Ok((mined, false))
    }

    fn read(file: &TensorFile, report: CandidateReport) -> Result<Self> {
        let [starts, ends, valid, gold_index] = NAMES;
        Ok(Self {
            starts: file.read(starts)?,
            ends: file.read(ends)?,
            valid: file.read(valid)?,
            gold_index: file.read(gold_index)?,
            report,
        })
    }

    /// K, slots of each window.
    pub fn slots(&self) -> usize {
        self.starts.size().get(1).and_then(|size| usize::try_from(*size).ok()).unwrap_or(0)
    }
}

impl MinedReader<'_> {
    /// Of the model's bytes, the windows, and the options.
    fn fingerprint(&self, config: &CandidateConfig) -> Result<String> {
        let mut all = Fingerprint::new();
        all.serialize("config", config);
        for file in crate::folder::model_files(self.folder)? {
            all.add("model", fingerprint::of(&file)?);
        }
        for window in self.windows {
            let positions = (window.context_start, window.start_position, window.end_position);
            all.ids("input_ids", &window.input_ids).serialize("positions", &positions);
        }
        Ok(all.finish()?)
    }

    fn mine(&self, config: &CandidateConfig) -> Result<Candidates> {
        config.validate()?;
        let slots = i64::try_from(config.count)?;
        let count = i64::try_from(self.windows.len())?;
        let table = |kind| Tensor::f_zeros([count, slots], (kind, tch::Device::Cpu));
        let mut all = Candidates {
            starts: table(Kind::Int64)?,
            ends: table(Kind::Int64)?,
            valid: table(Kind::Bool)?,
            gold_index: Tensor::f_zeros([count], (Kind::Int64, tch::Device::Cpu))?,
            report: CandidateReport { windows: self.windows.len(), ..Default::default() },
        };
        // Like lengths together, to save padding; results go back to their places.
        let mut order: Vec<usize> = (0..self.windows.len()).collect();
        order.sort_by_key(|&k| self.windows.get(k).map(|window| window.input_ids.len()));
        for batch in order.chunks(self.batch_size.max(1)) {
            let chosen: Vec<&Window> = batch.iter().filter_map(|&k| self.windows.get(k)).collect();
            no_grad(|| self.mine_batch(&chosen, batch, config, &mut all))?;
        }
        Ok(all)
    }

    fn mine_batch(
        &self,
        chosen: &[&Window],
        places: &[usize],
        config: &CandidateConfig,
        all: &mut Candidates,
    ) -> Result<()> {
        let batch = window_batch(chosen, true, self.model)?;
        let hidden = self.model.encode(&batch.inputs(), false)?;
        let (start_logits, end_logits) = self.model.span_logits(&hidden)?;
        let device = start_logits.device();
        let context = context_mask(chosen)?.f_to_device(device)?;
        let top = TopKConfig {
            k: config.count,
            max_answer_len: Some(config.max_answer_len),
            ..Default::default()
        };
        let mut spans = top_k_spans(&start_logits, &end_logits, Some(&context), &top)?;
        let same = text_equal(chosen, &CandidateSpans::from(&spans))?.f_to_device(device)?;
        all.report.text_equal += total(&same)?;
        if config.drop_text_equal {
            spans.valid = spans.valid.f_logical_and(&same.f_logical_not()?)?;
        }
        let (gold_starts, gold_ends) = gold_positions(chosen)?;
        let (gold_starts, gold_ends) =
            (gold_starts.f_to_device(device)?, gold_ends.f_to_device(device)?);
        let right_start = spans.starts.f_eq_tensor(&gold_starts.f_unsqueeze(1)?)?;
        let right_end = spans.ends.f_eq_tensor(&gold_ends.f_unsqueeze(1)?)?;
        let right = right_start.f_logical_and(&right_end)?.f_logical_and(&spans.valid)?;
        all.report.gold_listed += total(&right)?;
        all.report.gold_first += total(&right.f_narrow(1, 0, 1)?)?;
        let length = *start_logits.size().get(1).context("logits")?;
        let list = CandidateSpans::from(&spans);
        let z = answer_candidates(&list, &gold_starts, &gold_ends, length, config.gold_slot)?;
        let right_start = z.starts.f_eq_tensor(&gold_starts.f_unsqueeze(1)?)?;
        let right_end = z.ends.f_eq_tensor(&gold_ends.f_unsqueeze(1)?)?;
        let one = right_start.f_logical_xor(&right_end)?.f_logical_and(&z.valid)?;
        let none = right_start.f_logical_or(&right_end)?.f_logical_not()?;
        all.report.candidates += total(&z.valid)?;
        all.report.one_boundary += total(&one)?;
        all.report.no_boundary += total(&none.f_logical_and(&z.valid)?)?;
        let places: Vec<i64> =
            places.iter().map(|&k| i64::try_from(k)).collect::<Result<_, _>>()?;
        let places = Tensor::f_from_slice(&places)?;
        for (whole, part) in [
            (&mut all.starts, &z.starts),
            (&mut all.ends, &z.ends),
            (&mut all.valid, &z.valid),
            (&mut all.gold_index, &z.gold_index),
        ] {
            let _ = whole.f_index_copy_(0, &places, &part.f_to_device(tch::Device::Cpu)?)?;
        }
        Ok(())
    }
}

fn total(mask: &Tensor) -> Result<usize> {
    Ok(usize::try_from(mask.f_sum(Kind::Int64)?.f_int64_value(&[])?)?)
}

/// Windows padded to one batch.
pub(super) fn window_batch(
    windows: &[&Window],
    context_only: bool,
    model: &Model,
) -> Result<Batch> {
    let ids: Vec<Vec<i64>> = windows
        .iter()
        .map(|window| window.input_ids.iter().map(|&id| i64::from(id)).collect())
        .collect();
    let ids: Vec<&[i64]> = ids.iter().map(Vec::as_slice).collect();
    Batch::new(&ids, windows, context_only, model)
}

/// `[B, L]` bool, true where `of(window, position)` holds.
pub(super) fn mask(windows: &[&Window], of: impl Fn(&Window, usize) -> bool) -> Result<Tensor> {
    let width = windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
    let flat: Vec<bool> = windows
        .iter()
        .flat_map(|window| (0..width).map(|k| k < window.input_ids.len() && of(window, k)))
        .collect();
    let shape = [i64::try_from(windows.len())?, i64::try_from(width)?];
    Ok(Tensor::f_from_slice(&flat)?.f_view(shape)?)
}

/// `[B, L]` bool: the context's tokens.
pub(super) fn context_mask(windows: &[&Window]) -> Result<Tensor> {
    mask(windows, |window, k| (window.context_start..window.context_end).contains(&k))
}

/// `[B]` i64 each: the gold span's first and last token.
pub(super) fn gold_positions(windows: &[&Window]) -> Result<(Tensor, Tensor)> {
    let position = |of: fn(&Window) -> Option<usize>| -> Result<Tensor> {
        let own = windows.iter().map(|window| {
            let place = of(window).filter(|place| *place > 0);
            Ok(i64::try_from(place.context("a window without its gold span")?)?)
        });
        Ok(Tensor::f_from_slice(&own.collect::<Result<Vec<i64>>>()?)?)
    };
    Ok((position(|window| window.start_position)?, position(|window| window.end_position)?))
}

/// `[B, M]` bool, on the CPU: candidates with the gold span's tokens at another position.
pub(super) fn text_equal(windows: &[&Window], spans: &CandidateSpans<'_>) -> Result<Tensor> {
    let rows = |tensor: &Tensor| -> Result<Vec<Vec<i64>>> {
        Ok(Vec::<Vec<i64>>::try_from(
            tensor.f_to_kind(Kind::Int64)?.f_to_device(tch::Device::Cpu)?,
        )?)
    };
    let (starts, ends, valid) = (rows(spans.starts)?, rows(spans.ends)?, rows(spans.valid)?);
    ensure!(starts.len() == windows.len(), "{} rows of spans", starts.len());
    let mut flat: Vec<bool> = Vec::new();
    for (window, ((starts, ends), valid)) in
        windows.iter().zip(starts.iter().zip(&ends).zip(&valid))
    {
        let gold = window.start_position.zip(window.end_position);
        let tokens = |from: usize, to: usize| window.input_ids.get(from..=to);
        for ((&start, &end), &valid) in starts.iter().zip(ends).zip(valid) {
            let span = (usize::try_from(start)?, usize::try_from(end)?);
            let equal = gold.is_some_and(|gold| {
                gold != span && tokens(gold.0, gold.1) == tokens(span.0, span.1)
            });
            flat.push(equal && valid == 1);
        }
    }
    Ok(Tensor::f_from_slice(&flat)?.f_view(spans.starts.size().as_slice())?)
}
