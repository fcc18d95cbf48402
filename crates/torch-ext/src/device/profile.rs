//! Records operators on the host, and kernels and copies on a GPU, with libtorch's profiler
//! (Kineto).
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::io::Write;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use tch::Device;

use crate::ffi::{self, RawRegion, call};
use crate::number::to_i64;
use crate::{Error, Result};

/// Whether a profile is being recorded; Kineto supports one profile per process.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// A running profile of the calling thread and of the backward passes that this thread starts.
/// Dropping the profile discards what was recorded.
///
/// Kineto prints harmless warnings on standard error, for example without a GPU or outside of the
/// main thread. GPU kernels are missing if the driver restricts profiling to root.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use torch_ext::{Profile, region};
///
/// let folder = tempfile::tempdir()?;
/// let trace = folder.path().join("trace.json");
/// let profile = Profile::start(Device::Cpu)?;
/// {
///     let _region = region(c"matmul");
///     let a = Tensor::ones([64, 64], (Kind::Float, Device::Cpu));
///     let _ = a.f_mm(&a)?;
/// }
/// profile.finish(&trace)?;
/// let text = std::fs::read_to_string(&trace)?;
/// assert!(text.contains("\"aten::mm\"") && text.contains("\"matmul\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Profile {
    device: Device,
    /// Makes the type `!Send`: the recording belongs to the thread that started it.
    not_send: PhantomData<*const ()>,
}

impl Profile {
    /// Starts recording the host and, if `device` is a GPU, the device.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if this process already records a profile, or libtorch has no profiler.
    pub fn start(device: Device) -> Result<Self> {
        if RECORDING.swap(true, Ordering::AcqRel) {
            return Err(Error::Libtorch("another profile is being recorded".into()));
        }
        synchronize(device);
        // SAFETY: a plain value.
        let started = call(|error| unsafe { ffi::polyqa_profile_start(device.is_cuda(), error) });
        if started.is_err() {
            RECORDING.store(false, Ordering::Release);
        }
        started.map(|()| Self { device, not_send: PhantomData })
    }

    /// Waits for the GPU, stops recording and writes the profile in the Chrome trace format, for
    /// Perfetto or `chrome://tracing`. The file is written atomically.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if libtorch returns an error; [`Error::Io`] naming `path` if it cannot
    /// be written.
    pub fn finish(self, path: &Path) -> Result<()> {
        let io_error = |source| Error::Io { path: path.to_path_buf(), source };
        let Some(name) = path.file_name() else {
            return Err(io_error(std::io::ErrorKind::InvalidFilename.into()));
        };
        let mut temporary = std::ffi::OsString::from(".writing-");
        temporary.push(name);
        let temporary = path.with_file_name(temporary);
        let temporary_c_string = CString::new(temporary.as_os_str().as_bytes())
            .map_err(|error| io_error(std::io::Error::other(error)))?;
        synchronize(self.device);
        std::mem::forget(self);
        stop(temporary_c_string.as_ptr())?;
        let Err(error) = fs::rename(&temporary, path) else { return Ok(()) };
        // Kineto does not return write errors, and leaves its partial output under this name.
        let mut partial = temporary.clone().into_os_string();
        partial.push(".tmp");
        let reason = find_write_error(Path::new(&partial)).unwrap_or(error);
        for remaining_file in [partial.as_os_str(), temporary.as_os_str()] {
            // The result is ignored, because the file may not exist, and the write error is
            // returned anyway.
            let _ = fs::remove_file(remaining_file);
        }
        Err(io_error(reason))
    }
}

/// Appends to a file and returns the error, if any. This error is the likely reason why Kineto
/// failed to write the file.
fn find_write_error(partial: &Path) -> Option<std::io::Error> {
    let file = fs::File::options().append(true).create(true).open(partial);
    let written = file.and_then(|mut file| {
        file.write_all(&[b' '; 1 << 20])?;
        file.sync_all()
    });
    written.err()
}

impl Drop for Profile {
    fn drop(&mut self) {
        // The result is ignored, because `drop` cannot return an error.
        let _ = stop(ptr::null());
    }
}

/// Stops recording; `path` is NUL-terminated, or null for no file.
fn stop(path: *const c_char) -> Result<()> {
    // SAFETY: callers keep the string alive until this function returns; null means no file.
    let stopped = call(|error| unsafe { ffi::polyqa_profile_stop(path, error) });
    RECORDING.store(false, Ordering::Release);
    stopped
}

fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(to_i64(index));
    }
}

/// A named interval in a profile; see [`region`].
#[derive(Debug)]
pub struct Region {
    raw: *mut RawRegion,
}

/// Starts a named region of the calling thread. The region ends when the returned value is dropped.
///
/// A region costs a few nanoseconds if no profile is being recorded.
#[must_use]
pub fn region(name: &CStr) -> Region {
    // SAFETY: a live string; the result is null if no profile is being recorded.
    Region { raw: unsafe { ffi::polyqa_profile_region_start(name.as_ptr()) } }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: the shim created the region on this thread. `Region` contains a raw pointer,
            // so it is not `Send` and is dropped on the thread that created it.
            unsafe { ffi::polyqa_profile_region_end(self.raw) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use tch::{Kind, Tensor};

    use super::*;

    /// Locks the profiler for a test.
    fn lock_profiler() -> MutexGuard<'static, ()> {
        static LOCK: Mutex<()> = Mutex::new(());
        LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn matmul_sum() -> Tensor {
        let leaf = Tensor::ones([8, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        leaf.mm(&leaf).sum(Kind::Float)
    }

    #[test]
    fn the_backward_pass_is_recorded_after_another_profile_was_dropped() {
        let (_lock, folder) = (lock_profiler(), tempfile::tempdir().unwrap());
        let path = folder.path().join("trace.json");
        drop(Profile::start(Device::Cpu).unwrap());
        let profile = Profile::start(Device::Cpu).unwrap();
        assert!(Profile::start(Device::Cpu).is_err(), "only one profile at a time");
        matmul_sum().backward();
        profile.finish(&path).unwrap();
        let _unrecorded = region(c"after the end");
        let trace = fs::read_to_string(&path).unwrap();
        for name in ["\"aten::mm\"", "\"autograd::engine::evaluate_function: MmBackward0\""] {
            assert!(trace.contains(name), "{name}");
        }
        assert!(!trace.contains("after the end"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_an_error_and_no_file_remains() {
        let (_lock, folder) = (lock_profiler(), tempfile::tempdir().unwrap());
        // Writing to `/dev/full` fails like writing to a full disk.
        let partial = folder.path().join(".writing-trace.json.tmp");
        std::os::unix::fs::symlink("/dev/full", partial).unwrap();
        let profile = Profile::start(Device::Cpu).unwrap();
        matmul_sum().backward();
        let error = profile.finish(&folder.path().join("trace.json")).unwrap_err().to_string();
        assert!(error.contains("trace.json: No space left"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
