//! Batching of rows by similar length, with results in the order of the rows.
use std::io::Write;
use std::time::{Duration, Instant};

use xlmr_model::{Inputs, Model};

use crate::{Error, Result};

/// Calls `compute` with batches of row indices and returns one result per row, in the order of the
/// rows.
///
/// Batches contain rows of similar length to reduce padding.
///
/// Calls that take more than ten seconds print their progress to standard error.
///
/// `lengths` has one entry for each row, in tokens; `compute` must return one result for each
/// index. Rows of equal length keep their order, so the batches depend only on `lengths` and
/// `batch_size`.
///
/// # Errors
/// [`Error::Config`] if `batch_size` is 0; [`Error::Data`] if `compute` does not return one result
/// per index; errors of `compute`.
pub(crate) fn compute_by_length<T>(
    lengths: &[usize],
    batch_size: usize,
    compute: impl FnMut(&[usize]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    compute_by_length_with_progress(true, lengths, batch_size, compute)
}

/// Like [`compute_by_length`], but prints no progress if `print_progress` is false.
pub(crate) fn compute_by_length_with_progress<T>(
    print_progress: bool,
    lengths: &[usize],
    batch_size: usize,
    mut compute: impl FnMut(&[usize]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if batch_size == 0 {
        return Err(Error::config("batch_size", 0, "1 or more"));
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| lengths[row]);
    let mut results: Vec<(usize, T)> = Vec::with_capacity(lengths.len());
    let mut progress = RowProgress::new(lengths);
    for batch in order.chunks(batch_size) {
        let batch_results = compute(batch)?;
        assert_eq!(batch_results.len(), batch.len(), "a batch has one result per row");
        results.extend(batch.iter().copied().zip(batch_results));
        if let Some(text) = progress.add(batch, lengths, FIRST_REPORT).filter(|_| print_progress) {
            // Errors are ignored: standard error may be closed.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
    results.sort_by_key(|&(row, _)| row);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Time from the start to the first progress message. Each further message is printed when the
/// elapsed time has at least doubled.
const FIRST_REPORT: Duration = Duration::from_secs(10);

/// Progress of a computation over rows.
struct RowProgress {
    start: Instant,
    /// Time from the start to the last message.
    last_report: Duration,
    done_rows: usize,
    /// Number of tokens in the processed rows.
    done_tokens: usize,
    /// Number of tokens in all rows.
    all_tokens: usize,
}

impl RowProgress {
    fn new(lengths: &[usize]) -> Self {
        Self {
            start: Instant::now(),
            last_report: Duration::ZERO,
            done_rows: 0,
            done_tokens: 0,
            all_tokens: lengths.iter().sum(),
        }
    }

    /// Counts a batch, and returns the progress message if one is due.
    fn add(&mut self, batch: &[usize], lengths: &[usize], first: Duration) -> Option<String> {
        self.done_rows += batch.len();
        self.done_tokens += batch.iter().map(|&row| lengths[row]).sum::<usize>();
        let elapsed = self.start.elapsed();
        if elapsed < first.max(2 * self.last_report) || self.done_rows == lengths.len() {
            return None;
        }
        self.last_report = elapsed;
        let ratio = self.all_tokens as f64 / self.done_tokens.max(1) as f64;
        let seconds_left = elapsed.as_secs_f64() * (ratio - 1.0);
        let (rows, row_count) = (self.done_rows, lengths.len());
        Some(format!("{rows} of {row_count} rows done; about {seconds_left:.0} s remaining"))
    }
}

/// Creates the model inputs of a batch by padding its rows; a row is one text or a pair of texts.
///
/// Pairs have the model's segments ([`Model::pair_segments`]). In XLM-R and architectures with its
/// layers, both texts of a pair are in segment 0, as in the training of these architectures.
///
/// # Errors
/// [`Error::Torch`] if libtorch fails.
pub(crate) fn pair_inputs(model: &Model, rows: &[&[u32]]) -> Result<Inputs> {
    let inputs = Inputs::from_rows(rows, model.config().pad_token_id)?;
    let is_roberta = model.config().architecture.is_roberta();
    let segments = model.pair_segments().filter(|_| !is_roberta);
    let Some(n_separators) = segments else { return Ok(inputs) };
    let segments: Vec<Vec<u32>> = rows.iter().map(|row| pair_segments(row, n_separators)).collect();
    let segments: Vec<&[u32]> = segments.iter().map(Vec::as_slice).collect();
    Ok(inputs.with_token_type_ids(&segments)?)
}

/// Returns the segment ids of a row: 1 for the second text, for the last `n_separators` separators
/// before it and for all tokens after it, else 0. Separators are the tokens equal to the row's last
/// token.
fn pair_segments(row: &[u32], n_separators: usize) -> Vec<u32> {
    let is_separator = |id: &u32| Some(id) == row.last();
    let segment_1_start = row.iter().position(is_separator).and_then(|first| {
        // The token that ends the row is no separator between texts. It is the only one in a row
        // of one text.
        let end = row.len() - 1;
        let count = row[first..end].iter().take_while(|id| is_separator(id)).count();
        count.checked_sub(1).map(|max| first + count - n_separators.min(max))
    });
    let segment_1_start = segment_1_start.unwrap_or(row.len());
    (0..row.len()).map(|index| u32::from(index >= segment_1_start)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_text_is_segment_1() {
        assert_eq!(pair_segments(&[2, 7, 8, 3, 9, 3], 0), [0, 0, 0, 0, 1, 1]);
        assert_eq!(pair_segments(&[2, 7, 3, 3, 9, 3], 0), [0, 0, 0, 0, 1, 1]);
        assert_eq!(pair_segments(&[2, 7, 3, 3, 9, 3], 1), [0, 0, 0, 1, 1, 1]);
        assert_eq!(pair_segments(&[2, 7, 8, 3], 0), [0; 4]);
        assert_eq!(pair_segments(&[2, 7, 8, 3], 1), [0; 4]);
        // The second text is empty.
        assert_eq!(pair_segments(&[2, 7, 3, 3], 0), [0, 0, 0, 1]);
        assert!(pair_segments(&[], 0).is_empty());
    }

    #[test]
    fn progress_is_reported_at_growing_intervals() {
        let lengths = [3, 1, 4];
        let mut progress = RowProgress::new(&lengths);
        assert_eq!(progress.add(&[1], &lengths, FIRST_REPORT), None);
        let text = progress.add(&[0], &lengths, Duration::ZERO).unwrap();
        assert!(text.starts_with("2 of 3 rows done; about 0 s remaining"), "{text}");
        // No progress message is returned after the last row.
        assert_eq!(progress.add(&[2], &lengths, Duration::ZERO), None);
        let mut progress = RowProgress::new(&lengths);
        progress.last_report = Duration::from_secs(60);
        assert_eq!(progress.add(&[1], &lengths, Duration::ZERO), None);
    }

    #[test]
    fn empty_batches_are_errors() {
        assert!(compute_by_length::<u8>(&[1], 0, |_| Ok(vec![0])).is_err());
        assert!(compute_by_length::<u8>(&[], 2, |_| Ok(vec![])).unwrap().is_empty());
    }

    #[test]
    #[should_panic(expected = "a batch has one result per row")]
    fn a_missing_result_panics() {
        let _ = compute_by_length::<u8>(&[1, 2], 2, |_| Ok(vec![0]));
    }

    #[test]
    fn rows_are_batched_by_length_and_results_in_input_order() {
        let lengths = [5, 1, 3];
        let mut batches = Vec::new();
        let doubled = compute_by_length(&lengths, 2, |rows| {
            batches.push(rows.to_vec());
            Ok(rows.iter().map(|&row| 2 * lengths[row]).collect())
        });
        assert_eq!(doubled.unwrap(), [10, 2, 6]);
        assert_eq!(batches, [vec![1, 2], vec![0]]);
    }
}
