//! Embedding of the passages of a collection.
use std::time::{Duration, Instant};

use collection::{Snapshot, Writer};

use crate::Result;
use crate::retriever::Vector;

/// Number of passages that are embedded together.
const BATCH: usize = 256;

/// Minimum time between commits of embeddings, so that an interrupted run loses little.
const COMMIT_INTERVAL: Duration = Duration::from_secs(10);

/// Number of embeddings after which they are committed in any case.
const MAX_PENDING: usize = 16_384;

/// Computes the embeddings of texts; `None` for a blank text.
pub(crate) type Embed<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<Option<Vector>>>;

/// The numbers of passages with their embeddings.
type Rows = Vec<(u64, Vec<f32>)>;

/// Embeds all passages of a collection that have no embeddings, except blank ones, and commits the
/// embeddings step by step. Calls `progress` with the number of passages embedded so far.
pub(crate) fn embed_passages(
    writer: &mut Writer,
    embed: Embed<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<()> {
    let numbers = writer.snapshot().passages_without_vectors()?;
    let mut pending = Vec::new();
    let mut last_commit = Instant::now();
    let mut count = 0;
    for numbers in numbers.chunks(BATCH) {
        pending.extend(embed_batch(writer.snapshot(), numbers, embed)?);
        if pending.len() >= MAX_PENDING || last_commit.elapsed() >= COMMIT_INTERVAL {
            writer.add_vectors(std::mem::take(&mut pending))?;
            writer.commit()?;
            last_commit = Instant::now();
        }
        count += numbers.len();
        progress(count);
    }
    writer.add_vectors(pending)?;
    writer.commit()?;
    Ok(())
}

/// Embeds all passages of a snapshot in memory, except blank ones. Calls `progress` with the number
/// of passages embedded so far.
pub(crate) fn embed_snapshot(
    snapshot: &Snapshot,
    embed: Embed<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Rows> {
    let numbers = snapshot.passages_without_vectors()?;
    let mut rows = Vec::new();
    let mut count = 0;
    for numbers in numbers.chunks(BATCH) {
        rows.extend(embed_batch(snapshot, numbers, embed)?);
        count += numbers.len();
        progress(count);
    }
    Ok(rows)
}

fn embed_batch(snapshot: &Snapshot, numbers: &[u64], embed: Embed<'_>) -> Result<Rows> {
    let mut texts = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let passage = snapshot.passage(number)?;
        texts.push(passage.expect("a passage without an embedding is a passage").text);
    }
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let rows = numbers.iter().zip(embed(&texts)?);
    Ok(rows.filter_map(|(&number, vector)| Some((number, vector?.to_vec()))).collect())
}
