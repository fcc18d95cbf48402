//! How libgomp's threads wait between two parallel regions.
//!
//! By default they spin. On a machine with other work, a spinning thread takes the core from the
//! one it waits for, and training on two threads falls to a tenth of its speed. libgomp reads the
//! environment once, when it is loaded, which for a program linked with libtorch is before `main`:
//! setting the variable inside `main` comes too late, so the program starts itself again.
use std::ffi::OsStr;

/// Read by libgomp when it is loaded.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";
/// libgomp's finer setting; it wins over the policy.
const SPIN_COUNT: &str = "GOMP_SPINCOUNT";

/// Lets libtorch's threads sleep while they wait, unless the user set `OMP_WAIT_POLICY` or
/// `GOMP_SPINCOUNT`.
///
/// Call it in `main`, after the command line is parsed and before anything else: where neither
/// variable is set, the process replaces itself by the same program with the same arguments and
/// `OMP_WAIT_POLICY=passive`. It keeps its number, its folder and its open files; what was read
/// from standard input is lost. Programs that it starts inherit the variable. If it cannot be
/// replaced, it goes on as it is: results do not depend on it, only speed. On systems other than
/// Linux it does nothing.
///
/// It also lets glibc keep freed memory for the next step instead of giving it back to the kernel,
/// unless the environment sets the allocator (`MALLOC_TRIM_THRESHOLD_`, `GLIBC_TUNABLES` and their
/// like).
///
/// ```no_run
/// torch_ext::passive_omp_wait();
/// // From here on libtorch's threads sleep while they wait.
/// assert!(std::env::var_os("OMP_WAIT_POLICY").is_some());
/// ```
pub fn passive_omp_wait() {
    crate::allocator::keep_freed_memory();
    let chosen = |name: &str| std::env::var_os(name);
    if needed(chosen(WAIT_POLICY).as_deref(), chosen(SPIN_COUNT).as_deref()) {
        start_again();
    }
}

/// Whether the user left the choice to us. What we set ourselves counts as chosen, so that a
/// program starts again once at most.
fn needed(policy: Option<&OsStr>, spin_count: Option<&OsStr>) -> bool {
    cfg!(target_os = "linux") && policy.is_none() && spin_count.is_none()
}

#[cfg(unix)]
fn start_again() {
    use std::os::unix::process::CommandExt;
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only if it failed.
    let _ = command.args(arguments).env(WAIT_POLICY, "passive").exec();
}

/// Elsewhere nothing is to be done, and [`needed`] never says that it is.
#[cfg(not(unix))]
fn start_again() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_the_users_stays() {
        let set = Some(OsStr::new("active"));
        assert_eq!(needed(None, None), cfg!(target_os = "linux"));
        assert!(!needed(set, None) && !needed(None, Some(OsStr::new("9"))) && !needed(set, set));
        assert!(!needed(Some(OsStr::new("")), None), "set to nothing is a choice too");
    }
}
