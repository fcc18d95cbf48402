//! What becomes of freed memory.

/// Settings of glibc's allocator that a user may have made.
const SETTINGS: [&str; 5] = [
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GLIBC_TUNABLES",
];

/// Lets glibc keep freed memory for the next step, unless the environment sets its allocator.
///
/// By default each tensor of more than 32 MiB goes back to the kernel as soon as it is freed, and
/// the next step pays for all its pages again. Elsewhere than on Linux with glibc it does nothing.
pub(crate) fn keep_freed_memory() {
    if SETTINGS.iter().all(|name| std::env::var_os(name).is_none()) {
        set();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set() {
    // SAFETY: two numbers for the allocator; a refused one changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set() {}
