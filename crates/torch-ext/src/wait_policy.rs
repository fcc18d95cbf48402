//! Environment variables that libtorch and its libraries read once, before `main` or at first use.
//!
//! To set these variables, a program restarts itself.
//!
//! - By default, libgomp's threads spin between two parallel regions. On a busy machine, a spinning
//!   thread can occupy the core that another thread needs, which slows training on two threads by a
//!   factor of ten.
//! - oneDNN compiles a kernel for each shape of a matrix multiplication and caches 1,024 kernels of
//!   about 0.4 MB each. Batches differ in their number of tokens, so most kernels are never reused.
use std::ffi::OsString;

/// libgomp's setting for waiting threads: active or passive.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// libgomp's number of spins; overrides the policy.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
/// Capacity of oneDNN's kernel cache.
const ONEDNN_CACHE: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// Capacity of libtorch's cache of oneDNN kernels, which can retain kernels that oneDNN's cache has
/// evicted.
const TORCH_CACHE: &str = "LRU_CACHE_CAPACITY";
/// Capacity of both caches. A training step of an encoder uses 13 to 20 kernels.
const CACHED_KERNELS: &str = "128";

/// Makes libtorch's threads sleep while they wait, and limits libtorch's kernel caches.
///
/// Call this function in `main` directly after parsing the command line. If a variable is not set,
/// the process replaces itself by the same program with the same arguments and
/// `OMP_WAIT_POLICY=passive` (unless `GOMP_SPINCOUNT` is set),
/// `ONEDNN_PRIMITIVE_CACHE_CAPACITY=128` and `LRU_CACHE_CAPACITY=128`. Variables set by the user do
/// not change. Process id, working directory and open files stay; data already read from standard
/// input is lost. Child processes inherit the variables. If the process cannot be replaced, it
/// continues without the variables, which affects only speed and memory. On systems other than
/// Linux, this function does not restart the program.
///
/// The process then retains freed memory for the next step instead of returning it to the kernel,
/// unless the environment configures glibc's allocator (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES`
/// and similar variables). The calling thread gets a signal stack (see [`handle_on_signal_stack`]).
///
/// [`handle_on_signal_stack`]: crate::handle_on_signal_stack
///
/// ```no_run
/// torch_ext::passive_omp_wait();
/// // Now libtorch's threads sleep while they wait.
/// assert!(std::env::var_os("OMP_WAIT_POLICY").is_some());
/// ```
pub fn passive_omp_wait() {
    let missing = missing_variables(|name| std::env::var_os(name));
    if !missing.is_empty() {
        restart(&missing);
    }
    crate::allocator::retain_freed_memory();
    crate::signal_stack::install_signal_stack();
}

/// The unset variables, with the values to set. After a restart, all variables are set, so a
/// program restarts at most once.
fn missing_variables(get: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let mut missing = vec![
        (WAIT_POLICY, "passive"),
        (ONEDNN_CACHE, CACHED_KERNELS),
        (TORCH_CACHE, CACHED_KERNELS),
    ];
    missing.retain(|&(name, _)| {
        get(name).is_none() && (name != WAIT_POLICY || get(SPIN_COUNT).is_none())
    });
    missing
}

#[cfg(unix)]
fn restart(missing: &[(&str, &str)]) {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only after a failure.
    let _ = command.args(arguments).envs(missing.iter().copied()).exec();
}

/// On other systems, [`missing_variables`] is always empty.
#[cfg(not(unix))]
fn restart(_: &[(&str, &str)]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_the_user_did_not_set_are_missing() {
        let names = |set: &[(&str, &str)]| -> Vec<&str> {
            let value = |name: &str| set.iter().find(|(set, _)| *set == name);
            let missing =
                missing_variables(|name| value(name).map(|(_, value)| OsString::from(value)));
            missing.into_iter().map(|(name, _)| name).collect()
        };
        let all = [WAIT_POLICY, ONEDNN_CACHE, TORCH_CACHE];
        assert_eq!(names(&[]), if cfg!(target_os = "linux") { &all[..] } else { &[] });
        assert!(!names(&[(WAIT_POLICY, "active")]).contains(&WAIT_POLICY));
        assert!(!names(&[(SPIN_COUNT, "9")]).contains(&WAIT_POLICY));
        assert!(
            !names(&[(WAIT_POLICY, "")]).contains(&WAIT_POLICY),
            "an empty value is a user setting"
        );
        assert!(names(&[(WAIT_POLICY, ""), (ONEDNN_CACHE, "7"), (TORCH_CACHE, "0")]).is_empty());
    }
}
