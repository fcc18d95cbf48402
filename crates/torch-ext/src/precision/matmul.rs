//! Selection of the kernels for float32 matrix multiplications.
//!
//! On AMD processors with AVX-512, libtorch's default kernel for float32 matmuls is half as fast as
//! its oneDNN kernel, which the level `Medium` enables. On processors with AMX, `Medium` may use bfloat16,
//! which is less accurate. [`tune_float32_matmul`] therefore chooses the level from a measured
//! error.
use std::sync::Mutex;

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, call};
use crate::{Error, Result};

/// libtorch's three precision levels for float32 matrix multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatmulPrecision {
    /// Plain float32; libtorch's default.
    Highest,
    /// TF32 or a split into bfloat16 parts, if a kernel supports it.
    High,
    /// bfloat16 with float32 accumulation, if a kernel supports it; otherwise another float32
    /// kernel.
    Medium,
}

impl MatmulPrecision {
    /// Returns libtorch's name for the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

impl std::str::FromStr for MatmulPrecision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Highest, Self::High, Self::Medium]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| {
                let supported = "highest, high, medium";
                Error::Libtorch(format!("unknown precision {text:?} (supported: {supported})"))
            })
    }
}

/// Sets the precision level of float32 matrix multiplications for the whole process.
///
/// # Errors
/// [`Error::Libtorch`] if libtorch returns an error.
pub fn set_float32_matmul_precision(level: MatmulPrecision) -> Result<()> {
    let level = match level {
        MatmulPrecision::Highest => 0,
        MatmulPrecision::High => 1,
        MatmulPrecision::Medium => 2,
    };
    // SAFETY: plain values only.
    call(|error| unsafe { ffi::polyqa_set_float32_matmul_precision(level, error) })
}

/// Sets and returns the level `Medium` if it is accurate on the CPU, otherwise `Highest`.
///
/// `Medium` is accurate if its rounding error is at most eight times the error of `Highest`;
/// bfloat16 exceeds this bound by two orders of magnitude. This function draws no random values.
/// The setting applies to all devices, and on a GPU `Medium` allows TF32, so call this function
/// only for runs on the CPU.
///
/// The first call in a process measures, and meanwhile matmuls of other threads can use `Medium`.
/// Later calls only set the level again.
///
/// # Errors
/// [`Error::Libtorch`] or [`Error::Torch`] if an operation of libtorch fails.
pub fn tune_float32_matmul() -> Result<MatmulPrecision> {
    // Without the lock, two calls at the same time would measure at each other's levels.
    static TUNED: Mutex<Option<MatmulPrecision>> = Mutex::new(None);
    let mut tuned = TUNED.lock().expect("no measurement panics");
    let level = match *tuned {
        Some(level) => level,
        None => {
            let (medium_error, highest_error) = measure_matmul_errors()?;
            match medium_error <= 8.0 * highest_error {
                true => MatmulPrecision::Medium,
                false => MatmulPrecision::Highest,
            }
        }
    };
    set_float32_matmul_precision(level)?;
    *tuned = Some(level);
    Ok(level)
}

/// Returns the largest errors of a 256 x 384 x 256 matmul at `Medium` and `Highest`, compared with
/// float64.
fn measure_matmul_errors() -> Result<(f64, f64)> {
    let sines = |rows: i64, columns: i64, step: f64| -> Result<Tensor> {
        Ok(Tensor::f_arange(rows * columns, (Kind::Double, Device::Cpu))?
            .f_mul_scalar(step)?
            .f_sin()?
            .f_view([rows, columns])?)
    };
    // The exact product has the same float32 inputs, so the error contains only the rounding of the
    // matmul.
    let a = sines(256, 384, 0.731)?.f_to_kind(Kind::Float)?;
    let b = sines(384, 256, 1.137)?.f_to_kind(Kind::Float)?;
    let exact = a.f_to_kind(Kind::Double)?.f_matmul(&b.f_to_kind(Kind::Double)?)?;
    let error_at = |level| -> Result<f64> {
        set_float32_matmul_precision(level)?;
        let product = a.f_matmul(&b)?.f_to_kind(Kind::Double)?;
        Ok(product.f_sub(&exact)?.f_abs()?.f_max()?.f_double_value(&[])?)
    };
    Ok((error_at(MatmulPrecision::Medium)?, error_at(MatmulPrecision::Highest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tuned_level_has_float32_accuracy() {
        tune_float32_matmul().unwrap();
        let input = Tensor::arange(512 * 512, (Kind::Float, Device::Cpu)).sin().view([512, 512]);
        let exact_input = input.to_kind(Kind::Double);
        let exact = exact_input.matmul(&exact_input);
        let product = input.matmul(&input).to_kind(Kind::Double);
        let error = (product - exact).abs().max().double_value(&[]);
        // bfloat16 has errors of more than 0.01 here.
        assert!(error < 1e-3, "{error}");
    }

    #[test]
    fn calls_at_the_same_time_choose_the_same_level() {
        let levels: Vec<MatmulPrecision> = std::thread::scope(|scope| {
            let calls = [(); 8].map(|()| scope.spawn(|| tune_float32_matmul().unwrap()));
            calls.map(|call| call.join().unwrap()).into()
        });
        assert_eq!(levels, [levels[0]; 8]);
    }
}
