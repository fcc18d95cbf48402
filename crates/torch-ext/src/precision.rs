//! Which kernels float32 matrix products may use.
//!
//! On AMD processors libtorch's default float32 product reaches half the speed of the oneDNN kernel
//! inside the same library, which the setting `Medium` unlocks. On processors with AMX the same
//! setting may mean bfloat16, so the choice is made by a measured error, not by a name. `Bf16x3`
//! and `Bf16x2` are for those: their products are made of bfloat16 ones that add up to float32's
//! accuracy, or to two thirds of its bits.
use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call};
use crate::{Error, Result};

/// libtorch's three levels for float32 matrix products, and two of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// Plain float32; libtorch's default.
    Highest,
    /// TF32 or a split into bfloat16 parts, where a kernel offers it.
    High,
    /// bfloat16 with float32 accumulation, where a kernel offers it; else another float32 kernel.
    Medium,
    /// Each number as the sum of three of bfloat16, and of a product's nine parts the six that
    /// float32 would see (the others are below 2^-24 of it), on the tiles of processors with AMX.
    ///
    /// For [`linear`](crate::linear) and the losses' products on the CPU; others are as at
    /// `Highest`. Infinite numbers, and those from 3.3962e38 on, which bfloat16 rounds to infinity,
    /// give NaN.
    Bf16x3,
    /// The same with two parts of each number, 16 bits of its 24, and three products of parts.
    ///
    /// Between float32 and TF32's 11 bits, as libtorch describes `High`. Errors of a sum are up to
    /// 3 · 2^-16 of what it adds up without signs; of random numbers a twentieth of that.
    Bf16x2,
}

impl MatmulPrecision {
    /// The name libtorch gives the level; `bf16x3` and `bf16x2` for ours.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16x3 => "bf16x3",
            Self::Bf16x2 => "bf16x2",
            Self::Highest => "highest",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

impl std::str::FromStr for MatmulPrecision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Highest, Self::High, Self::Medium, Self::Bf16x3, Self::Bf16x2]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| {
                let known = "highest, high, medium, bf16x3 or bf16x2";
                Error::Libtorch(format!("unknown precision {text:?}: {known}"))
            })
    }
}

/// What [`tune_float32_matmul`] measured and chose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionReport {
    /// The level in force from now on.
    pub chosen: MatmulPrecision,
    /// Largest error of a 256 x 384 x 256 product at `Highest`, against float64.
    pub highest_error: f64,
    /// The same at `Medium`.
    pub medium_error: f64,
}

/// Whether [`MatmulPrecision::Bf16x3`] and `Bf16x2` can be set: on Linux, with AMX and AVX-512.
pub fn has_bf16_parts() -> bool {
    // SAFETY: no arguments.
    unsafe { ffi::polyqa_has_bf16_parts() }
}

/// Sets the level for the whole process.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch refuses, or the processor has none of the level's kernels
/// ([`has_bf16_parts`]).
pub fn set_float32_matmul_precision(level: MatmulPrecision) -> Result<()> {
    let level = match level {
        MatmulPrecision::Highest => 0,
        MatmulPrecision::High => 1,
        MatmulPrecision::Medium => 2,
        MatmulPrecision::Bf16x3 => 3,
        MatmulPrecision::Bf16x2 => 4,
    };
    // SAFETY: plain values only.
    call(|error| unsafe { ffi::polyqa_set_float32_matmul_precision(level, error) })
}

/// Takes `Medium` if its products on the CPU stay within eight times the default's rounding error,
/// else `Highest`.
///
/// bfloat16 products miss that bound by two orders of magnitude. `Bf16x3` keeps it, and is left to
/// be asked for: on the processors it was measured on it is faster than `Highest` for some layers
/// and slower for others (`cargo xtask bench linear`). Does not draw from the random generator. The
/// setting holds for all devices, and on a GPU `Medium` allows TF32: tune for runs on the CPU
/// alone.
///
/// # Errors
/// [`Error::Libtorch`] or [`Error::Torch`] if libtorch refuses an operation.
pub fn tune_float32_matmul() -> Result<PrecisionReport> {
    let ramp = |rows: i64, columns: i64, step: f64| -> Result<Tensor> {
        Ok(Tensor::f_arange(rows * columns, (Kind::Double, Device::Cpu))?
            .f_mul_scalar(step)?
            .f_sin()?
            .f_view([rows, columns])?)
    };
    let (a, b) = (ramp(256, 384, 0.731)?, ramp(384, 256, 1.137)?);
    // Inputs that float32 holds exactly, so only the product itself rounds.
    let (a32, b32) = (a.f_to_kind(Kind::Float)?, b.f_to_kind(Kind::Float)?);
    let exact = a32.f_to_kind(Kind::Double)?.f_matmul(&b32.f_to_kind(Kind::Double)?)?;
    let error_at = |level| -> Result<f64> {
        set_float32_matmul_precision(level)?;
        let product = a32.f_matmul(&b32)?.f_to_kind(Kind::Double)?;
        Ok(product.f_sub(&exact)?.f_abs()?.f_max()?.f_double_value(&[])?)
    };
    let medium_error = error_at(MatmulPrecision::Medium)?;
    let highest_error = error_at(MatmulPrecision::Highest)?;
    let chosen = if medium_error <= 8.0 * highest_error {
        MatmulPrecision::Medium
    } else {
        MatmulPrecision::Highest
    };
    set_float32_matmul_precision(chosen)?;
    Ok(PrecisionReport { chosen, highest_error, medium_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_level_keeps_float32_accuracy() {
        let report = tune_float32_matmul().unwrap();
        assert!(report.highest_error < 1e-3, "{report:?}");
        if report.chosen == MatmulPrecision::Medium {
            assert!(report.medium_error <= 8.0 * report.highest_error, "{report:?}");
        }
        set_float32_matmul_precision(MatmulPrecision::Highest).unwrap();
    }

    #[test]
    fn names_round_trip() {
        for level in [MatmulPrecision::Medium, MatmulPrecision::Bf16x3, MatmulPrecision::Bf16x2] {
            assert_eq!(level.name().parse::<MatmulPrecision>().unwrap(), level);
        }
        assert!("fast".parse::<MatmulPrecision>().is_err());
    }
}
