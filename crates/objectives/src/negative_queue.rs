//! Queue of keys from earlier steps, for contrastive losses.
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::Error;
use crate::checks::{check_device, check_float, check_kind, check_matrix, check_shape};

/// Options of a [`NegativeQueue`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Q, the maximum number of rows. *XLM-K* §4.1 states "32k", interpreted as 32,768.
    pub size: i64,
    /// Initial contents.
    pub start: QueueStart,
    /// Seed of the random initial contents.
    pub seed: i64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { size: 32_768, start: QueueStart::Random, seed: 42 }
    }
}

/// Initial contents of a [`NegativeQueue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueStart {
    /// Q rows of `N(0, 1/D)`, whose norm is about 1 (*XLM-K*, appendix C; the released code).
    #[default]
    Random,
    /// Empty: the queue grows up to Q rows, so that no negative is random.
    Empty,
}

/// The last Q keys of earlier steps, without gradient.
///
/// The keys are in a ring buffer `[Q, D]` on the model's device. A push overwrites the oldest rows
/// in place. Each row may have the id of its entity, so that a loss can mask candidates of the same
/// entity.
#[derive(Debug)]
pub struct NegativeQueue {
    /// `[Q, D]`: the ring buffer.
    keys: Tensor,
    /// `[Q]` i64: the entity of each row, -1 if unknown.
    ids: Tensor,
    /// Q, the maximum number of rows.
    capacity: i64,
    /// Index of the next row to write: in a full ring, the oldest row.
    next_row: i64,
    /// Number of rows in use; until the ring is full, these are the first rows.
    used_rows: i64,
}

impl NegativeQueue {
    /// Creates a queue of keys of `width` D on `device`.
    ///
    /// # Shapes
    /// - the queue stores keys `[config.size, width]` of the float dtype `kind`
    ///
    /// The random initial contents are drawn on the CPU from `config.seed`: they are the same on
    /// every device, and the state of libtorch's generators does not change.
    ///
    /// # Errors
    /// [`Error::Domain`] if the size or `width` is below 1; [`Error::Torch`] if libtorch
    /// cannot allocate.
    ///
    /// # Example
    /// ```
    /// use objectives::tch::{Device, Kind, Tensor};
    /// use objectives::{NegativeQueue, QueueConfig, QueueStart};
    ///
    /// let config = QueueConfig { size: 3, start: QueueStart::Empty, ..Default::default() };
    /// let mut queue = NegativeQueue::new(2, (Kind::Float, Device::Cpu), &config)?;
    /// queue.push(&Tensor::from_slice(&[1f32, 1., 2., 2., 3., 3., 4., 4.]).view([4, 2]), None)?;
    /// let oldest_first = Vec::<f32>::try_from(queue.keys()?.view([-1]))?;
    /// assert_eq!(oldest_first, [2., 2., 3., 3., 4., 4.]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        width: i64,
        (kind, device): (Kind, Device),
        config: &QueueConfig,
    ) -> Result<Self, Error> {
        let size = config.size;
        for (option, value) in [("queue size", size), ("queue width", width)] {
            if value < 1 {
                return Err(Error::Domain { option, value: value as f64, rule: "at least 1" });
            }
        }
        let keys = match config.start {
            QueueStart::Empty => Tensor::f_zeros([size, width], (kind, device))?,
            QueueStart::Random => {
                let drawn = torch_ext::seeded_randn(&[size, width], config.seed)?;
                let scaled = drawn.f_div_scalar((width as f64).sqrt())?;
                scaled.f_to_device(device)?.f_to_kind(kind)?
            }
        };
        let ids = Tensor::f_full([size], -1, (Kind::Int64, device))?;
        let used_rows = if config.start == QueueStart::Random { size } else { 0 };
        Ok(Self { keys, ids, capacity: size, next_row: 0, used_rows })
    }

    /// Returns Q, the maximum number of rows.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// Returns the number of rows in use.
    pub fn len(&self) -> i64 {
        self.used_rows
    }

    /// Returns whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.used_rows == 0
    }

    /// Returns D, the width of the keys.
    ///
    /// # Errors
    /// [`Error::Torch`] if a libtorch operation fails.
    pub fn width(&self) -> Result<i64, Error> {
        Ok(self.keys.size2()?.1)
    }

    /// Appends `keys`, detached, and removes the oldest rows that no longer fit.
    ///
    /// If more than Q rows are pushed, the last Q are stored. A push of zero rows has no effect. A
    /// key that contains NaN or infinity is not stored: a float16 step that is skipped because its
    /// loss is not finite must not affect later steps. In a full queue, the row that such a key
    /// would replace stays.
    ///
    /// # Shapes
    /// - `keys`: `[n, D]` float, on the queue's device; converted to the queue's dtype
    /// - `ids`: `[n]` i64, the entity of each key, negative if unknown
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Dtype`] or [`Error::Device`] for invalid tensors; the queue is
    /// then unchanged.
    pub fn push(&mut self, keys: &Tensor, ids: Option<&Tensor>) -> Result<(), Error> {
        let (count, _) = check_matrix("keys", keys, "[n, D]")?;
        let capacity = self.capacity;
        check_shape("keys", keys, &[count, self.width()?], "[n, D]")?;
        check_float("keys", keys)?;
        check_device("keys", keys, "the queue", self.keys.device())?;
        let unknown_ids;
        let ids = match ids {
            Some(ids) => {
                check_shape("ids", ids, &[count], "[n]")?;
                check_kind("ids", ids, Kind::Int64, "Int64")?;
                check_device("ids", ids, "the queue", self.keys.device())?;
                ids
            }
            None => {
                unknown_ids = Tensor::f_full([count], -1, (Kind::Int64, self.keys.device()))?;
                &unknown_ids
            }
        };
        let retained = count.min(capacity);
        let (mut keys, mut ids) = (
            keys.f_detach()?
                .f_narrow(0, count - retained, retained)?
                .f_to_kind(self.keys.f_kind()?)?,
            ids.f_narrow(0, count - retained, retained)?,
        );
        // Keys that are not finite are dropped here if the queue is not full, because there may be
        // no older row that could stay in their place.
        if self.used_rows < capacity {
            let finite = keys.f_isfinite()?.f_all_dim(1, false)?.f_nonzero()?.f_squeeze_dim(1)?;
            (keys, ids) = (keys.f_index_select(0, &finite)?, ids.f_index_select(0, &finite)?);
        }
        let retained = keys.size2()?.0;
        no_grad(|| -> Result<(), Error> {
            let tail_rows = retained.min(capacity - self.next_row);
            for (from, to, rows) in
                [(0, self.next_row, tail_rows), (tail_rows, 0, retained - tail_rows)]
            {
                if rows > 0 {
                    let (mut old, mut old_ids) =
                        (self.keys.f_narrow(0, to, rows)?, self.ids.f_narrow(0, to, rows)?);
                    let new = keys.f_narrow(0, from, rows)?;
                    let is_finite = new.f_isfinite()?.f_all_dim(1, true)?; // [rows, 1]
                    old.f_copy_(&new.f_where_self(&is_finite, &old)?)?;
                    let new_ids = ids.f_narrow(0, from, rows)?;
                    let is_finite = is_finite.f_squeeze_dim(1)?;
                    old_ids.f_copy_(&new_ids.f_where_self(&is_finite, &old_ids)?)?;
                }
            }
            Ok(())
        })?;
        self.next_row = (self.next_row + retained) % capacity;
        self.used_rows = (self.used_rows + retained).min(capacity);
        Ok(())
    }

    /// All Q rows of the ring, in use or not.
    pub(crate) fn all_keys(&self) -> &Tensor {
        &self.keys
    }

    /// Returns the rows in use, except the `skip_oldest` oldest rows, as at most two slices of the
    /// ring, oldest first. The slices are views.
    pub(crate) fn slices(&self, skip_oldest: i64) -> Result<Vec<(Tensor, Tensor)>, Error> {
        let (capacity, retained) = (self.capacity, (self.used_rows - skip_oldest.max(0)).max(0));
        let first = (self.next_row - retained).rem_euclid(capacity);
        let tail_rows = retained.min(capacity - first);
        let mut slices = Vec::new();
        for (from, rows) in [(first, tail_rows), (0, retained - tail_rows)] {
            if rows > 0 {
                slices
                    .push((self.keys.f_narrow(0, from, rows)?, self.ids.f_narrow(0, from, rows)?));
            }
        }
        Ok(slices)
    }

    /// Returns a copy of the rows in use, oldest first, `[len, D]`.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot allocate.
    pub fn keys(&self) -> Result<Tensor, Error> {
        let mut parts = vec![self.keys.f_narrow(0, 0, 0)?];
        parts.extend(self.slices(0)?.into_iter().map(|(keys, _)| keys));
        Ok(Tensor::f_cat(&parts, 0)?)
    }

    /// Returns a copy of the entity ids of the rows in use, oldest first, `[len]` i64; -1 for
    /// unknown entities.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot allocate.
    pub fn ids(&self) -> Result<Tensor, Error> {
        let mut parts = vec![self.ids.f_narrow(0, 0, 0)?];
        parts.extend(self.slices(0)?.into_iter().map(|(_, ids)| ids));
        Ok(Tensor::f_cat(&parts, 0)?)
    }

    /// Returns the state as named tensors, for a checkpoint: `keys`, `ids`, and `cursor` (next row,
    /// rows in use).
    ///
    /// `keys` and `ids` share the queue's memory.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot allocate.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        Ok(vec![
            ("keys".to_owned(), self.keys.shallow_clone()),
            ("ids".to_owned(), self.ids.shallow_clone()),
            ("cursor".to_owned(), Tensor::f_from_slice(&[self.next_row, self.used_rows])?),
        ])
    }

    /// Restores a state that [`tensors`](Self::tensors) returned for a queue of equal size, width
    /// and dtype.
    ///
    /// # Errors
    /// [`Error::Missing`] for an absent tensor; [`Error::Shape`], [`Error::Dtype`] or
    /// [`Error::Range`] for a tensor that does not match. The queue is then unchanged.
    pub fn restore<'a>(
        &mut self,
        find: impl Fn(&'static str) -> Option<&'a Tensor>,
    ) -> Result<(), Error> {
        let reason = "not in the saved state";
        let get = |name| find(name).ok_or(Error::Missing { argument: name, reason });
        let (keys, ids, cursor) = (get("keys")?, get("ids")?, get("cursor")?);
        check_shape("keys", keys, &self.keys.size(), "[Q, D]")?;
        check_kind("keys", keys, self.keys.f_kind()?, "of the queue")?;
        check_shape("ids", ids, &self.ids.size(), "[Q]")?;
        check_kind("ids", ids, Kind::Int64, "Int64")?;
        check_shape("cursor", cursor, &[2], "[2]")?;
        check_kind("cursor", cursor, Kind::Int64, "Int64")?;
        let (next_row, used_rows) = (cursor.f_int64_value(&[0])?, cursor.f_int64_value(&[1])?);
        let capacity = self.capacity;
        if !(0..capacity).contains(&next_row) || !(0..=capacity).contains(&used_rows) {
            let rule = format!("an index and a count within {capacity} rows");
            let (min, max) = (next_row.min(used_rows), next_row.max(used_rows));
            return Err(Error::Range { tensor: "cursor", rule, min, max });
        }
        no_grad(|| -> Result<(), Error> {
            self.keys.f_copy_(keys)?;
            self.ids.f_copy_(ids)?;
            Ok(())
        })?;
        (self.next_row, self.used_rows) = (next_row, used_rows);
        Ok(())
    }

    /// Writes [`tensors`](Self::tensors) to a safetensors file, atomically.
    ///
    /// # Errors
    /// [`Error::Kernel`] naming the file if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let tensors = self.tensors()?;
        let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        Ok(torch_ext::write_tensors(path, tensors, &[])?)
    }

    /// Restores the state from a file written by [`save`](Self::save).
    ///
    /// # Errors
    /// [`Error::Kernel`] naming the file if it cannot be read; otherwise the errors of
    /// [`restore`](Self::restore).
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let tensors = torch_ext::read_tensors(path)?;
        self.restore(|name| tensors.get(name))
    }
}
