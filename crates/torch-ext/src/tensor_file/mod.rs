//! Safetensors files: validated reads and atomic writes of named tensors.
//!
//! The format has a JSON header and raw data, so an untrusted file cannot run code.
mod dtype;
mod read;
mod write;

pub use read::{TensorFile, TensorMap, read_tensors};
pub use write::write_tensors;

#[cfg(test)]
mod tests;
