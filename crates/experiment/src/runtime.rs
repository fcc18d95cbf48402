//! The device, the threads and the kernels of a run.
use std::error::Error as _;
use std::rc::Rc;
use std::time::Duration;

use tch::Device;
use torch_ext::{
    DeviceChoice, MatmulPrecision, Precision, ProcessGroup, Rendezvous, nccl_is_built,
    resolve_device, set_float32_matmul_precision, tune_float32_matmul,
};
use trainer::Environment;

use crate::{Error, Result, RunConfig};

/// What a run computes on, and the part of it that decides the last digits.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where tensors are.
    pub device: Device,
    /// What models compute in.
    pub precision: Precision,
    /// For checkpoints.
    pub environment: Environment,
    /// The processes that train together; `None` for one alone.
    pub group: Option<Rc<ProcessGroup>>,
}

/// How long processes wait for each other at the start.
const MEETING: Duration = Duration::from_secs(600);
/// How long one may work while the others wait, such as the first in an evaluation. A process that
/// ends is noticed at once.
const PATIENCE: Duration = Duration::from_secs(12 * 3600);

impl Runtime {
    /// Sets up `device`, `threads` and `float32_matmul` of `[run]` for the process, and checks its
    /// `precision`. `auto` for the
    /// last means: on the CPU the fastest kernel that keeps float32 accuracy there, on a GPU plain
    /// float32.
    ///
    /// ```
    /// use experiment::{RunConfig, Runtime};
    ///
    /// let run = RunConfig { device: "cpu".into(), threads: 1, ..RunConfig::default() };
    /// let runtime = Runtime::set_up(&run)?;
    /// assert_eq!(runtime.environment.threads, 1);
    /// # Ok::<(), experiment::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::TorchExt`] if the device is not there or a name is unknown.
    pub fn set_up(run: &RunConfig) -> Result<Self> {
        check_threads()?;
        let place = Rendezvous::from_env()?;
        let mut device = resolve_device(run.device.parse::<DeviceChoice>()?)?;
        if let (Some(place), "auto" | "cuda", Device::Cuda(_)) =
            (&place, run.device.as_str(), device)
        {
            device = resolve_device(DeviceChoice::Cuda(place.local_rank))?;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let here = place.as_ref().map_or(1, |place| place.local_size.max(1));
        let threads = if run.threads == 0 { (cores / here).max(1) } else { run.threads };
        let threads = i32::try_from(threads).map_err(|_| {
            Error::setting(format!("run.threads = {threads}"), "more than any machine has")
        })?;
        tch::set_num_threads(threads);
        // Seeding libtorch's generator would abort where the system gives no random numbers.
        drop(torch_ext::rng_state(Device::Cpu)?);
        // The setting is one for all devices, and on a GPU it would mean TF32.
        let level = if run.float32_matmul == "auto" && device == Device::Cpu {
            tune_float32_matmul()?
        } else if run.float32_matmul == "auto" {
            set_float32_matmul_precision(MatmulPrecision::Highest)?;
            MatmulPrecision::Highest
        } else {
            let refused = |error: torch_ext::Error| {
                let key = format!("run.float32_matmul = {:?}", run.float32_matmul);
                Error::setting(key, error.to_string())
            };
            let level = run.float32_matmul.parse::<MatmulPrecision>().map_err(refused)?;
            set_float32_matmul_precision(level).map_err(refused)?;
            level
        };
        let environment = Environment {
            threads,
            device: format!("{device:?}"),
            float32_matmul: level.name().into(),
        };
        let precision = precision(run, device)?;
        let group = match &place {
            None => None,
            Some(place) => Some(Rc::new(connect(place, device)?)),
        };
        Ok(Self { device, precision, environment, group })
    }
}

/// Makes the threads that read and evaluate data, which would end the process later on if they
/// could not be made.
fn check_threads() -> Result<()> {
    match rayon::ThreadPoolBuilder::new().build_global() {
        Err(error) if error.source().is_some() => {
            let reason = format!("{error}; allow more processes (ulimit -u)");
            Err(Error::setting("threads", reason))
        }
        // The pool exists already.
        _ => Ok(()),
    }
}

/// Meets the other processes; tensors of a GPU are exchanged there where the program can.
fn connect(place: &Rendezvous, device: Device) -> Result<ProcessGroup> {
    let group = ProcessGroup::connect(place, MEETING, PATIENCE)?;
    match device {
        Device::Cuda(number) if nccl_is_built() => Ok(group.with_nccl(place, number, PATIENCE)?),
        _ => Ok(group),
    }
}

/// The key `run.precision`, for a device that has its kernels.
fn precision(run: &RunConfig, device: Device) -> Result<Precision> {
    let key = format!("run.precision = {:?}", run.precision);
    let known = || format!("must be one of {}", Precision::ALL.map(Precision::name).join(", "));
    let precision = run.precision.parse::<Precision>();
    let precision = precision.map_err(|_| Error::setting(&key, known()))?;
    if precision == Precision::Int8 {
        return Err(Error::setting(key, "is for inference only; \"bf16\" works for training"));
    }
    if precision == Precision::F16 && !matches!(device, Device::Cuda(_)) {
        let reason = format!(
            "needs a CUDA device, and run.device = {:?} is {device:?}; \"bf16\" works there",
            run.device
        );
        return Err(Error::setting(key, reason));
    }
    Ok(precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_are_not_there_are_named_by_their_key() {
        let set_up = |name: &str| {
            let run = RunConfig {
                float32_matmul: name.into(),
                device: "cpu".into(),
                ..Default::default()
            };
            Runtime::set_up(&run).map_err(|error| error.to_string())
        };
        for name in ["fast", "bf16x3"] {
            let unknown = set_up(name).unwrap_err();
            assert!(unknown.contains(&format!("run.float32_matmul = {name:?}")), "{unknown}");
            assert!(unknown.contains("highest, high or medium"), "{unknown}");
        }
        assert_eq!(set_up("highest").unwrap().environment.float32_matmul, "highest");
    }

    #[test]
    fn float16_needs_a_gpu() {
        let error = |name: &str| {
            let run = RunConfig { precision: name.into(), ..RunConfig::default() };
            precision(&run, Device::Cpu).unwrap_err().to_string()
        };
        let f16 = error("f16");
        assert!(f16.contains("run.precision") && f16.contains("run.device = \"auto\" is Cpu"));
        assert!(error("fp8").contains("must be one of f32, bf16, "), "{}", error("fp8"));
        let bf16 = RunConfig { precision: "bf16".into(), ..RunConfig::default() };
        assert_eq!(precision(&bf16, Device::Cpu).unwrap(), Precision::Bf16);
        let f16 = RunConfig { precision: "f16".into(), ..RunConfig::default() };
        assert_eq!(precision(&f16, Device::Cuda(0)).unwrap(), Precision::F16);
    }
}
