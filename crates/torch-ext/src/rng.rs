//! The state of a device's random generator: the same dropout can be drawn again.
use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call, make};
use crate::{Error, Result};

fn index(device: Device) -> Result<i64> {
    match device {
        Device::Cpu => Ok(-1),
        Device::Cuda(index) => {
            i64::try_from(index).map_err(|_| Error::Libtorch(format!("no CUDA device {index}")))
        }
        other => Err(Error::Libtorch(format!("no generator of {other:?} can be read"))),
    }
}

/// The state of the default generator of `device`, as bytes on the CPU.
///
/// # Errors
/// [`Error::Libtorch`] for a device that is neither the CPU nor a CUDA device that libtorch sees.
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
    let index = index(device)?;
    // SAFETY: on success `out` is a new tensor that we own.
    make(|out, error| unsafe { ffi::polyqa_rng_state(index, out, error) })
}

/// Restores a state of [`rng_state`].
///
/// # Errors
/// [`Error::Libtorch`] if `state` is no state of this device's generator.
pub fn set_rng_state(device: Device, state: &Tensor) -> Result<()> {
    let index = index(device)?;
    // SAFETY: `state` is a live tensor.
    call(|error| unsafe { ffi::polyqa_set_rng_state(index, state.as_ptr(), error) })
}

thread_local! {
    /// See [`first_row`].
    static FIRST_ROW: Cell<usize> = const { Cell::new(0) };
}

/// Where the batch that this thread computes begins within the step's: 0, but in a micro-batch of
/// [`MicroBatchSeeds`].
pub fn first_row() -> usize {
    FIRST_ROW.get()
}

/// What is drawn in the micro-batches of a step.
///
/// On the CPU dropout is drawn for each row by its number in the batch ([`token_offsets`]), so
/// where the batch is cut, and which process computes which rows, changes nothing: every
/// micro-batch
/// begins with the generator as it was, and with the number of its first row. A GPU's generator
/// knows no rows and is seeded for each micro-batch, by that number.
///
/// ```
/// use tch::Device;
/// use torch_ext::{MicroBatchSeeds, dropout_factors, token_offsets};
///
/// tch::manual_seed(3);
/// let seeds = MicroBatchSeeds::new()?;
/// let draw = |rows| dropout_factors(&token_offsets(rows, 5)?, 8, 0.1);
/// let whole = draw(3)?;
/// seeds.enter(2);
/// assert_eq!(draw(1)?, whole.narrow(0, 10, 5));
/// seeds.enter(0);
/// assert_eq!(draw(2)?, whole.narrow(0, 0, 10));
/// # Ok::<(), torch_ext::Error>(())
/// ```
///
/// [`token_offsets`]: crate::token_offsets
#[derive(Debug)]
pub struct MicroBatchSeeds {
    cpu: Tensor,
    gpu: u64,
}

impl MicroBatchSeeds {
    /// Those of the generators as they are.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch refuses.
    pub fn new() -> Result<Self> {
        let cpu = rng_state(Device::Cpu)?;
        let drawn = Tensor::f_randint(1 << 62, [1], (Kind::Int64, Device::Cpu))?;
        let gpu = drawn.f_int64_value(&[0])?.unsigned_abs();
        set_rng_state(Device::Cpu, &cpu)?;
        Ok(Self { cpu, gpu })
    }

    /// Begins the micro-batch whose first row has number `first` in the batch.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if libtorch refuses.
    pub fn enter(&self, first: usize) -> Result<()> {
        set_rng_state(Device::Cpu, &self.cpu)?;
        FIRST_ROW.set(first);
        if tch::Cuda::is_available() {
            // An odd factor: no two micro-batches of a step have one seed.
            let number = u64::try_from(first).unwrap_or(u64::MAX);
            let seed = self.gpu.wrapping_add(number.wrapping_mul(0x5851_F42D_4C95_7F2D));
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

/// Rows of a batch that are computed at once, and where they are in it.
///
/// # Example
/// ```
/// let rows = ["a", "b", "c"];
/// let micro_batches = torch_ext::MicroBatch::cut(&rows, 2);
/// let firsts: Vec<usize> = micro_batches.iter().map(|one| one.first).collect();
/// assert_eq!(firsts, [0, 2]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<T> {
    /// The number of its first row in the batch.
    pub first: usize,
    /// The rows.
    pub rows: T,
}

impl<'a, T> MicroBatch<&'a [T]> {
    /// Cuts a batch into parts of `size` rows; the last may be shorter. A size of 0 counts as 1.
    pub fn cut(rows: &'a [T], size: usize) -> Vec<Self> {
        let size = size.max(1);
        let parts = rows.chunks(size).enumerate();
        parts.map(|(number, rows)| Self { first: number * size, rows }).collect()
    }
}

/// Float32 draws of N(0, 1) on the CPU from a generator of their own: the same as after
/// `tch::manual_seed(seed)`, and no other generator, of any device, is touched.
///
/// # Errors
/// [`Error::Libtorch`] for a negative size, or if memory does not suffice.
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
    // SAFETY: the sizes are live; on success `out` is a new tensor that we own.
    make(|out, error| unsafe {
        ffi::polyqa_seeded_randn(size.as_ptr(), size.len(), seed, out, error)
    })
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn seeded_draws_leave_the_default_generator_alone() {
        let before = rng_state(Device::Cpu).unwrap();
        let drawn = seeded_randn(&[100], 3).unwrap();
        assert_eq!(rng_state(Device::Cpu).unwrap(), before);
        assert_eq!(seeded_randn(&[100], 3).unwrap(), drawn);
        assert_ne!(seeded_randn(&[100], 4).unwrap(), drawn);
        assert!(seeded_randn(&[-1], 0).is_err());
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let wrong = Tensor::zeros([3], (Kind::Uint8, Device::Cpu));
        assert!(set_rng_state(Device::Cpu, &wrong).is_err());
        assert!(rng_state(Device::Mps).is_err());
    }
}
