//! Parameters sharded across the ranks of a group: each rank reduces and updates its own elements.
//!
//! This is the first stage of ZeRO (Rajbhandari et al. 2020, "Optimizer State Partitioning"). It
//! communicates as many elements as an all-reduce, and no update is repeated on several ranks.
use tch::Tensor;
use torch_ext::ProcessGroup;

use crate::Result;

/// Elements per communication bucket: 25 MB in float32, the default of PyTorch's
/// DistributedDataParallel.
const MAX_BUCKET_ELEMENTS: i64 = 25 * 1024 * 1024 / 4;

/// Segments of at least this many elements are sent without copying them into a shared bucket,
/// because a message costs less than the copy.
const MIN_SEPARATE_ELEMENTS: i64 = 1 << 16;

/// Shards begin at multiples of this number of elements, like the work items of the CPU kernel, so
/// sharding does not change any bit of the update.
const ALIGNMENT: i64 = 16;

/// A contiguous segment of a tensor's elements, of which each rank has a part.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Index of the tensor in a list.
    tensor: usize,
    first: i64,
    length: i64,
    /// Elements of each rank's part; the last parts may be shorter or empty.
    width: i64,
}

impl Segment {
    /// Offset and length of a rank's part in the tensor.
    fn range(self, rank: i64) -> (i64, i64) {
        let before = self.length.min(rank * self.width);
        (self.first + before, self.width.min(self.length - before))
    }

    /// A rank's part as a view of the flat tensor.
    fn part(self, rank: i64, flat: &Tensor) -> Result<Tensor> {
        let (first, length) = self.range(rank);
        Ok(flat.f_narrow(0, first, length)?)
    }
}

/// Segments whose parts are sent in one bucket.
type Row = Vec<Segment>;

/// Shards tensors across the ranks of a group, identically on every rank.
pub(crate) struct OptimizerShards<'a> {
    group: &'a ProcessGroup,
    rank: i64,
    size: i64,
}

impl<'a> OptimizerShards<'a> {
    pub(crate) fn new(group: &'a ProcessGroup) -> Self {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        Self { group, rank: number(group.rank()), size: number(group.size()) }
    }

    /// The buckets, one exchange each. A row is one long segment or several short ones.
    fn buckets(&self, tensors: &[&Tensor]) -> Vec<Vec<Row>> {
        let mut buckets: Vec<Vec<Row>> = Vec::new();
        let (mut held, mut layout) = (0, None);
        for (number, tensor) in tensors.iter().enumerate() {
            let own_layout = Some((tensor.kind(), tensor.device()));
            for segment in segments(number, length_of(tensor), self.size) {
                held += segment.length;
                if layout != own_layout || held > MAX_BUCKET_ELEMENTS {
                    (held, layout) = (segment.length, own_layout);
                    buckets.push(vec![Row::new()]);
                }
                let Some(bucket) = buckets.last_mut() else { continue };
                let mut row = 0;
                if segment.length >= MIN_SEPARATE_ELEMENTS {
                    row = bucket.len();
                    bucket.push(Row::new());
                }
                if let Some(row) = bucket.get_mut(row) {
                    row.push(segment);
                }
            }
        }
        buckets.iter_mut().for_each(|bucket| bucket.retain(|row| !row.is_empty()));
        buckets
    }

    /// Views of this rank's elements of a contiguous tensor, without empty ones.
    pub(crate) fn local(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let flat = flat(tensor)?;
        let parts = segments(0, length_of(tensor), self.size)
            .into_iter()
            .map(|one| one.part(self.rank, &flat));
        parts.filter(|part| !part.as_ref().is_ok_and(|part| part.numel() == 0)).collect()
    }

    /// A copy of this rank's elements of a contiguous tensor, `[n]`.
    pub(crate) fn local_copy(&self, tensor: &Tensor) -> Result<Tensor> {
        joined(&self.local(tensor)?, tensor)
    }

    /// Reduces `grads` over all ranks (reduce-scatter), and returns this rank's elements, split as
    /// [`local`](Self::local) splits the parameters. The sum starts with the local elements,
    /// followed by those of the other ranks in order. A rank without a gradient adds nothing. The
    /// gradients are overwritten.
    pub(crate) fn sums(
        &self,
        parameters: &[&Tensor],
        grads: Vec<Option<Tensor>>,
    ) -> Result<Vec<Vec<Tensor>>> {
        let mut flats = Vec::with_capacity(grads.len());
        for (parameter, grad) in parameters.iter().zip(grads) {
            flats.push(match grad {
                Some(grad) => flat(&grad.f_contiguous()?)?,
                None => flat(&parameter.f_detach()?.f_zeros_like()?)?,
            });
        }
        let mut sums: Vec<Vec<Tensor>> = parameters.iter().map(|_| Vec::new()).collect();
        for bucket in self.buckets(parameters) {
            let (mut own, mut sent, mut into) = (Vec::new(), Vec::new(), Vec::new());
            for row in &bucket {
                let elements = shard_of_row(row, &flats, self.rank)?;
                let exchanged = self.group.exchange_device(elements.device());
                let elements = elements.f_to_device(exchanged)?;
                for rank in 0..self.size {
                    sent.push(match rank == self.rank {
                        true => elements.shallow_clone(),
                        false => shard_of_row(row, &flats, rank)?.f_to_device(exchanged)?,
                    });
                    into.push(elements.f_empty_like()?);
                }
                own.push(elements);
            }
            self.group.exchange(&refs(&sent), &refs(&into))?;
            let received = into.chunks(self.group.size());
            for ((row, mut sum), received) in bucket.iter().zip(own).zip(received) {
                for (_, received) in (0..).zip(received).filter(|(rank, _)| *rank != self.rank) {
                    let _ = sum.f_add_(received)?;
                }
                for (segment, part) in cut(row, self.rank, &sum)? {
                    let device = flats.get(segment.tensor).map_or(sum.device(), Tensor::device);
                    if let Some(sums) = sums.get_mut(segment.tensor).filter(|_| part.numel() > 0) {
                        sums.push(part.f_to_device(device)?);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Fills each of `tensors` (contiguous, valid in this rank's elements) with the elements of the
    /// other ranks (all-gather).
    pub(crate) fn share(&self, tensors: &[&Tensor]) -> Result<()> {
        let flats = tensors.iter().map(|tensor| flat(tensor)).collect::<Result<Vec<_>>>()?;
        for bucket in self.buckets(tensors) {
            let (mut sent, mut into) = (Vec::new(), Vec::new());
            for row in &bucket {
                let own = shard_of_row(row, &flats, self.rank)?;
                let own = own.f_to_device(self.group.exchange_device(own.device()))?;
                for rank in 0..self.size {
                    into.push(shard_of_row(row, &flats, rank)?.f_to_device(own.device())?);
                    sent.push(own.shallow_clone());
                }
            }
            self.group.exchange(&refs(&sent), &refs(&into))?;
            for (row, received) in bucket.iter().zip(into.chunks(self.group.size())) {
                for (rank, received) in (0..).zip(received).filter(|(rank, _)| *rank != self.rank) {
                    for (segment, columns) in cut(row, rank, received)? {
                        let Some(flat) = flats.get(segment.tensor) else { continue };
                        let mut part = segment.part(rank, flat)?;
                        // A segment that was received in place needs no copy.
                        if part.data_ptr() != columns.data_ptr() {
                            part.f_copy_(&columns)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Gathers the elements of all ranks into a tensor like `parameter`.
    pub(crate) fn whole(&self, parameter: &Tensor, own: &Tensor) -> Result<Tensor> {
        let whole = parameter.f_detach()?.f_zeros_like()?;
        let mut first = 0;
        for mut part in self.local(&whole)? {
            let length = length_of(&part);
            part.f_copy_(&own.f_narrow(0, first, length)?)?;
            first += length;
        }
        self.share(&[&whole])?;
        Ok(whole)
    }
}

/// Splits a tensor of `numel` elements for `size` ranks.
fn segments(tensor: usize, numel: i64, size: i64) -> Vec<Segment> {
    let aligned = ALIGNMENT * size;
    let max_length = (MAX_BUCKET_ELEMENTS / aligned).max(1) * aligned;
    let mut segments = Vec::new();
    let mut first = 0;
    while first < numel {
        let length = max_length.min(numel - first);
        let width = (length + aligned - 1) / aligned * ALIGNMENT;
        segments.push(Segment { tensor, first, length, width });
        first += length;
    }
    segments
}

/// A rank's part of a row; a view if the row is one segment.
fn shard_of_row(row: &[Segment], flats: &[Tensor], rank: i64) -> Result<Tensor> {
    let part = |segment: &Segment| Some(segment.part(rank, flats.get(segment.tensor)?));
    let parts = row.iter().filter_map(part).collect::<Result<Vec<_>>>()?;
    match parts.as_slice() {
        [part] => Ok(part.shallow_clone()),
        parts => Ok(Tensor::f_cat(parts, 0)?),
    }
}

/// Splits a rank's elements of a row into one view per segment.
fn cut(row: &[Segment], rank: i64, elements: &Tensor) -> Result<Vec<(Segment, Tensor)>> {
    let mut before = 0;
    let part = |&segment: &Segment| {
        let (_, length) = segment.range(rank);
        before += length;
        Ok((segment, elements.f_narrow(0, before - length, length)?))
    };
    row.iter().map(part).collect()
}

/// The concatenated tensors, `[n]`; an empty tensor like `like` if there are none.
pub(crate) fn joined(parts: &[Tensor], like: &Tensor) -> Result<Tensor> {
    match parts {
        [] => Ok(Tensor::f_zeros([0], (like.f_kind()?, like.device()))?),
        parts => Ok(Tensor::f_cat(parts, 0)?),
    }
}

fn flat(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_view([-1])?)
}

fn length_of(tensor: &Tensor) -> i64 {
    i64::try_from(tensor.numel()).unwrap_or(i64::MAX)
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_belongs_to_one_rank() {
        for size in [1, 2, 3, 7, 64] {
            for numel in [
                0,
                1,
                15,
                16,
                17,
                770,
                65_536,
                MAX_BUCKET_ELEMENTS,
                MAX_BUCKET_ELEMENTS + 1,
                3 * MAX_BUCKET_ELEMENTS - 5,
            ] {
                let segments = segments(0, numel, size);
                let mut next = 0;
                for segment in &segments {
                    for rank in 0..size {
                        let (first, length) = segment.range(rank);
                        assert_eq!(first, next, "{numel} numbers, {size} ranks, rank {rank}");
                        assert!(length == 0 || first % ALIGNMENT == 0);
                        next = first + length;
                    }
                }
                assert_eq!(next, numel, "{size} ranks");
            }
        }
    }
}
