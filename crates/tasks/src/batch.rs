//! Rows in batches: like lengths together, results in the order of the rows.
use crate::{Error, Result};

/// Calls `read` with batches of row indices, rows of like length together so that little is padded,
/// and gives back one result per row in the order of the rows.
///
/// `lengths` has one entry for each row, in tokens; `read` returns one result for each index that
/// it is given. Rows of equal length keep their order, so the batches depend on nothing else.
///
/// # Errors
/// [`Error::Config`] if `batch_size` is 0; [`Error::Data`] if `read` returns another number of
/// results; whatever `read` returns.
///
/// # Example
/// ```
/// let lengths = [5, 1, 3];
/// let mut batches = Vec::new();
/// let doubled = tasks::batch::by_length(&lengths, 2, |rows| {
///     batches.push(rows.to_vec());
///     Ok(rows.iter().map(|&row| 2 * lengths[row]).collect())
/// })?;
/// assert_eq!(doubled, [10, 2, 6]);
/// assert_eq!(batches, [vec![1, 2], vec![0]]);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn by_length<T>(
    lengths: &[usize],
    batch_size: usize,
    mut read: impl FnMut(&[usize]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if batch_size == 0 {
        return Err(Error::config("batch_size", 0, "1 or more"));
    }
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| lengths.get(row));
    let mut results: Vec<(usize, T)> = Vec::with_capacity(lengths.len());
    for batch in order.chunks(batch_size) {
        let read = read(batch)?;
        if read.len() != batch.len() {
            return Err(Error::data("batch", format!("{} results", batch.len()), read.len()));
        }
        results.extend(batch.iter().copied().zip(read));
    }
    results.sort_by_key(|&(row, _)| row);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_nothing_and_missing_results_are_errors() {
        assert!(by_length::<u8>(&[1], 0, |_| Ok(vec![0])).is_err());
        let error = by_length::<u8>(&[1, 2], 2, |_| Ok(vec![0])).unwrap_err();
        assert_eq!(error.to_string(), "batch: expected 2 results, got 1");
        assert!(by_length::<u8>(&[], 2, |_| Ok(vec![])).unwrap().is_empty());
    }
}
