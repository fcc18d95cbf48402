//! Selection of a device by name: "cpu", "cuda", "cuda:1" or "auto".
//!
//! The linker drops libtorch_cuda from a Rust program, because the program references no symbol of
//! this library. This module loads libtorch_cuda at run time unless the CPU is requested, so one
//! build runs on machines with and without CUDA. The library must be loaded before libtorch first
//! looks for CUDA devices, because libtorch caches the result.
mod profile;
mod upload;

use std::str::FromStr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
use tch::Device;

pub use profile::{Profile, Region, region};
pub use upload::upload;

use crate::ffi::{self, call};
use crate::number::to_usize;
use crate::{Error, Result};

/// A device selected by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if one exists, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this index; an error if it does not exist.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| Error::Device {
                    choice: text.to_owned(),
                    reason: "unknown device (supported: auto, cpu, cuda, cuda:N)".into(),
                }),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// Loads `libtorch_cuda` once; returns the loader's message if loading fails.
fn load_cuda() -> std::result::Result<(), String> {
    static LOADED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            // SAFETY: when it is loaded, libtorch_cuda only registers kernels. The library is never
            // unloaded.
            let library =
                unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_LAZY | RTLD_GLOBAL) }
                    .map_err(|error| format_with_cause(&error))?;
            std::mem::forget(library);
            Ok(())
        })
        .clone()
}

/// Formats an error with its cause, which contains the loader's message.
fn format_with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Returns the chosen device, and loads libtorch_cuda unless the choice is [`DeviceChoice::Cpu`].
///
/// # Errors
/// [`Error::Device`] if a CUDA device was requested and libtorch_cuda cannot be loaded or the
/// device does not exist.
pub fn resolve_device(choice: DeviceChoice) -> Result<Device> {
    let device_error = |reason: String| Error::Device { choice: choice.to_string(), reason };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(match load_cuda() {
            Ok(()) if tch::Cuda::is_available() => Device::Cuda(0),
            _ => Device::Cpu,
        }),
        DeviceChoice::Cuda(index) => {
            load_cuda().map_err(|message| {
                device_error(format!(
                    "{message}; `cargo xtask setup --cuda` installs the CUDA libraries"
                ))
            })?;
            let count = tch::Cuda::device_count();
            if !tch::Cuda::is_available() || i64::try_from(index).is_ok_and(|index| index >= count)
            {
                return Err(device_error(format!("libtorch found {count} CUDA devices")));
            }
            Ok(Device::Cuda(index))
        }
    }
}

/// Returns the peak size in bytes of this process's tensors on a CUDA device. Free memory that the
/// allocator has reserved is not counted.
///
/// # Errors
/// [`Error::Device`] for the CPU; [`Error::Libtorch`] if the device does not exist.
pub fn peak_device_memory(device: Device) -> Result<u64> {
    let (index, mut bytes) = (cuda_index(device)?, 0i64);
    // SAFETY: plain values; the shim writes the number of bytes on success.
    call(|error| unsafe { ffi::polyqa_peak_device_bytes(index, &mut bytes, error) })?;
    Ok(to_usize(bytes) as u64)
}

/// Resets [`peak_device_memory`] to the current size in bytes of the tensors, and returns this
/// size.
///
/// # Errors
/// The errors of [`peak_device_memory`].
pub fn reset_peak_device_memory(device: Device) -> Result<u64> {
    let (index, mut bytes) = (cuda_index(device)?, 0i64);
    // SAFETY: plain values; the shim writes the number of bytes on success.
    call(|error| unsafe { ffi::polyqa_reset_peak_device_bytes(index, &mut bytes, error) })?;
    Ok(to_usize(bytes) as u64)
}

fn cuda_index(device: Device) -> Result<usize> {
    let Device::Cuda(index) = device else {
        let reason = "memory is measured on CUDA devices only".to_owned();
        return Err(Error::Device { choice: format!("{device:?}"), reason });
    };
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_names_are_errors() {
        for name in ["auto", "cpu", "cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        assert!("gpu".parse::<DeviceChoice>().unwrap_err().to_string().contains("auto, cpu"));
    }

    #[test]
    fn the_error_of_a_missing_library_names_the_library() {
        // SAFETY: there is no library of this name, so no code runs.
        let library = unsafe { Library::open(Some("libpolyqa_none.so"), RTLD_LAZY) };
        let message = format_with_cause(&library.err().unwrap());
        assert!(message.contains("libpolyqa_none.so"), "{message}");
    }

    #[test]
    fn a_device_that_does_not_exist_is_an_error_and_the_cpu_always_works() {
        let error = resolve_device(DeviceChoice::Cuda(99)).unwrap_err().to_string();
        let reason = if load_cuda().is_ok() { "CUDA devices" } else { "libtorch_cuda.so" };
        assert!(error.contains(reason), "{error}");
        for bytes in [peak_device_memory(Device::Cpu), reset_peak_device_memory(Device::Cpu)] {
            assert!(bytes.is_err());
        }
        assert_eq!(resolve_device(DeviceChoice::Cpu).unwrap(), Device::Cpu);
        assert!(resolve_device(DeviceChoice::Auto).is_ok());
    }
}
