//! Parameters sharded across the ranks of a group: each rank reduces and updates one part of the
//! elements.
//!
//! This is the first stage of ZeRO (Rajbhandari et al. 2020, "Optimizer State Partitioning").
//! Sharded updates communicate as many elements as an all-reduce, and no update is repeated on
//! several ranks.
use tch::Tensor;
use torch_ext::{ProcessGroup, to_i64};

use crate::Result;

/// Maximum number of elements per communication bucket: 25 MB in float32, the default of PyTorch's
/// DistributedDataParallel.
const MAX_BUCKET_ELEMENTS: i64 = 25 * 1024 * 1024 / 4;

/// Segments of at least this many elements are sent without copying them into a shared bucket,
/// because a separate message costs less than the copy.
const MIN_SEPARATE_ELEMENTS: i64 = 1 << 16;

/// Shards begin at multiples of this number of elements, as the work items of the CPU kernel do.
/// This makes updates bit-identical for any number of ranks.
const ALIGNMENT: i64 = 16;

/// A contiguous segment of a tensor's elements, divided among the ranks.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Index of the tensor in the list of tensors.
    tensor: usize,
    first: i64,
    length: i64,
    /// Number of elements in each rank's part; the last parts may be shorter or empty.
    part_length: i64,
}

impl Segment {
    /// Returns offset and length of a rank's part in the tensor.
    fn range(self, rank: i64) -> (i64, i64) {
        let offset = self.length.min(rank * self.part_length);
        (self.first + offset, self.part_length.min(self.length - offset))
    }

    /// Returns a rank's part as a view of the flat tensor.
    fn part(self, rank: i64, flat: &Tensor) -> Result<Tensor> {
        let (first, length) = self.range(rank);
        Ok(flat.f_narrow(0, first, length)?)
    }
}

/// Segments whose parts are concatenated and sent as one tensor.
type Message = Vec<Segment>;

/// Shards tensors across the ranks of a group, identically on every rank.
pub(crate) struct OptimizerShards<'a> {
    group: &'a ProcessGroup,
    rank: i64,
    size: i64,
}

impl<'a> OptimizerShards<'a> {
    pub(crate) fn new(group: &'a ProcessGroup) -> Self {
        Self { group, rank: to_i64(group.rank()), size: to_i64(group.size()) }
    }

    /// Divides tensors into buckets. The messages of a bucket are sent in one exchange; each
    /// message is one long segment or several short segments.
    fn buckets(&self, tensors: &[&Tensor]) -> Vec<Vec<Message>> {
        let mut buckets: Vec<Vec<Message>> = Vec::new();
        let (mut bucket_elements, mut layout) = (0, None);
        for (index, tensor) in tensors.iter().enumerate() {
            let tensor_layout = Some((tensor.kind(), tensor.device()));
            for segment in split_into_segments(index, element_count(tensor), self.size) {
                bucket_elements += segment.length;
                if layout != tensor_layout || bucket_elements > MAX_BUCKET_ELEMENTS {
                    (bucket_elements, layout) = (segment.length, tensor_layout);
                    buckets.push(vec![Message::new()]);
                }
                let bucket = buckets.last_mut().expect("the first segment opens a bucket");
                if segment.length >= MIN_SEPARATE_ELEMENTS {
                    bucket.push(vec![segment]);
                } else {
                    bucket[0].push(segment);
                }
            }
        }
        buckets.iter_mut().for_each(|bucket| bucket.retain(|message| !message.is_empty()));
        buckets
    }

    /// Returns non-empty views of this rank's elements of a contiguous tensor.
    pub(crate) fn local_views(&self, tensor: &Tensor) -> Result<Vec<Tensor>> {
        let flat = flatten(tensor)?;
        let parts = split_into_segments(0, element_count(tensor), self.size)
            .into_iter()
            .map(|segment| segment.part(self.rank, &flat));
        parts.filter(|part| !part.as_ref().is_ok_and(|part| part.numel() == 0)).collect()
    }

    /// Returns a copy of this rank's elements of a contiguous tensor, `[n]`.
    pub(crate) fn local_copy(&self, tensor: &Tensor) -> Result<Tensor> {
        concatenate(&self.local_views(tensor)?, tensor)
    }

    /// Sums `grads` over all ranks (reduce-scatter), and returns the sums of this rank's elements,
    /// split as by [`local_views`](Self::local_views). The sum starts with the local elements; the
    /// elements of the other ranks are added in rank order. A rank without a gradient adds zeros.
    /// The gradients are overwritten.
    pub(crate) fn reduce_scatter(
        &self,
        parameters: &[&Tensor],
        grads: Vec<Option<Tensor>>,
    ) -> Result<Vec<Vec<Tensor>>> {
        assert_eq!(parameters.len(), grads.len(), "each parameter has an entry in `grads`");
        let mut flats = Vec::with_capacity(grads.len());
        for (parameter, grad) in parameters.iter().zip(grads) {
            flats.push(match grad {
                Some(grad) => flatten(&grad.f_contiguous()?)?,
                None => flatten(&parameter.f_detach()?.f_zeros_like()?)?,
            });
        }
        let mut sums: Vec<Vec<Tensor>> = parameters.iter().map(|_| Vec::new()).collect();
        for bucket in self.buckets(parameters) {
            let (mut local, mut sent, mut received_tensors) = (Vec::new(), Vec::new(), Vec::new());
            for message in &bucket {
                let elements = part_of_message(message, &flats, self.rank)?;
                let device = self.group.exchange_device(elements.device());
                let elements = elements.f_to_device(device)?;
                for rank in 0..self.size {
                    sent.push(match rank == self.rank {
                        true => elements.shallow_clone(),
                        false => part_of_message(message, &flats, rank)?.f_to_device(device)?,
                    });
                    received_tensors.push(elements.f_empty_like()?);
                }
                local.push(elements);
            }
            self.group.exchange(&refs(&sent), &refs(&received_tensors))?;
            let received = received_tensors.chunks(self.group.size());
            for ((message, mut sum), received) in bucket.iter().zip(local).zip(received) {
                for (_, received) in (0..).zip(received).filter(|(rank, _)| *rank != self.rank) {
                    let _ = sum.f_add_(received)?;
                }
                for (segment, part) in split_part(message, self.rank, &sum)? {
                    if part.numel() > 0 {
                        let device = flats[segment.tensor].device();
                        sums[segment.tensor].push(part.f_to_device(device)?);
                    }
                }
            }
        }
        Ok(sums)
    }

    /// Copies the elements of all other ranks into `tensors` (all-gather). The tensors are
    /// contiguous and contain valid values in this rank's elements.
    pub(crate) fn all_gather(&self, tensors: &[&Tensor]) -> Result<()> {
        let flats = tensors.iter().map(|tensor| flatten(tensor)).collect::<Result<Vec<_>>>()?;
        for bucket in self.buckets(tensors) {
            let (mut sent, mut received_tensors) = (Vec::new(), Vec::new());
            for message in &bucket {
                let local = part_of_message(message, &flats, self.rank)?;
                let local = local.f_to_device(self.group.exchange_device(local.device()))?;
                for rank in 0..self.size {
                    received_tensors
                        .push(part_of_message(message, &flats, rank)?.f_to_device(local.device())?);
                    sent.push(local.shallow_clone());
                }
            }
            self.group.exchange(&refs(&sent), &refs(&received_tensors))?;
            for (message, received) in bucket.iter().zip(received_tensors.chunks(self.group.size()))
            {
                for (rank, received) in (0..).zip(received).filter(|(rank, _)| *rank != self.rank) {
                    for (segment, received_part) in split_part(message, rank, received)? {
                        let mut part = segment.part(rank, &flats[segment.tensor])?;
                        // A segment that was received in place needs no copy.
                        if part.data_ptr() != received_part.data_ptr() {
                            part.f_copy_(&received_part)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Gathers the elements of all ranks into a tensor like `parameter`.
    pub(crate) fn gather(&self, parameter: &Tensor, local: &Tensor) -> Result<Tensor> {
        let gathered = parameter.f_detach()?.f_zeros_like()?;
        let mut first = 0;
        for mut part in self.local_views(&gathered)? {
            let length = element_count(&part);
            part.f_copy_(&local.f_narrow(0, first, length)?)?;
            first += length;
        }
        self.all_gather(&[&gathered])?;
        Ok(gathered)
    }
}

/// Splits a tensor of `numel` elements into segments, each of which is divided among `size` ranks.
fn split_into_segments(tensor: usize, numel: i64, size: i64) -> Vec<Segment> {
    let group_alignment = ALIGNMENT * size;
    let max_length = (MAX_BUCKET_ELEMENTS / group_alignment).max(1) * group_alignment;
    let mut segments = Vec::new();
    let mut first = 0;
    while first < numel {
        let length = max_length.min(numel - first);
        let part_length = (length + group_alignment - 1) / group_alignment * ALIGNMENT;
        segments.push(Segment { tensor, first, length, part_length });
        first += length;
    }
    segments
}

/// Returns a rank's part of a message; a view if the message is one segment.
fn part_of_message(message: &[Segment], flats: &[Tensor], rank: i64) -> Result<Tensor> {
    let part = |segment: &Segment| segment.part(rank, &flats[segment.tensor]);
    let parts = message.iter().map(part).collect::<Result<Vec<_>>>()?;
    match parts.as_slice() {
        [part] => Ok(part.shallow_clone()),
        parts => Ok(Tensor::f_cat(parts, 0)?),
    }
}

/// Splits the elements of a rank's part of a message into one view per segment.
fn split_part(message: &[Segment], rank: i64, elements: &Tensor) -> Result<Vec<(Segment, Tensor)>> {
    let mut offset = 0;
    let part = |&segment: &Segment| {
        let (_, length) = segment.range(rank);
        offset += length;
        Ok((segment, elements.f_narrow(0, offset - length, length)?))
    };
    message.iter().map(part).collect()
}

/// Concatenates flat tensors to `[n]`. Without tensors, returns an empty tensor with the kind and
/// device of `like`.
pub(crate) fn concatenate(parts: &[Tensor], like: &Tensor) -> Result<Tensor> {
    match parts {
        [] => Ok(Tensor::f_zeros([0], (like.f_kind()?, like.device()))?),
        parts => Ok(Tensor::f_cat(parts, 0)?),
    }
}

fn flatten(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_detach()?.f_view([-1])?)
}

fn element_count(tensor: &Tensor) -> i64 {
    to_i64(tensor.numel())
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_belongs_to_one_rank() {
        let max = MAX_BUCKET_ELEMENTS;
        for size in [1, 2, 3, 7, 64] {
            for numel in [0, 1, 15, 16, 17, 770, 65_536, max, max + 1, 3 * max - 5] {
                let segments = split_into_segments(0, numel, size);
                let mut next = 0;
                for segment in &segments {
                    for rank in 0..size {
                        let (first, length) = segment.range(rank);
                        assert_eq!(first, next, "{numel} elements, {size} ranks, rank {rank}");
                        assert!(length == 0 || first % ALIGNMENT == 0);
                        next = first + length;
                    }
                }
                assert_eq!(next, numel, "{size} ranks");
            }
        }
    }
}
