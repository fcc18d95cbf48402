//! What becomes of freed memory.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use crate::ffi::{self, call};

/// Settings of glibc's allocator that a user may have made.
const SETTINGS: [&str; 5] = [
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
];

/// Keeps freed memory in the process for the next step, and tensors of at least 256 KiB apart from
/// all else, unless the environment sets glibc's allocator.
///
/// By default each tensor of more than 32 MiB goes back to the kernel as soon as it is freed, and
/// the next step pays for all its pages again. In one heap with small blocks that outlive a step,
/// kept memory falls into gaps that batches of other lengths do not fit, and grows; large tensors
/// by themselves take as much as the largest batch needed. Elsewhere than on Linux with glibc it
/// does nothing.
pub(crate) fn retain_freed_memory() {
    if SETTINGS.iter().all(|name| std::env::var_os(name).is_none()) {
        configure_allocator();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn configure_allocator() {
    // SAFETY: two numbers for the allocator; a refused one changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
    // SAFETY: the shim's allocator lives as long as the process. Tensors that exist already are
    // freed by the allocator that made them. Without it memory grows, and nothing else changes.
    let _ = call(|error| unsafe { ffi::polyqa_pool_large_tensors(error) });
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn configure_allocator() {}
