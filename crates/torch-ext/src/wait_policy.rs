//! Environment variables that libtorch and its libraries read once, before `main` or at their first
//! use. To set them, a program restarts itself.
//!
//! - By default, libgomp's threads spin between two parallel regions. On a busy machine, a spinning
//!   thread occupies the core of the thread it waits for, and training on two threads falls to a
//!   tenth of its speed.
//! - oneDNN compiles a kernel for each shape of a matrix multiplication and caches 1,024 of them,
//!   some 0.4 MB each. Batches differ in their number of tokens, so most kernels are never reused.
use std::ffi::OsString;

/// libgomp: how threads wait.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// libgomp: number of spins; overrides the policy.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
/// oneDNN: capacity of the kernel cache.
const ONEDNN_CACHE: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// libtorch: capacity of its own cache of oneDNN kernels, which can retain kernels that oneDNN's
/// cache has evicted.
const TORCH_CACHE: &str = "LRU_CACHE_CAPACITY";
/// A training step of an encoder uses 13 to 20 kernels, each in all of its layers.
const CACHED_KERNELS: &str = "128";

/// Makes libtorch's threads sleep while they wait, and limits the kernels that libtorch caches,
/// unless the user set these variables.
///
/// Call it in `main` directly after parsing the command line. If a variable is not set, the process
/// replaces itself by the same program with the same arguments and `OMP_WAIT_POLICY=passive`
/// (unless `GOMP_SPINCOUNT` is set), `ONEDNN_PRIMITIVE_CACHE_CAPACITY=128` and
/// `LRU_CACHE_CAPACITY=128`. Process id, working directory and open files stay; data already read
/// from standard input is lost. Child processes inherit the variables. If the process cannot be
/// replaced, it continues without them, which affects only speed and memory. On systems other than
/// Linux, this function does not restart the program.
///
/// It also retains freed memory for the next step instead of returning it to the kernel, unless the
/// environment configures glibc's allocator (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES` and similar
/// variables), and gives the calling thread a signal stack (see [`handle_on_signal_stack`]).
///
/// [`handle_on_signal_stack`]: crate::handle_on_signal_stack
///
/// ```no_run
/// torch_ext::passive_omp_wait();
/// // From here on libtorch's threads sleep while they wait.
/// assert!(std::env::var_os("OMP_WAIT_POLICY").is_some());
/// ```
pub fn passive_omp_wait() {
    let missing = missing(|name| std::env::var_os(name));
    if !missing.is_empty() {
        restart(&missing);
    }
    crate::allocator::retain_freed_memory();
    crate::signal_stack::give_thread_signal_stack();
}

/// The unset variables, with our values. After a restart all of them are set, so a program restarts
/// at most once.
fn missing(get: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
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

/// On other systems, [`missing`] is always empty.
#[cfg(not(unix))]
fn restart(_: &[(&str, &str)]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_the_user_did_not_set_are_missing() {
        let names = |set: &[(&str, &str)]| -> Vec<&str> {
            let value = |name: &str| set.iter().find(|(set, _)| *set == name);
            let missing = missing(|name| value(name).map(|(_, value)| OsString::from(value)));
            missing.into_iter().map(|(name, _)| name).collect()
        };
        let all = [WAIT_POLICY, ONEDNN_CACHE, TORCH_CACHE];
        assert_eq!(names(&[]), if cfg!(target_os = "linux") { &all[..] } else { &[] });
        assert!(!names(&[(WAIT_POLICY, "active")]).contains(&WAIT_POLICY));
        assert!(!names(&[(SPIN_COUNT, "9")]).contains(&WAIT_POLICY));
        assert!(!names(&[(WAIT_POLICY, "")]).contains(&WAIT_POLICY), "empty is a choice too");
        assert!(names(&[(WAIT_POLICY, ""), (ONEDNN_CACHE, "7"), (TORCH_CACHE, "0")]).is_empty());
    }
}
