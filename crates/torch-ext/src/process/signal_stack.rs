//! Alternate stack for signal handlers.
//!
//! oneDNN's float32 matmul for AVX-512 sets the stack pointer to a heap block during its
//! computation. If a signal arrives during this time, the operating system writes a signal frame
//! (at least 2.5 KB) below the stack pointer, and thus overwrites other heap blocks. On an
//! alternate signal stack, the frame overwrites nothing.
use std::io;

/// Size in bytes of the main thread's signal stack. The largest signal frames, on processors with
/// AMX, have 12 KB.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 1 << 16;

/// Installs an alternate signal stack for the calling thread, until the process ends.
///
/// Call this function in the main thread, because the operating system delivers a signal for the
/// process to the main thread if possible. The signal stack that Rust's runtime installs can be as
/// small as one signal frame, so it may have no space for the handler.
#[cfg(target_os = "linux")]
pub(crate) fn install_signal_stack() {
    let memory = Box::leak(vec![0_u8; STACK_BYTES].into_boxed_slice());
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: the memory is never freed. If the call fails, the previous stack stays in use.
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn install_signal_stack() {}

/// Makes the handler of `signal` run on the alternate signal stack of the receiving thread.
///
/// Call this function after each registration of a handler in a program that computes with
/// libtorch; otherwise a signal can corrupt the heap. On systems other than Linux, this function
/// does nothing.
///
/// # Errors
/// The system's error for an unknown signal.
#[cfg(target_os = "linux")]
pub fn handle_on_signal_stack(signal: i32) -> io::Result<()> {
    let check_status = |status| if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: The first call writes `action`, and the code reads `action` only if this call
    // succeeded.
    unsafe {
        check_status(libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()))?;
        let mut action = action.assume_init();
        action.sa_flags |= libc::SA_ONSTACK;
        check_status(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))
    }
}

/// Does nothing, because no library is known to change the stack pointer on other systems.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn handle_on_signal_stack(_: i32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tch::{Device, Kind, Tensor};

    use super::*;

    extern "C" fn ignore(_: libc::c_int) {}

    /// Sends signals to a thread that multiplies matrices. If handlers ran on the stack that the
    /// matmul uses, a few thousand signals would corrupt the heap.
    #[test]
    fn signals_during_matmuls_do_not_corrupt_the_heap() {
        let signal = libc::SIGUSR1;
        // SAFETY: the handler `ignore` does nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
        }
        handle_on_signal_stack(signal).unwrap();
        install_signal_stack();
        // SAFETY: returns the handle of the calling thread, which outlives the scope below.
        let target_thread = unsafe { libc::pthread_self() };
        let done = AtomicBool::new(false);
        let options = (Kind::Float, Device::Cpu);
        let weight = Tensor::ones([128, 128], options);
        let x = Tensor::ones([256, 128], options);
        let bias = Tensor::zeros([128], options);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // SAFETY: `target_thread` runs at least until the scope ends.
                    unsafe { libc::pthread_kill(target_thread, signal) };
                }
            });
            // The level that programs use.
            crate::tune_float32_matmul().unwrap();
            for _ in 0..8000 {
                let sums = x.linear(&weight, Some(&bias));
                assert_eq!(sums.double_value(&[255, 127]), 128.0);
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn an_unknown_signal_is_an_error() {
        assert!(handle_on_signal_stack(0).is_err());
    }
}
