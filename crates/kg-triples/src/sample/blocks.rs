//! Parallel reading of a large table in blocks of rows.
use std::fs::File;
use std::io::{Read, Take};
use std::path::Path;

use memchr::{memchr, memchr_iter, memrchr};
use rayon::prelude::*;

/// Number of bytes per read. It does not affect results; tests use a small value to obtain many
/// blocks.
const BLOCK_BYTES: u64 = if cfg!(test) { 50 } else { 2 << 20 };

/// Error for a table that cannot be read in blocks: it is not sorted, a row is malformed, or the
/// file cannot be read. The caller then reads the whole folder into memory with
/// [`KnowledgeGraph::read_dir`](crate::KnowledgeGraph::read_dir), which accepts unsorted tables and
/// describes errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockReadError;

/// Boundaries at which a table may be split into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    /// After any row.
    Row,
    /// Between rows with different ids (first cells).
    Id,
}

/// Reads a file in blocks of rows.
struct BlockReader {
    file: File,
    boundary: Boundary,
    partial_row: Vec<u8>,
    done: bool,
}

impl BlockReader {
    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut bytes = std::mem::take(&mut self.partial_row);
        while !self.done {
            let mut block: Take<&mut File> = self.file.by_ref().take(BLOCK_BYTES);
            self.done = block.read_to_end(&mut bytes)? == 0;
            if let Some(end) = self.block_end(&bytes).filter(|_| !self.done) {
                self.partial_row = bytes.split_off(end);
                return Ok(Some(bytes));
            }
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// Returns the position at which a block can end: after the last complete row, or after the
    /// last id whose rows are complete.
    fn block_end(&self, bytes: &[u8]) -> Option<usize> {
        let mut end = memrchr(b'\n', bytes)? + 1;
        if self.boundary == Boundary::Row {
            return Some(end);
        }
        let first_cell = |row: &'_ [u8]| row[..memchr(b'\t', row).unwrap_or(row.len())].to_vec();
        let mut last_id: Option<Vec<u8>> = None;
        loop {
            // At 0, all rows have the same id.
            let earlier_rows = &bytes[..end.checked_sub(1)?];
            let start = memrchr(b'\n', earlier_rows).map_or(0, |at| at + 1);
            let id = first_cell(&earlier_rows[start..]);
            if last_id.get_or_insert_with(|| id.clone()) != &id {
                return Some(end);
            }
            end = start;
        }
    }
}

/// Reads the rows of a table with the header `header`. Blocks are processed by `read` in parallel,
/// and its results are passed to `visit` in file order.
pub(super) fn scan<T: Send>(
    path: &Path,
    header: &str,
    boundary: Boundary,
    read: impl Fn(&[u8]) -> Result<T, BlockReadError> + Sync,
    mut visit: impl FnMut(T) -> Result<(), BlockReadError>,
) -> Result<(), BlockReadError> {
    let mut file = File::open(path).map_err(|_| BlockReadError)?;
    atomic_file::report_opened(path);
    let mut first_line = vec![0; header.len() + 1];
    file.read_exact(&mut first_line).map_err(|_| BlockReadError)?;
    if first_line.strip_suffix(b"\n") != Some(header.as_bytes()) {
        return Err(BlockReadError);
    }
    let mut blocks = BlockReader { file, boundary, partial_row: Vec::new(), done: false };
    loop {
        let mut block_batch = Vec::new();
        while block_batch.len() < 2 * rayon::current_num_threads()
            && let Some(block) = blocks.next().map_err(|_| BlockReadError)?
        {
            atomic_file::note_missing_newline(path, &block);
            block_batch.push(block);
        }
        if block_batch.is_empty() {
            return Ok(());
        }
        let results: Vec<_> = block_batch.par_iter().map(|block| read(block)).collect();
        results.into_iter().try_for_each(|result| visit(result?))?;
    }
}

/// Iterates over the rows of a block as text. Returns an error if the block contains a carriage
/// return.
pub(super) fn split_rows(block: &[u8]) -> Result<impl Iterator<Item = &str>, BlockReadError> {
    let text = std::str::from_utf8(block).map_err(|_| BlockReadError)?;
    if memchr(b'\r', block).is_some() {
        return Err(BlockReadError);
    }
    let mut start = 0;
    let row_ends = memchr_iter(b'\n', block);
    let last = (!block.ends_with(b"\n")).then_some(block.len());
    let rows = row_ends.chain(last).map(move |end| {
        let row = &text[start..end];
        start = end + 1;
        row
    });
    Ok(rows.filter(|row| !row.is_empty()))
}

/// Splits a row into `N` cells, none of which may be blank.
pub(super) fn split_cells<const N: usize>(row: &str) -> Result<[&str; N], BlockReadError> {
    let (mut cells, mut start, mut at) = ([""; N], 0, 0);
    for end in memchr_iter(b'\t', row.as_bytes()).chain([row.len()]) {
        let cell = &row[start..end];
        let starts_with_ascii = cell.bytes().next().is_some_and(|byte| byte.is_ascii_graphic());
        if !starts_with_ascii && cell.trim().is_empty() {
            return Err(BlockReadError);
        }
        *cells.get_mut(at).ok_or(BlockReadError)? = cell;
        (start, at) = (end + 1, at + 1);
    }
    if at == N { Ok(cells) } else { Err(BlockReadError) }
}
