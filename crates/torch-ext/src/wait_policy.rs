//! Environment variables that libtorch and its libraries read once, before `main` or at their first
//! use: a program sets them by starting itself again.
//!
//! - By default libgomp's threads spin between two parallel regions. On a machine with other work,
//!   a spinning thread takes the core from the one it waits for, and training on two threads falls
//!   to a tenth of its speed.
//! - oneDNN compiles a kernel for each shape of a matrix multiplication and caches 1,024 of them,
//!   some 0.4 MB each. Batches differ in their number of tokens, so most are never used again.
use std::ffi::OsString;

/// What libgomp's threads do while they wait.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// libgomp's finer setting; it wins over the policy.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";
/// oneDNN's own cache of kernels.
const KERNELS: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// The cache in libtorch's binding of oneDNN, which holds kernels that the other has dropped.
const BOUND_KERNELS: &str = "LRU_CACHE_CAPACITY";
/// A training step of an encoder uses 13 to 20 kernels, each in all of its layers.
const CACHED_KERNELS: &str = "128";

/// Lets libtorch's threads sleep while they wait, and bounds the memory that libtorch retains,
/// unless the user set these variables.
///
/// Call it in `main`, after the command line is parsed and before anything else: where a variable
/// is not set, the process replaces itself by the same program with the same arguments and
/// `OMP_WAIT_POLICY=passive` (unless `GOMP_SPINCOUNT` is set),
/// `ONEDNN_PRIMITIVE_CACHE_CAPACITY=128` and `LRU_CACHE_CAPACITY=128`. It keeps its number, its
/// folder and its open files; what was read from standard input is lost. Programs that it starts
/// inherit the variables. If it cannot be replaced, it goes on as it is: results do not depend on
/// it, only speed and memory. On systems other than Linux it does nothing.
///
/// It also keeps freed memory for the next step instead of giving it back to the kernel, unless the
/// environment sets glibc's allocator (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES` and their like),
/// and gives the calling thread a signal stack (see [`handle_on_signal_stack`]).
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
        start_again(&missing);
    }
    crate::allocator::retain_freed_memory();
    crate::signal_stack::give_thread_signal_stack();
}

/// The variables that the user left to us, with our values. What we set ourselves counts as chosen,
/// so that a program starts again once at most.
fn missing(chosen: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, &'static str)> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let mut missing =
        vec![(WAIT_POLICY, "passive"), (KERNELS, CACHED_KERNELS), (BOUND_KERNELS, CACHED_KERNELS)];
    missing.retain(|&(name, _)| {
        chosen(name).is_none() && (name != WAIT_POLICY || chosen(SPIN_COUNT).is_none())
    });
    missing
}

#[cfg(unix)]
fn start_again(missing: &[(&str, &str)]) {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only if it failed.
    let _ = command.args(arguments).envs(missing.iter().copied()).exec();
}

/// Elsewhere [`missing`] is always empty.
#[cfg(not(unix))]
fn start_again(_: &[(&str, &str)]) {}

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
        let all = [WAIT_POLICY, KERNELS, BOUND_KERNELS];
        assert_eq!(names(&[]), if cfg!(target_os = "linux") { &all[..] } else { &[] });
        assert!(!names(&[(WAIT_POLICY, "active")]).contains(&WAIT_POLICY));
        assert!(!names(&[(SPIN_COUNT, "9")]).contains(&WAIT_POLICY));
        assert!(!names(&[(WAIT_POLICY, "")]).contains(&WAIT_POLICY), "empty is a choice too");
        assert!(names(&[(WAIT_POLICY, ""), (KERNELS, "7"), (BOUND_KERNELS, "0")]).is_empty());
    }
}
