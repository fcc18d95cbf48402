//! Named tensors in safetensors files: checked on the way in, whole or absent on the way out.
//!
//! safetensors only: the format holds a JSON header and raw numbers, so an untrusted file can be
//! wrong but not run code.
mod dtype;
mod read;
mod write;

pub use read::{TensorFile, TensorMap, read_tensors};
pub use write::write_tensors;

#[cfg(test)]
mod tests;
