//! Autocast (mixed precision) in bfloat16 or float16, on the CPU or a GPU.
use std::ffi::c_int;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call, into_tensor, to_pointers};
use crate::number::to_i64;
use crate::{Error, Result};

/// Compute precision of a model's forward pass and loss; parameters and optimiser stay float32.
///
/// ```
/// use torch_ext::Precision;
///
/// assert_eq!("bf16".parse::<Precision>()?, Precision::Bf16);
/// assert_eq!(Precision::default().name(), "f32");
/// # Ok::<(), torch_ext::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// float32 throughout.
    #[default]
    F32,
    /// Matrix multiplications and hidden states (residuals, inputs and outputs of norms and
    /// dropout) in bfloat16. Sums within a norm are float32.
    Bf16,
    /// Matrix multiplications in float16, which requires loss scaling; CUDA only.
    F16,
    /// The encoder's linear layers in 8 bits ([`Int8Linear`](crate::Int8Linear)), for inference on
    /// the CPU.
    Int8,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::F16, Self::Int8];

    /// Returns `f32`, `bf16`, `f16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Returns the dtype of matrix multiplications, or `None` for the parameters' dtype.
    pub fn matmul_dtype(self) -> Option<Kind> {
        match self {
            Self::F32 | Self::Int8 => None,
            Self::Bf16 => Some(Kind::BFloat16),
            Self::F16 => Some(Kind::Half),
        }
    }

    /// Returns the precision for fast inference: bfloat16 on a CPU with AMX, 8 bits on another CPU
    /// with AVX-512 VNNI, else float32.
    ///
    /// The choice depends only on the processor, so results on one machine are reproducible.
    pub fn fastest(device: Device) -> Self {
        match device {
            Device::Cpu if crate::has_amx() => Self::Bf16,
            Device::Cpu if crate::int8_is_fast() => Self::Int8,
            _ => Self::F32,
        }
    }

    /// Returns the precision for fast training: bfloat16 on a CUDA device and on a CPU with AVX-512
    /// BF16 or AMX, else float32.
    ///
    /// On other CPUs, bfloat16 matmuls are many times slower than float32 matmuls. On GPUs before
    /// Ampere, bfloat16 is emulated.
    pub fn fastest_in_training(device: Device) -> Self {
        match device {
            Device::Cuda(_) => Self::Bf16,
            Device::Cpu if crate::bf16_is_fast() => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// Runs `body` under [`autocast`] for tensors of `device`'s type. `F32` and `Int8` do not use
    /// autocast.
    ///
    /// # Errors
    /// The errors of [`autocast`].
    pub fn run<T>(self, device: Device, body: impl FnOnce() -> T) -> Result<T> {
        match self.matmul_dtype() {
            None => Ok(body()),
            Some(matmul_dtype) => autocast(device, matmul_dtype, body),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let supported = || Self::ALL.map(Self::name).join(", ");
        let precision = Self::ALL.into_iter().find(|precision| precision.name() == text);
        precision.ok_or_else(|| {
            Error::Libtorch(format!("unknown precision {text:?} (supported: {})", supported()))
        })
    }
}

/// Guard that restores the previous autocast state when the guard is dropped, even after a panic.
struct AutocastGuard {
    cuda: bool,
    was_enabled: bool,
    was_dtype: c_int,
    cache_was_on: bool,
}

impl AutocastGuard {
    /// Switches autocast on or off for one type of device; `dtype` is libtorch's id of the dtype.
    fn enter(cuda: bool, enabled: bool, dtype: c_int) -> Result<Self> {
        let mut guard = Self { cuda, was_enabled: false, was_dtype: dtype, cache_was_on: true };
        let Self { was_enabled, was_dtype, cache_was_on, .. } = &mut guard;
        // SAFETY: the shim writes the three output values.
        let result = call(|error| unsafe {
            let (dtype_out, cache) = (was_dtype, cache_was_on);
            ffi::polyqa_autocast_enter(cuda, enabled, dtype, was_enabled, dtype_out, cache, error)
        });
        match result {
            Ok(()) => Ok(guard),
            Err(error) => {
                // The call failed before it changed the state, so the guard must not restore a
                // state.
                std::mem::forget(guard);
                Err(error)
            }
        }
    }
}

impl Drop for AutocastGuard {
    fn drop(&mut self) {
        // SAFETY: plain values only. The result is ignored, because libtorch raises no error in
        // this function, and `drop` cannot return an error.
        let _ = call(|error| unsafe {
            let Self { cuda, was_enabled, was_dtype, cache_was_on } = *self;
            ffi::polyqa_autocast_leave(cuda, was_enabled, was_dtype, cache_was_on, error)
        });
    }
}

/// Runs `body` with libtorch's autocast: for tensors of `device`'s type, matrix multiplications use
/// `dtype`, and sums use float32.
///
/// `tch::autocast` supports only CUDA and its default dtype. The previous state is restored at the
/// end, so calls can be nested. A weight is cast at each use, because libtorch's cache of cast
/// weights would lose the gradient of a weight that was first used without gradients.
///
/// Run backward passes outside of `body`, or under [`without_autocast`].
///
/// # Errors
/// [`Error::Libtorch`] unless `dtype` is `BFloat16` or `Half`.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
/// let product = torch_ext::autocast(Device::Cpu, Kind::BFloat16, || x.matmul(&x))?;
/// assert_eq!(product.kind(), Kind::BFloat16);
/// assert_eq!(x.matmul(&x).kind(), Kind::Float);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn autocast<T>(device: Device, dtype: Kind, body: impl FnOnce() -> T) -> Result<T> {
    let _guard =
        AutocastGuard::enter(matches!(device, Device::Cuda(_)), true, half_dtype_id(dtype)?)?;
    Ok(body())
}

// libtorch's ids of float16 and bfloat16, which are private in tch.
const HALF: c_int = 5;
const BFLOAT16: c_int = 15;

fn half_dtype_id(dtype: Kind) -> Result<c_int> {
    match dtype {
        Kind::Half => Ok(HALF),
        Kind::BFloat16 => Ok(BFLOAT16),
        other => {
            let message = format!("cast to {other:?}: expected BFloat16 or Half");
            Err(Error::Libtorch(message))
        }
    }
}

/// Casts all tensors to `dtype`. On a GPU, one kernel casts all tensors in the forward pass, and
/// one kernel casts all gradients in the backward pass.
///
/// In contrast, [`autocast`] casts each tensor separately at each use. Gradients have the dtype of
/// the input tensors. The tensors of a group are concatenated along the first dimension.
///
/// # Shapes
/// - `groups`: any shapes, one float dtype and device; tensors of a group may differ only in their
///   first dimension
/// - returns one tensor per group, whose first dimension is the sum of the group's first dimensions
///
/// # Errors
/// [`Error::Libtorch`] unless `dtype` is `BFloat16` or `Half`, or if tensors differ in dtype,
/// tensors of a group differ in a dimension other than the first, or a group is empty.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
///
/// let (a, b) = (Tensor::from_slice(&[1f32, 2.0]), Tensor::from_slice(&[3f32]));
/// let cast = torch_ext::cast_all(&[vec![&a], vec![&b, &a]], Kind::BFloat16)?;
/// assert!(cast.iter().all(|tensor| tensor.kind() == Kind::BFloat16));
/// let [_, joined] = cast.as_slice() else { unreachable!() };
/// assert_eq!(Vec::<f32>::try_from(joined.to_kind(Kind::Float)).unwrap(), [3.0, 1.0, 2.0]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn cast_all(groups: &[Vec<&Tensor>], dtype: Kind) -> Result<Vec<Tensor>> {
    let dtype = half_dtype_id(dtype)?;
    let raw_tensors: Vec<_> = groups.iter().flat_map(|group| to_pointers(group)).collect();
    let counts: Vec<i64> = groups.iter().map(|group| to_i64(group.len())).collect();
    let mut out = vec![std::ptr::null_mut(); groups.len()];
    // SAFETY: live tensors, the number of tensors in each group, and space for one result per
    // group; the shim checks dtypes and shapes and, on success, returns tensors that we own.
    call(|error| unsafe {
        let (raw_tensors, counts) = (raw_tensors.as_ptr(), counts.as_ptr());
        ffi::polyqa_cast_all(raw_tensors, counts, groups.len(), dtype, out.as_mut_ptr(), error)
    })?;
    out.into_iter().map(into_tensor).collect()
}

/// Returns `x` and its cast to `dtype`.
///
/// The backward pass adds the gradients of the two returned tensors. On a GPU, the kernel that adds
/// the gradients also casts them, so no separate kernel is needed.
///
/// # Shapes
/// `x` has any shape and a float dtype of at least `dtype`'s precision. Both returned tensors have
/// the shape of `x`.
///
/// # Errors
/// [`Error::Libtorch`] unless `dtype` is `BFloat16` or `Half`, or if `x` has a lower precision than
/// `dtype`.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
///
/// let x = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
/// let [wide, low] = torch_ext::with_cast(&x, Kind::BFloat16)?;
/// assert_eq!((wide.kind(), low.kind()), (Kind::Float, Kind::BFloat16));
/// (wide * 3.0 + low.to_kind(Kind::Float) * 2.0).sum(Kind::Float).backward();
/// assert_eq!(Vec::<f32>::try_from(x.grad()).unwrap(), [5.0, 5.0]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn with_cast(x: &Tensor, dtype: Kind) -> Result<[Tensor; 2]> {
    let dtype = half_dtype_id(dtype)?;
    let mut out = [std::ptr::null_mut(); 2];
    // SAFETY: a live tensor and space for two results; the shim checks the dtype and, on success,
    // returns tensors that we own.
    call(|error| unsafe { ffi::polyqa_with_cast(x.as_ptr(), dtype, out.as_mut_ptr(), error) })?;
    let [original, cast] = out;
    Ok([into_tensor(original)?, into_tensor(cast)?])
}

/// Returns the current [`autocast`] dtype for tensors of `device`'s type; `None` outside of
/// autocast.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch returns an error.
pub fn autocast_dtype(device: Device) -> Result<Option<Kind>> {
    let mut dtype = 0;
    // SAFETY: the shim writes the output value.
    call(|error| unsafe {
        ffi::polyqa_autocast_dtype(matches!(device, Device::Cuda(_)), &mut dtype, error)
    })?;
    Ok(match dtype {
        HALF => Some(Kind::Half),
        BFLOAT16 => Some(Kind::BFloat16),
        _ => None,
    })
}

/// Runs `body` with autocast switched off on every device, and restores the previous state at the
/// end.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch returns an error.
pub fn without_autocast<T>(body: impl FnOnce() -> T) -> Result<T> {
    let _cpu = AutocastGuard::enter(false, false, BFLOAT16)?;
    let _cuda = AutocastGuard::enter(true, false, HALF)?;
    Ok(body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepContext;

    #[test]
    fn matmuls_have_low_precision_only_inside_autocast() {
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        let kinds = autocast(Device::Cpu, Kind::BFloat16, || {
            let half = autocast(Device::Cpu, Kind::Half, || x.matmul(&x).kind());
            (half.ok(), x.matmul(&x).kind(), x.softmax(0, None::<Kind>).kind())
        });
        assert_eq!(kinds.unwrap(), (Some(Kind::Half), Kind::BFloat16, Kind::Float));
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
        assert!(autocast(Device::Cpu, Kind::Int64, || ()).is_err());
    }

    #[test]
    fn casting_all_tensors_equals_casting_each() {
        let leaves = [1, 2, 3, 4, 5]
            .map(|n| crate::seeded_randn(&[n, 3], n).unwrap().set_requires_grad(true));
        let [a, b, c, d, e] = &leaves;
        let groups = [vec![a], vec![b], vec![c, d, e]];
        for kind in [Kind::BFloat16, Kind::Half] {
            let cast_group = |group: &Vec<&Tensor>| {
                let casts: Vec<Tensor> = group.iter().map(|leaf| leaf.to_kind(kind)).collect();
                Tensor::cat(&casts, 0)
            };
            let separate: Vec<Tensor> = groups.iter().map(cast_group).collect();
            let grouped = cast_all(&groups, kind).unwrap();
            assert_eq!(grouped, separate);
            // The result of the second group, `[b]`, is not part of the loss.
            let gradients = |cast: &[Tensor]| {
                let sums = [0, 2].map(|n| (&cast[n] * &cast[n]).sum(Kind::Float) * 1.7);
                let loss = sums.iter().sum::<Tensor>();
                Tensor::run_backward(&[loss], &[a, c, d, e], false, false)
            };
            assert_eq!(gradients(&grouped), gradients(&separate));
        }
        assert!(cast_all(&[], Kind::BFloat16).unwrap().is_empty());
        let error = |group: Vec<&Tensor>, kind| cast_all(&[group], kind).unwrap_err().to_string();
        assert!(error(vec![a, b], Kind::Int64).contains("expected BFloat16 or Half"));
        let double = b.to_kind(Kind::Double);
        assert!(error(vec![a, &double], Kind::Half).contains("tensor 1 is Double"));
        let narrow = b.narrow(1, 0, 2);
        assert!(
            error(vec![a, &narrow], Kind::Half).contains("[2, 2], cannot be concatenated with")
        );
        assert!(error(vec![], Kind::Half).contains("group 0 is empty"));
    }

    #[test]
    fn gradients_of_a_tensor_and_its_cast_are_added() {
        let x = crate::seeded_randn(&[5, 3], 1).unwrap().set_requires_grad(true);
        let factor = crate::seeded_randn(&[5, 3], 2).unwrap();
        for kind in [Kind::BFloat16, Kind::Half] {
            let [wide, low] = with_cast(&x, kind).unwrap();
            assert_eq!((&wide, &low), (&x, &x.to_kind(kind)));
            let separate = [x.shallow_clone(), x.to_kind(kind)];
            for [use_wide, use_low] in [[true, true], [true, false], [false, true]] {
                let gradient = |wide: &Tensor, low: &Tensor| {
                    let mut loss = Tensor::from(0f32);
                    if use_wide {
                        loss += (wide * &factor).sum(Kind::Float);
                    }
                    if use_low {
                        loss += (low * factor.to_kind(kind)).square().sum(Kind::Float);
                    }
                    Tensor::run_backward(&[loss], &[&x], true, false)
                };
                assert_eq!(gradient(&wide, &low), gradient(&separate[0], &separate[1]));
            }
        }
        let error = |x: &Tensor| with_cast(x, Kind::Half).unwrap_err().to_string();
        assert!(error(&x.to_kind(Kind::BFloat16)).contains("from BFloat16 to Half"));
    }

    #[test]
    fn a_panic_restores_the_autocast_state() {
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        let result = std::panic::catch_unwind(|| {
            autocast(Device::Cpu, Kind::BFloat16, || assert!(x.numel() == 0, "stop"))
        });
        assert!(result.is_err());
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
    }

    #[test]
    fn backward_leaves_autocast_and_scales_the_loss() {
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        autocast(Device::Cpu, Kind::BFloat16, || {
            let kind_without_autocast = without_autocast(|| x.matmul(&x).kind()).unwrap();
            assert_eq!(autocast_dtype(Device::Cpu).unwrap(), Some(Kind::BFloat16));
            assert_eq!(without_autocast(|| autocast_dtype(Device::Cpu)).unwrap().unwrap(), None);
            assert_eq!((kind_without_autocast, x.matmul(&x).kind()), (Kind::Float, Kind::BFloat16));
            let loss = x.matmul(&x).sum(Kind::Float);
            StepContext::new(4.0, None).backward(&loss).unwrap();
        })
        .unwrap();
        // For a 3 x 3 matrix of ones, every element of the gradient of sum(x·x) is 3 + 3 = 6. The
        // loss scale is 4, so the scaled gradient is 24.
        assert_eq!(x.grad(), Tensor::full([3, 3], 24.0, (Kind::Float, Device::Cpu)));
        assert_eq!(x.grad().kind(), Kind::Float);
    }

    #[test]
    fn a_weight_first_used_without_gradient_still_receives_a_gradient() {
        let weight = Tensor::ones([3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let x = Tensor::ones([3, 3], (Kind::Float, Device::Cpu));
        autocast(Device::Cpu, Kind::BFloat16, || {
            let _ = tch::no_grad(|| x.matmul(&weight));
            assert!(x.matmul(&weight).requires_grad());
        })
        .unwrap();
    }

    #[test]
    fn precisions_are_parsed_from_their_names() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().parse::<Precision>().unwrap(), precision);
        }
        let error = "fp8".parse::<Precision>().unwrap_err().to_string();
        assert!(error.contains("f32, bf16, f16, int8"), "{error}");
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        let kind = |precision: Precision| precision.run(Device::Cpu, || x.matmul(&x).kind());
        assert_eq!(kind(Precision::F32).unwrap(), Kind::Float);
        assert_eq!(kind(Precision::Bf16).unwrap(), Kind::BFloat16);
    }
}
