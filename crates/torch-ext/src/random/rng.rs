//! State of random generators, to reproduce dropout masks.
use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call, make_tensor};
use crate::{Error, Result};

/// Returns the index of a CUDA device, or -1 for the CPU.
fn device_index(device: Device) -> Result<i64> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            i64::try_from(index).map_err(|_| Error::Libtorch(format!("no CUDA device {index}")))
        }
        other => Err(Error::Libtorch(format!("the generator of {other:?} cannot be read"))),
    }
}

/// Returns the state of the default generator of `device`, as bytes on the CPU.
///
/// # Errors
/// [`Error::Libtorch`] for a device that is neither the CPU nor an available CUDA device.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let state = torch_ext::rng_state(Device::Cpu)?;
/// let first = Tensor::randn([8], (Kind::Float, Device::Cpu));
/// torch_ext::set_rng_state(Device::Cpu, &state)?;
/// assert_eq!(Tensor::randn([8], (Kind::Float, Device::Cpu)), first);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn rng_state(device: Device) -> Result<Tensor> {
    let index = device_index(device)?;
    // SAFETY: on success `out` is a new tensor that we own.
    make_tensor(|out, error| unsafe { ffi::polyqa_rng_state(index, out, error) })
}

/// Restores a state that [`rng_state`] returned.
///
/// # Errors
/// [`Error::Libtorch`] if `state` is not a state of this device's generator.
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<()> {
    let index = device_index(device)?;
    // SAFETY: `state` is a live tensor.
    call(|error| unsafe { ffi::polyqa_set_rng_state(index, state.as_ptr(), error) })
}

thread_local! {
    /// See [`first_row`].
    static FIRST_ROW: Cell<usize> = const { Cell::new(0) };
}

/// Returns the index of the current micro-batch's first row in the batch.
///
/// The index is 0 outside of micro-batches ([`MicroBatchSeeds`]).
pub fn first_row() -> usize {
    FIRST_ROW.get()
}

/// Random generator state for the micro-batches of a training step.
///
/// On the CPU, dropout depends on the index of a row in the batch ([`token_offsets`]).
/// [`enter`](Self::enter) sets the index of a micro-batch's first row, and restores the same
/// generator state for every micro-batch, so results do not depend on the split into micro-batches
/// or processes. On a GPU, `enter` seeds the generator from the index of the first row, so results
/// depend on the split.
///
/// ```
/// use tch::Device;
/// use torch_ext::{MicroBatchSeeds, dropout_factors, token_offsets};
///
/// tch::manual_seed(3);
/// let seeds = MicroBatchSeeds::new()?;
/// let draw = |rows| dropout_factors(&token_offsets(rows, 5)?, 8, 0.1);
/// let batch = draw(3)?;
/// seeds.enter(2);
/// assert_eq!(draw(1)?, batch.narrow(0, 10, 5));
/// seeds.enter(0);
/// assert_eq!(draw(2)?, batch.narrow(0, 0, 10));
/// # Ok::<(), torch_ext::Error>(())
/// ```
///
/// [`token_offsets`]: crate::token_offsets
#[derive(Debug)]
pub struct MicroBatchSeeds {
    cpu_state: Tensor,
    gpu_seed: u64,
}

impl MicroBatchSeeds {
    /// Creates seeds from the current state of the CPU generator, and leaves this state unchanged.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch returns an error.
    pub fn new() -> Result<Self> {
        let cpu_state = rng_state(Device::Cpu)?;
        let random_seed = Tensor::f_randint(1 << 62, [1], (Kind::Int64, Device::Cpu))?;
        let gpu_seed = random_seed.f_int64_value(&[0])?.unsigned_abs();
        set_rng_state(Device::Cpu, &cpu_state)?;
        Ok(Self { cpu_state, gpu_seed })
    }

    /// Starts the micro-batch whose first row has index `first` in the batch.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if libtorch returns an error.
    pub fn enter(&self, first: usize) -> Result<()> {
        set_rng_state(Device::Cpu, &self.cpu_state)?;
        FIRST_ROW.set(first);
        if tch::Cuda::is_available() {
            // Multiplication by an odd factor maps different indices to different values, so all
            // micro-batches of a step have different seeds.
            let factor = (first as u64).wrapping_mul(0x5851_F42D_4C95_7F2D);
            let seed = self.gpu_seed.wrapping_add(factor);
            tch::Cuda::manual_seed_all(seed);
        }
        Ok(())
    }
}

impl Drop for MicroBatchSeeds {
    fn drop(&mut self) {
        FIRST_ROW.set(0);
    }
}

/// Consecutive rows of a batch that are computed together, with the index of the first row.
///
/// # Example
/// ```
/// let rows = ["a", "b", "c"];
/// let micro_batches = torch_ext::MicroBatch::cut(&rows, 2);
/// let starts: Vec<usize> = micro_batches.iter().map(|part| part.first).collect();
/// assert_eq!(starts, [0, 2]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<T> {
    /// The index of the first row in the batch.
    pub first: usize,
    /// The rows.
    pub rows: T,
}

impl<'a, T> MicroBatch<&'a [T]> {
    /// Splits a batch into micro-batches of `size` rows. The last micro-batch may be shorter; a
    /// size of 0 means 1.
    pub fn cut(rows: &'a [T], size: usize) -> Vec<Self> {
        let size = size.max(1);
        let parts = rows.chunks(size).enumerate();
        parts.map(|(index, rows)| Self { first: index * size, rows }).collect()
    }
}

/// Draws float32 values from N(0, 1) on the CPU with a separate generator.
///
/// The values equal those of `Tensor::randn` after `tch::manual_seed(seed)`, but the state of all
/// other generators does not change.
///
/// # Errors
/// [`Error::Libtorch`] for a negative size, or if there is not enough memory.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let drawn = torch_ext::seeded_randn(&[2, 8], 7)?;
/// tch::manual_seed(7);
/// assert_eq!(drawn, Tensor::randn([2, 8], (Kind::Float, Device::Cpu)));
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn seeded_randn(size: &[i64], seed: i64) -> Result<Tensor> {
    // SAFETY: pointer and length are those of `size`; on success `out` is a new tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_seeded_randn(size.as_ptr(), size.len(), seed, out, error)
    })
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn seeded_draws_do_not_change_the_default_generator() {
        let state_before = rng_state(Device::Cpu).unwrap();
        let drawn = seeded_randn(&[100], 3).unwrap();
        assert_eq!(rng_state(Device::Cpu).unwrap(), state_before);
        assert_eq!(seeded_randn(&[100], 3).unwrap(), drawn);
        assert_ne!(seeded_randn(&[100], 4).unwrap(), drawn);
        assert!(seeded_randn(&[-1], 0).is_err());
    }

    #[test]
    fn an_invalid_state_is_rejected() {
        let invalid_state = Tensor::zeros([3], (Kind::Uint8, Device::Cpu));
        assert!(set_rng_state(Device::Cpu, &invalid_state).is_err());
        assert!(rng_state(Device::Mps).is_err());
    }
}
