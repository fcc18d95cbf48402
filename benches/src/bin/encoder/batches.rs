//! Batches of windows of XQuAD. Every program gets the same batches.
use anyhow::{Context, Result};
use mlqa_eval::{Dataset, Purpose, Window, WindowConfig, windows};
use serde::{Deserialize, Serialize};
use xlmr_model::read_tokenizer;

use crate::{Architecture, Options};

/// Number of tokens to which a token attends in a local layer of ModernBERT, including the token
/// itself.
const LOCAL_WINDOW: f64 = 129.0;

/// A window: token ids, and the first and last token of its answer.
#[derive(Debug, Deserialize, Serialize)]
pub struct Row {
    pub ids: Vec<u32>,
    pub start: i64,
    pub end: i64,
}

/// Batches of windows.
pub type Batches = Vec<Vec<Row>>;

/// Creates one batch per step, including the warm-up step. Windows are selected from positions that
/// are spread over the file of each language, to imitate shuffled data.
pub fn create(options: &Options) -> Result<Batches> {
    let tokenizer = read_tokenizer(&options.tokenizer)?;
    let config = WindowConfig { max_length: options.length, ..WindowConfig::default() };
    let mut windows_by_language = Vec::new();
    for language in options.languages.split(',') {
        let data = Dataset::read(options.data.join(format!("xquad.{language}.json")))?;
        windows_by_language.push(windows(&data.questions, &tokenizer, &config, Purpose::Train)?);
    }
    let row_count = (options.steps + 1) * options.batch;
    let rows: Vec<Row> = (0..row_count)
        .map(|index| select_window(&windows_by_language, index))
        .collect::<Result<_>>()?;
    let mut batches: Batches = Vec::new();
    for row in rows {
        match batches.last_mut() {
            Some(batch) if batch.len() < options.batch => batch.push(row),
            _ => batches.push(vec![row]),
        }
    }
    Ok(batches)
}

fn select_window(windows_by_language: &[Vec<Window>], row: usize) -> Result<Row> {
    let language_windows =
        windows_by_language.get(row % windows_by_language.len().max(1)).context("no languages")?;
    // The stride 577 is prime, so in practice it has no common factor with the number of windows.
    let window =
        language_windows.get(row * 577 % language_windows.len().max(1)).context("no windows")?;
    let position = |index: Option<usize>| i64::try_from(index.unwrap_or(0));
    Ok(Row {
        ids: window.input_ids.clone(),
        start: position(window.start_position)?,
        end: position(window.end_position)?,
    })
}

/// Computes the number of floating-point operations (FLOP) of a training step's matmuls on tokens
/// that are not padding. The backward pass needs twice as many as the forward pass.
///
/// The count includes the matmuls with the layers' weights, and the two matmuls of attention (of
/// queries and keys, and of probabilities and values). For DeBERTa, matmuls with distance
/// embeddings are counted as if every pair of tokens had a separate embedding.
pub fn count_flop(batch: &[Row], options: &Options) -> f64 {
    let (layers, hidden) = (options.layers() as f64, options.hidden as f64);
    // Number of weights of a layer in units of hidden², share of layers with global attention, and
    // number of matmuls that involve each pair of a token and an attended token.
    let (weights, global_share, dot_products) = match options.architecture {
        Architecture::XlmRoberta => (12.0, 1.0, 2.0),
        Architecture::Modernbert => (8.5, 1.0 / 3.0, 2.0),
        Architecture::Eurobert => (16.0, 1.0, 2.0),
        Architecture::DebertaV2 => (12.0, 1.0, 4.0),
    };
    let row_flop = |row: &Row| {
        let tokens = row.ids.len() as f64;
        let attended = global_share * tokens + (1.0 - global_share) * tokens.min(LOCAL_WINDOW);
        3.0 * layers
            * tokens
            * (2.0 * weights * hidden * hidden + 2.0 * dot_products * hidden * attended)
    };
    batch.iter().map(row_flop).sum()
}

/// Counts the tokens that are not padding.
pub fn count_real_tokens(batch: &[Row]) -> usize {
    batch.iter().map(|row| row.ids.len()).sum()
}
