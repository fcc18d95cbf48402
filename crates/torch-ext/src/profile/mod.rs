//! What libtorch's profiler (Kineto) records: operators on the host, kernels and copies on a GPU.
mod summary;

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
use crate::{Error, Result};

pub use summary::{NamedTime, TraceSummary};

/// Whether a recording is under way: Kineto has one place for what it collects.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// A recording under way, of this thread and of its backward passes. Dropped, it ends
/// and is forgotten.
///
/// Kineto writes to standard error by itself: without a GPU that it counted none, and on a thread
/// that is not the program's first that it would rather be called there. Both do no harm. A GPU's
/// kernels are absent where the driver lets nobody but root record them.
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
///     let _products = region(c"products");
///     let a = Tensor::ones([64, 64], (Kind::Float, Device::Cpu));
///     let _ = a.f_mm(&a)?;
/// }
/// profile.finish(&trace)?;
/// let text = std::fs::read_to_string(&trace)?;
/// assert!(text.contains("\"aten::mm\"") && text.contains("\"products\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Profile {
    device: Device,
    /// The recording belongs to the thread that began it.
    here: PhantomData<*const ()>,
}

impl Profile {
    /// Begins to record the host, and `device` where it is a GPU.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if this process has a recording under way, or libtorch no profiler.
    pub fn start(device: Device) -> Result<Self> {
        if RECORDING.swap(true, Ordering::AcqRel) {
            return Err(Error::Libtorch("another profile is being recorded".into()));
        }
        settle(device);
        // SAFETY: a plain value.
        let started = call(|error| unsafe { ffi::polyqa_profile_start(device.is_cuda(), error) });
        if started.is_err() {
            RECORDING.store(false, Ordering::Release);
        }
        started.map(|()| Self { device, here: PhantomData })
    }

    /// Ends the recording once the GPU is done, and writes it in the Chrome trace format, which
    /// Perfetto and `chrome://tracing` show. `path` is whole or as it was before, and nothing else
    /// stays.
    ///
    /// # Errors
    /// [`Error::Libtorch`] if libtorch refuses; [`Error::Io`] naming `path` if it cannot be
    /// written.
    pub fn finish(self, path: &Path) -> Result<()> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let Some(name) = path.file_name() else {
            return Err(io(std::io::ErrorKind::InvalidFilename.into()));
        };
        let mut writing = std::ffi::OsString::from(".writing-");
        writing.push(name);
        let writing = path.with_file_name(writing);
        let target = CString::new(writing.as_os_str().as_bytes())
            .map_err(|error| io(std::io::Error::other(error)))?;
        settle(self.device);
        std::mem::forget(self);
        stop(target.as_ptr())?;
        let Err(error) = fs::rename(&writing, path) else { return Ok(()) };
        // Kineto only logs what keeps it from writing, and leaves what it wrote under this name.
        let mut begun = writing.clone().into_os_string();
        begun.push(".tmp");
        let reason = reason_against(Path::new(&begun)).unwrap_or(error);
        for left in [begun.as_os_str(), writing.as_os_str()] {
            // There may be none, and the error to report is another.
            let _ = fs::remove_file(left);
        }
        Err(io(reason))
    }
}

/// What keeps a file from being written on: what the system says to another part of it.
fn reason_against(begun: &Path) -> Option<std::io::Error> {
    let more = fs::File::options().append(true).create(true).open(begun);
    let written = more.and_then(|mut file| {
        file.write_all(&[b' '; 1 << 20])?;
        file.sync_all()
    });
    written.err()
}

impl Drop for Profile {
    fn drop(&mut self) {
        // A failure has nobody to report it to.
        let _ = stop(ptr::null());
    }
}

/// Ends the recording; `path` ends with NUL, or is null for no file.
fn stop(path: *const c_char) -> Result<()> {
    // SAFETY: callers keep the string alive until this returns; null stands for no file.
    let stopped = call(|error| unsafe { ffi::polyqa_profile_stop(path, error) });
    RECORDING.store(false, Ordering::Release);
    stopped
}

/// Waits until a GPU has done all that was asked of it.
fn settle(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(i64::try_from(index).unwrap_or(0));
    }
}

/// A span of time that a recording shows by its name; see [`region`].
#[derive(Debug)]
pub struct Region {
    raw: *mut RawRegion,
}

/// Names what this thread does from here until the region is dropped. Where nothing is recorded it
/// costs some nanoseconds.
#[must_use]
pub fn region(name: &CStr) -> Region {
    // SAFETY: a live string; null says that nothing is recorded.
    Region { raw: unsafe { ffi::polyqa_profile_region_start(name.as_ptr()) } }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: made by the shim, on this thread since a pointer is not `Send`.
            unsafe { ffi::polyqa_profile_region_end(self.raw) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard};

    use tch::{Kind, Tensor};

    use super::*;

    /// Tests that record take turns.
    fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn product() -> Tensor {
        let leaf = Tensor::ones([8, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        leaf.mm(&leaf).sum(Kind::Float)
    }

    #[test]
    fn the_way_back_is_recorded_and_what_is_dropped_is_not() {
        let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
        let path = folder.path().join("trace.json");
        drop(Profile::start(Device::Cpu).unwrap());
        let profile = Profile::start(Device::Cpu).unwrap();
        assert!(Profile::start(Device::Cpu).is_err(), "one at a time");
        product().backward();
        profile.finish(&path).unwrap();
        let _unseen = region(c"after the end");
        let summary = TraceSummary::read(&path).unwrap();
        let names: Vec<&str> = summary.operators.iter().map(|row| row.name.as_str()).collect();
        assert!(summary.milliseconds > 0.0 && summary.gpu_milliseconds.is_none());
        for name in ["aten::mm", "autograd::engine::evaluate_function: MmBackward0"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(!names.contains(&"after the end"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_named_and_nothing_stays() {
        let (_turn, folder) = (turn(), tempfile::tempdir().unwrap());
        // Whatever is written there meets a full disk.
        let begun = folder.path().join(".writing-trace.json.tmp");
        std::os::unix::fs::symlink("/dev/full", begun).unwrap();
        let profile = Profile::start(Device::Cpu).unwrap();
        product().backward();
        let error = profile.finish(&folder.path().join("trace.json")).unwrap_err().to_string();
        assert!(error.contains("trace.json: No space left"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
