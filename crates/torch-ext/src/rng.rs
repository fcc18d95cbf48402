//! The state of a device's random generator: the same dropout can be drawn again.
use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call};
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
    let mut out = std::ptr::null_mut();
    // SAFETY: on success `out` is a new tensor that we own.
    call(|error| unsafe { ffi::polyqa_rng_state(index, &mut out, error) })?;
    Ok(unsafe { Tensor::from_ptr(out) })
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

/// Seeds for the parts of a step: what is drawn in a part depends on its number, not on the parts
/// that ran before it in this process.
///
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let draw = || Tensor::rand([4], (Kind::Float, Device::Cpu));
/// let seeds = torch_ext::PartSeeds::draw()?;
/// seeds.enter(1);
/// let first = draw();
/// seeds.enter(0);
/// assert_ne!(draw(), first);
/// seeds.enter(1);
/// assert_eq!(draw(), first);
/// # Ok::<(), torch_ext::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PartSeeds {
    base: i64,
}

impl PartSeeds {
    /// New ones, by one draw from the CPU's generator.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch refuses.
    pub fn draw() -> Result<Self> {
        let drawn = Tensor::f_randint(1 << 62, [1], (Kind::Int64, Device::Cpu))?;
        Ok(Self { base: drawn.f_int64_value(&[0])? })
    }

    /// Seeds the generators of all devices for part `number`.
    pub fn enter(self, number: usize) {
        // An odd factor: no two parts of a step have one seed.
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        tch::manual_seed(self.base.wrapping_add(number.wrapping_mul(0x5851_F42D_4C95_7F2D)));
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
    let mut out = std::ptr::null_mut();
    // SAFETY: the sizes are live; on success `out` is a new tensor that we own.
    call(|error| unsafe {
        ffi::polyqa_seeded_randn(size.as_ptr(), size.len(), seed, &mut out, error)
    })?;
    Ok(unsafe { Tensor::from_ptr(out) })
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
