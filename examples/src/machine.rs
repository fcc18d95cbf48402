//! The device, the threads and the kernels of a run.
use anyhow::{Context, Result};
use tch::Device;
use torch_ext::{
    DeviceChoice, MatmulPrecision, resolve_device, set_float32_matmul_precision,
    tune_float32_matmul,
};
use trainer::Environment;

/// What a run computes on, and the part of it that decides the last digits.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where tensors live.
    pub device: Device,
    /// For checkpoints.
    pub environment: Environment,
}

impl Machine {
    /// Sets up `device` (`auto`, `cpu`, `cuda`, `cuda:N`), `threads` (0: one per core) and `float32_matmul` (`auto`:
    /// on the CPU the fastest kernel that keeps float32 accuracy there, on a GPU plain float32; or `highest`, `high`,
    /// `medium`).
    ///
    /// # Errors
    /// If the device cannot be had or a name is unknown.
    pub fn set_up(device: &str, threads: usize, float32_matmul: &str) -> Result<Self> {
        let device = resolve_device(device.parse::<DeviceChoice>()?)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads };
        let threads = i32::try_from(threads).context("threads")?;
        tch::set_num_threads(threads);
        // The setting is one for all devices, and on a GPU it would mean TF32.
        let level = if float32_matmul == "auto" && device == Device::Cpu {
            tune_float32_matmul()?.chosen
        } else if float32_matmul == "auto" {
            set_float32_matmul_precision(MatmulPrecision::Highest)?;
            MatmulPrecision::Highest
        } else {
            let level = float32_matmul.parse::<MatmulPrecision>()?;
            set_float32_matmul_precision(level)?;
            level
        };
        let environment = Environment {
            threads,
            device: format!("{device:?}"),
            float32_matmul: level.name().into(),
        };
        Ok(Self { device, environment })
    }
}
