#![doc = include_str!("../README.md")]

mod allocator;
mod autocast;
mod device;
mod distributed;
mod dropout;
mod error;
mod exit;
mod ffi;
mod flash_attention;
mod int8_linear;
mod linear_cross_entropy;
mod number;
mod optim;
mod packed;
mod pre_norm;
mod precision;
mod profile;
mod recompute;
mod rng;
mod row_adamw;
mod signal_stack;
mod streamed_logsumexp;
mod tensor_file;
mod upload;
mod wait_policy;
mod waiting;

pub use autocast::{
    Precision, autocast, autocast_dtype, backward, cast_all, with_cast, with_loss_scale,
    without_autocast,
};
pub use device::{DeviceChoice, peak_device_memory, reset_peak_device_memory, resolve_device};
pub use distributed::{ProcessGroup, Rendezvous, current_group, nccl_is_built, with_group};
pub use dropout::{dropout_factors, dropout_factors_like, token_offsets};
pub use error::{Error, Result};
pub use exit::exit_without_destructors;
pub use flash_attention::{FlashConfig, flash_attention, flash_attention_error};
pub(crate) use int8_linear::has_amx;
pub use int8_linear::{Int8Linear, bf16_is_fast, int8_is_fast};
pub use linear_cross_entropy::{LinearCrossEntropy, LossReduction, linear_cross_entropy};
pub use number::{to_i64, to_usize};
pub use optim::{
    AdamWStep, clear_grads, fused_adamw, scale_all, set_grad, total_norm, total_norm_tensor,
};
pub use packed::{Attention, dropout_add_norm, packed_attention};
pub use pre_norm::{gated_gelu, rotary};
pub use precision::{MatmulPrecision, set_float32_matmul_precision, tune_float32_matmul};
pub use profile::{Profile, Region, region};
pub use recompute::recompute;
pub use rng::{MicroBatch, MicroBatchSeeds, first_row, rng_state, seeded_randn, set_rng_state};
pub use row_adamw::{Gradient, TouchedRows};
pub use signal_stack::handle_on_signal_stack;
pub use streamed_logsumexp::{KeyBlocks, streamed_logsumexp};
pub use tensor_file::{TensorFile, TensorMap, read_tensors, write_tensors};
pub use upload::upload;
pub use wait_policy::configure_process;
#[doc(hidden)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use wait_policy::restart_with_variables;
pub use waiting::set_stop_flag;
