//! The C functions of `src/shim` and wrappers to call them.
use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{Error, Result};

pub(crate) type RawTensor = *const C_tensor;

/// c10d's process group, opaque outside of the shim.
#[repr(C)]
pub(crate) struct RawGroup {
    _private: [u8; 0],
}

/// A named profiler region, opaque outside of the shim.
#[repr(C)]
pub(crate) struct RawRegion {
    _private: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn polyqa_profile_start(cuda: bool, error: *mut *mut c_char) -> c_int;
    pub(crate) fn polyqa_profile_stop(path: *const c_char, error: *mut *mut c_char) -> c_int;
    pub(crate) fn polyqa_profile_region_start(name: *const c_char) -> *mut RawRegion;
    pub(crate) fn polyqa_profile_region_end(region: *mut RawRegion);
    pub(crate) fn polyqa_group_connect(
        host: *const c_char,
        port: u16,
        listens: bool,
        launcher_listens: bool,
        rank: c_int,
        size: c_int,
        connect_timeout_ms: i64,
        timeout_ms: i64,
        prefix: *const c_char,
        interface_name: *const c_char,
        out: *mut *mut RawGroup,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_nccl_is_built() -> bool;
    pub(crate) fn polyqa_group_add_nccl(
        group: *mut RawGroup,
        device: c_int,
        timeout_ms: i64,
        prefix: *const c_char,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_group_exchange(
        group: *mut RawGroup,
        sent: *const RawTensor,
        received: *const RawTensor,
        count: usize,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_group_broadcast(
        group: *mut RawGroup,
        tensor: RawTensor,
        root: c_int,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_group_all_gather(
        group: *mut RawGroup,
        tensor: RawTensor,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_group_free(group: *mut RawGroup);
    pub(crate) fn polyqa_fused_adamw(
        params: *const RawTensor,
        grads: *const RawTensor,
        exp_avgs: *const RawTensor,
        exp_avg_sqs: *const RawTensor,
        steps: *const RawTensor,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        grad_scale: f64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_total_norm(
        grads: *const RawTensor,
        count: usize,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_scale_all(
        tensors: *const RawTensor,
        count: usize,
        factor: f64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_set_grad(
        param: RawTensor,
        grad: RawTensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_pool_large_tensors(error: *mut *mut c_char) -> c_int;
    pub(crate) fn polyqa_clear_grads(
        params: *const RawTensor,
        count: usize,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_peak_device_bytes(
        device: usize,
        bytes: *mut i64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_reset_peak_device_bytes(
        device: usize,
        current_bytes: *mut i64,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_upload(
        tensor: RawTensor,
        device: usize,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_set_float32_matmul_precision(
        level: c_int,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_linear_cross_entropy(
        hidden: RawTensor,
        weight: RawTensor,
        bias: RawTensor,
        targets: RawTensor,
        weights: RawTensor,
        mean: c_int,
        chunk_rows: i64,
        loss: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_streamed_logsumexp(
        query: RawTensor,
        key: RawTensor,
        query_group: RawTensor,
        key_group: RawTensor,
        negative_groups: c_int,
        offset: RawTensor,
        temperature: f64,
        normalise_eps: f64,
        block_size: i64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_packed_attention(
        query: RawTensor,
        key: RawTensor,
        value: RawTensor,
        lengths: *const i64,
        rows: usize,
        offsets: RawTensor,
        heads: i64,
        window: i64,
        dropout: f64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_rotary(
        projected: RawTensor,
        cos: RawTensor,
        sin: RawTensor,
        heads: i64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_gated_gelu(
        input: RawTensor,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_int8_is_fast() -> bool;
    pub(crate) fn polyqa_bf16_is_fast() -> bool;
    pub(crate) fn polyqa_has_amx() -> bool;
    pub(crate) fn polyqa_int8_pack(
        weight: RawTensor,
        packed: *mut *mut C_tensor,
        scales: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_int8_linear(
        x: RawTensor,
        packed: RawTensor,
        scales: RawTensor,
        bias: RawTensor,
        outputs: i64,
        gelu: bool,
        to_bf16: bool,
        portable: bool,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_flash_attention(
        query: RawTensor,
        key: RawTensor,
        value: RawTensor,
        row_offsets: RawTensor,
        max_length: i64,
        heads: i64,
        window: i64,
        dropout: f64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_dropout_factors(
        offsets: RawTensor,
        width: i64,
        p: f64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_dropout_add_norm(
        x: RawTensor,
        residual: RawTensor,
        weight: RawTensor,
        bias: RawTensor,
        offsets: RawTensor,
        eps: f64,
        dropout: f64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_recompute(
        run: extern "C" fn(*mut c_void, *const C_tensor, *mut *mut c_char) -> *mut C_tensor,
        drop: extern "C" fn(*mut c_void),
        body: *mut c_void,
        input: RawTensor,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_seeded_randn(
        sizes: *const i64,
        dims: usize,
        seed: i64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_rng_state(
        device_index: i64,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_set_rng_state(
        device_index: i64,
        state: RawTensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_autocast_enter(
        cuda: bool,
        enabled: bool,
        dtype: c_int,
        was_enabled: *mut bool,
        was_dtype: *mut c_int,
        cache_was_on: *mut bool,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_encoder_layer_is_fast() -> bool;
    pub(crate) fn polyqa_encoder_layer_pack(
        weight: RawTensor,
        packed: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_encoder_layer(
        hidden: RawTensor,
        lengths: *const i64,
        rows: i64,
        heads: i64,
        eps: f64,
        use_amx: bool,
        tensors: *const RawTensor,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_cast_all(
        tensors: *const RawTensor,
        counts: *const i64,
        groups: usize,
        dtype: c_int,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_with_cast(
        x: RawTensor,
        dtype: c_int,
        out: *mut *mut C_tensor,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_autocast_dtype(
        cuda: bool,
        dtype: *mut c_int,
        error: *mut *mut c_char,
    ) -> c_int;
    pub(crate) fn polyqa_autocast_leave(
        cuda: bool,
        was_enabled: bool,
        was_dtype: c_int,
        cache_was_on: bool,
        error: *mut *mut c_char,
    ) -> c_int;
}

pub(crate) fn to_pointers(tensors: &[&Tensor]) -> Vec<RawTensor> {
    tensors.iter().map(|tensor| tensor.as_ptr()).collect()
}

pub(crate) fn raw_or_null(tensor: Option<&Tensor>) -> RawTensor {
    tensor.map_or(std::ptr::null(), |tensor| tensor.as_ptr())
}

/// Calls a shim function that returns a new tensor.
pub(crate) fn make_tensor(
    body: impl FnOnce(*mut *mut C_tensor, *mut *mut c_char) -> c_int,
) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    call(|error| body(&mut out, error))?;
    into_tensor(out)
}

pub(crate) fn into_tensor(out: *mut C_tensor) -> Result<Tensor> {
    if out.is_null() {
        return Err(Error::Libtorch("no tensor returned".into()));
    }
    // SAFETY: the shim created the tensor, and we own it.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Calls a shim function and converts its error message to an error.
pub(crate) fn call(body: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<()> {
    let mut message: *mut c_char = std::ptr::null_mut();
    if body(&mut message) == 0 {
        return Ok(());
    }
    if message.is_null() {
        return Err(Error::Libtorch("no message".into()));
    }
    // SAFETY: the shim returns a NUL-terminated string from `strdup` that we own.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        libc::free(message.cast());
        text
    };
    // libtorch appends a C++ stack trace to its message, so only the first line is used.
    let (message, _stack_trace) = text.split_once('\n').unwrap_or((&text, ""));
    Err(Error::Libtorch(message.to_owned()))
}
