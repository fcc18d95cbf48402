//! Environment variables that libtorch and its libraries read once, before `main` or at first use.
//!
//! A program restarts itself to set these variables. [`configure_process`] restarts it in `main`,
//! and [`restart_before_libtorch`](crate::restart_before_libtorch) before libtorch's initialisers
//! run.
//!
//! - By default, libgomp's threads spin between two parallel regions. On a busy machine, a spinning
//!   thread can occupy the core that another thread needs, which slows training on two threads by a
//!   factor of ten.
//! - oneDNN compiles a kernel for each shape of a matrix multiplication and caches 1,024 kernels of
//!   about 0.4 MB each. Batches differ in their number of tokens, so most cached kernels are never
//!   used again.

/// libgomp's setting for waiting threads: active or passive.
const WAIT_POLICY_VARIABLE: &str = "OMP_WAIT_POLICY";
/// Number of spins of a waiting thread of libgomp; overrides [`WAIT_POLICY_VARIABLE`].
const SPIN_COUNT_VARIABLE: &str = "GOMP_SPINCOUNT";
/// Capacity of oneDNN's kernel cache.
const ONEDNN_CACHE_VARIABLE: &str = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
/// Capacity of libtorch's cache of oneDNN kernels, which can retain kernels that oneDNN's cache has
/// evicted.
const TORCH_CACHE_VARIABLE: &str = "LRU_CACHE_CAPACITY";
/// Capacity of oneDNN's cache and of libtorch's cache. A training step of an encoder uses 13 to 20
/// kernels.
const CACHED_KERNELS: &str = "128";
/// Settings of glibc.
const GLIBC_VARIABLE: &str = "GLIBC_TUNABLES";
/// Huge pages for the heap, which save page faults when a tokenizer is loaded.
pub(crate) const HUGE_PAGES: &str = "glibc.malloc.hugetlb=1";

/// Configures a process that uses libtorch: waiting threads sleep, kernel caches are small, and
/// freed memory is retained.
///
/// Call this function at the start of `main`. The process needs the environment variables
/// `OMP_WAIT_POLICY=passive` (unless `GOMP_SPINCOUNT` is set),
/// `ONEDNN_PRIMITIVE_CACHE_CAPACITY=128`, `LRU_CACHE_CAPACITY=128` and
/// `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`. If one of them is not set, the process replaces itself
/// by the same program with the same arguments and adds the missing variables. Variables set by the
/// user do not change. The new program has the same process id, working directory and open files,
/// but data already read from standard input is lost. Child processes inherit the variables. If the
/// process cannot be replaced, it continues without the variables, which affects only speed and
/// memory. On systems other than Linux, this function does not restart the program.
///
/// This function also makes the process retain freed memory for the next step instead of returning
/// it to the operating system, unless the user configures glibc's allocator
/// (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES` and similar variables). The calling thread gets a
/// signal stack (see [`handle_on_signal_stack`]).
///
/// [`handle_on_signal_stack`]: crate::handle_on_signal_stack
///
/// ```no_run
/// torch_ext::configure_process();
/// // Now libtorch's threads sleep while they wait.
/// assert!(std::env::var_os("OMP_WAIT_POLICY").is_some());
/// ```
pub fn configure_process() {
    let missing = missing_variables(|name| std::env::var_os(name).is_some());
    if !missing.is_empty() {
        restart(&missing);
    }
    crate::process::allocator::retain_freed_memory();
    crate::process::signal_stack::install_signal_stack();
}

/// Returns the names of the unset variables, with the values to set. After a restart, all variables
/// are set, so a program restarts at most once.
fn missing_variables(is_set: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let mut missing = vec![
        (WAIT_POLICY_VARIABLE, "passive"),
        (ONEDNN_CACHE_VARIABLE, CACHED_KERNELS),
        (TORCH_CACHE_VARIABLE, CACHED_KERNELS),
        (GLIBC_VARIABLE, HUGE_PAGES),
    ];
    missing.retain(|&(name, _)| {
        !is_set(name) && (name != WAIT_POLICY_VARIABLE || !is_set(SPIN_COUNT_VARIABLE))
    });
    missing
}

fn restart(missing: &[(&str, &str)]) {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // `exec` returns only after a failure.
    let _ = command.args(arguments).envs(missing.iter().copied()).exec();
}

/// Makes a program restart itself as [`configure_process`](crate::configure_process) does, but
/// before libtorch's initialisers run, which saves 0.2 seconds.
///
/// Use this macro once, in the file with `main`, and still call `configure_process` in `main`. The
/// macro has no effect on systems other than Linux with glibc.
///
/// ```no_run
/// torch_ext::restart_before_libtorch!();
///
/// fn main() {
///     torch_ext::configure_process();
/// }
/// ```
#[macro_export]
macro_rules! restart_before_libtorch {
    () => {
        // The dynamic linker calls the functions in this section before all other initialisers of
        // the process.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        #[used]
        #[unsafe(link_section = ".preinit_array")]
        static RESTART: unsafe extern "C" fn(
            std::ffi::c_int,
            *const *const std::ffi::c_char,
            *const *const std::ffi::c_char,
        ) = $crate::restart_with_variables;
    };
}

/// Replaces the process by the same program with the missing variables; called through
/// [`restart_before_libtorch`]. Returns if no variable is missing or the process cannot be
/// replaced.
///
/// # Safety
/// Both pointers must point to arrays of C strings that end with a null pointer, such as the
/// arguments and the environment of a process.
#[doc(hidden)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub unsafe extern "C" fn restart_with_variables(
    _: std::ffi::c_int,
    arguments: *const *const std::ffi::c_char,
    environment: *const *const std::ffi::c_char,
) {
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStringExt;

    // libc's own environment is not initialised yet, so functions of `std::env` return nothing.
    let mut variables = Vec::new();
    // SAFETY: the array ends with a null pointer.
    while let Some(variable) = unsafe { environment.add(variables.len()).read().as_ref() } {
        variables.push(std::ptr::from_ref(variable));
    }
    let is_set = |name: &str| {
        variables.iter().any(|&variable| {
            // SAFETY: the entries of the array are C strings.
            let variable = unsafe { CStr::from_ptr(variable) }.to_bytes();
            variable.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        })
    };
    let missing = missing_variables(is_set);
    let assignments = missing.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    let Ok(assignments) = assignments.collect::<Result<Vec<_>, _>>() else { return };
    let program = std::fs::read_link("/proc/self/exe").map(|path| path.into_os_string().into_vec());
    let Some(program) = program.ok().and_then(|path| CString::new(path).ok()) else { return };
    if !assignments.is_empty() {
        variables.extend(assignments.iter().map(|text| text.as_ptr()));
        variables.push(std::ptr::null());
        // SAFETY: both arrays end with a null pointer. The call returns only after a failure.
        unsafe { libc::execve(program.as_ptr(), arguments, variables.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_the_user_did_not_set_are_missing() {
        let unset_names = |set: &[&str]| -> Vec<&str> {
            let missing = missing_variables(|name| set.contains(&name));
            missing.into_iter().map(|(name, _)| name).collect()
        };
        let variables =
            [WAIT_POLICY_VARIABLE, ONEDNN_CACHE_VARIABLE, TORCH_CACHE_VARIABLE, GLIBC_VARIABLE];
        assert_eq!(unset_names(&[]), if cfg!(target_os = "linux") { &variables[..] } else { &[] });
        assert!(!unset_names(&[WAIT_POLICY_VARIABLE]).contains(&WAIT_POLICY_VARIABLE));
        assert!(!unset_names(&[SPIN_COUNT_VARIABLE]).contains(&WAIT_POLICY_VARIABLE));
        assert!(unset_names(&variables).is_empty());
    }
}
