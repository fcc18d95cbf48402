#![doc = include_str!("../README.md")]

mod device;
mod error;
mod ffi;
mod optim;
mod precision;

pub use device::{DeviceChoice, resolve_device};
pub use error::{Error, Result};
pub use optim::{AdamWStep, clip_grad_norm, fused_adamw, total_norm};
pub use precision::{
    MatmulPrecision, PrecisionReport, set_float32_matmul_precision, tune_float32_matmul,
};
