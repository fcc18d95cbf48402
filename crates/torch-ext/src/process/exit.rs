//! Process exit without the destructors of libtorch's global objects.

/// Makes the process skip the destructors of libtorch's global objects when `main` returns or
/// [`std::process::exit`] is called. The destructors take 0.1 seconds.
///
/// Call this function at the start of a program's `main`. Buffers of the standard streams are still
/// written; functions registered with C's `atexit` before this call are not called. On systems
/// other than Linux with glibc, this function does nothing.
///
/// ```no_run
/// torch_ext::exit_without_destructors();
/// ```
pub fn exit_without_destructors() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `end_process` has the signature that glibc expects. If the registration fails,
        // the destructors run as usual.
        let _ = unsafe { on_exit(end_process, std::ptr::null_mut()) };
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// Registers a function that the C library calls with the exit status when the process exits.
    fn on_exit(
        function: extern "C" fn(libc::c_int, *mut libc::c_void),
        argument: *mut libc::c_void,
    ) -> libc::c_int;
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
extern "C" fn end_process(status: libc::c_int, _: *mut libc::c_void) {
    // SAFETY: `fflush` writes the buffers of all C streams; the process then ends.
    unsafe {
        libc::fflush(std::ptr::null_mut());
        libc::_exit(status)
    }
}
