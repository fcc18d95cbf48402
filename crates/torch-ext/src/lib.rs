#![doc = include_str!("../README.md")]

mod device;
mod distributed;
mod error;
mod ffi;
mod layers;
mod number;
mod optim;
mod precision;
mod process;
mod random;
mod step_context;
mod tensor_file;

pub use device::{
    DeviceChoice, Profile, Region, peak_device_memory, region, reset_peak_device_memory,
    resolve_device, upload,
};
pub use distributed::{ProcessGroup, Rendezvous, nccl_is_built, set_stop_flag};
pub use error::{Error, Result};
pub use layers::{
    Attention, EncoderLayer, FlashConfig, KeyBlocks, LayerShape, LayerWeights, LinearCrossEntropy,
    LinearWeights, LossReduction, dropout_add_norm, flash_attention, flash_attention_error,
    gated_gelu, linear_cross_entropy, packed_attention, recompute, rotary, streamed_logsumexp,
};
pub use number::{to_i64, to_usize};
pub use optim::{
    AdamWStep, Gradient, TouchedRows, clear_grads, fused_adamw, scale_all, set_grad, total_norm,
    total_norm_tensor,
};
pub(crate) use precision::has_amx;
pub use precision::{
    Int8Linear, MatmulPrecision, Precision, autocast, autocast_dtype, bf16_is_fast, cast_all,
    int8_is_fast, set_float32_matmul_precision, tune_float32_matmul, with_cast, without_autocast,
};
#[doc(hidden)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use process::restart_with_variables;
pub use process::{configure_process, exit_without_destructors, handle_on_signal_stack};
pub use random::{
    MicroBatch, MicroBatchSeeds, dropout_factors, dropout_factors_like, first_row, rng_state,
    seeded_randn, set_rng_state, token_offsets,
};
pub use step_context::StepContext;
pub use tensor_file::{TensorFile, TensorMap, read_tensors, write_tensors};
