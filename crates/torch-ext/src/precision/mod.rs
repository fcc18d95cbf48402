//! Precision of computations: autocast, float32 matmul kernels and 8-bit linear layers.
mod autocast;
mod int8_linear;
mod matmul;

pub use autocast::{Precision, autocast, autocast_dtype, cast_all, with_cast, without_autocast};
pub(crate) use int8_linear::has_amx;
pub use int8_linear::{Int8Linear, bf16_is_fast, int8_is_fast};
pub use matmul::{MatmulPrecision, set_float32_matmul_precision, tune_float32_matmul};
