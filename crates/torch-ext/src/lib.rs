#![doc = include_str!("../README.md")]

mod device;
mod error;
mod ffi;
mod optim;
mod precision;
mod tensor_file;

pub use device::{DeviceChoice, resolve_device};
pub use error::{Error, Result};
pub use optim::{AdamWStep, clear_grads, clip_grad_norm, fused_adamw, total_norm};
pub use precision::{
    MatmulPrecision, PrecisionReport, set_float32_matmul_precision, tune_float32_matmul,
};
pub use tensor_file::{TensorFile, TensorMap, read_tensors, write_tensors};
