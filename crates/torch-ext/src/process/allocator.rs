//! Settings of the memory allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use crate::ffi::{self, call};
use crate::process::wait_policy::HUGE_PAGES;

/// Environment variables with user settings for glibc's allocator.
const ALLOCATOR_VARIABLES: [&str; 5] = [
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
];

/// Retains freed memory in the process for the next step, and allocates tensors of at least 256 KiB
/// in a separate pool, unless the user configures glibc's allocator.
///
/// By default, glibc returns the memory of a tensor of more than 32 MiB to the operating system
/// when the tensor is freed, so the next step has a page fault for each page that it allocates
/// again. If large tensors shared a heap with small long-lived blocks, retained memory would be
/// fragmented and would grow when batch lengths vary. The separate pool grows only to the size that
/// the largest batch needs. On systems other than Linux with glibc, this function does nothing.
pub(crate) fn retain_freed_memory() {
    let is_default = |name: &&str| std::env::var_os(name).is_none_or(|value| value == HUGE_PAGES);
    if ALLOCATOR_VARIABLES.iter().all(is_default) {
        configure_allocator();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn configure_allocator() {
    // SAFETY: `mallopt` receives plain values, and ignores a setting that it does not support.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
    // SAFETY: the shim's allocator is never freed, and existing tensors are freed by the allocator
    // that allocated them. If the call fails, large tensors stay in glibc's heap, which only
    // increases memory use.
    let _ = call(|error| unsafe { ffi::polyqa_pool_large_tensors(error) });
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn configure_allocator() {}
