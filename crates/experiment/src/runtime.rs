//! Device, threads, kernels and process group of a run.
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

/// Device, precision and processes of a run.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The device of tensors.
    pub device: Device,
    /// Compute precision of models.
    pub precision: Precision,
    /// The environment that checkpoints store: threads, device and float32 kernels.
    pub environment: Environment,
    /// The processes that train together; `None` for a single process.
    pub group: Option<Rc<ProcessGroup>>,
}

/// Timeout for connecting the processes at the start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(600);
/// Timeout of communication, for instance while other ranks wait for the evaluation on rank 0. A
/// process that ends is detected immediately.
const WAIT_TIMEOUT: Duration = Duration::from_secs(12 * 3600);

impl Runtime {
    /// Sets up `device`, `threads` and `float32_matmul` of `[run]` for the process, and validates
    /// `precision`. `float32_matmul = "auto"` selects the fastest kernel with float32 accuracy on
    /// the CPU, and plain float32 on a GPU. `precision = "auto"` is
    /// [`Precision::fastest_in_training`]; bfloat16 on a processor without its instructions prints
    /// a warning.
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
    /// [`Error::Setting`] or [`Error::TorchExt`] if the device is unavailable or a name is unknown.
    pub fn set_up(run: &RunConfig) -> Result<Self> {
        let runtime = Self::set_up_with(run, 1)?;
        runtime.warn_of_slow_precision();
        Ok(runtime)
    }

    /// Like [`set_up`](Self::set_up) without the warning, for one of `processes` that share the
    /// machine.
    pub(crate) fn set_up_with(run: &RunConfig, processes: usize) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        create_thread_pool(cores.div_ceil(processes))?;
        let rendezvous = Rendezvous::from_env()?;
        let mut device = resolve_device(run.device.parse::<DeviceChoice>()?)?;
        if let (Some(rendezvous), "auto" | "cuda", Device::Cuda(_)) =
            (&rendezvous, run.device.as_str(), device)
        {
            device = resolve_device(DeviceChoice::Cuda(rendezvous.local_rank))?;
        }
        let ranks = rendezvous.as_ref().map_or(1, |rendezvous| rendezvous.local_size.max(1));
        let local_processes = ranks * processes;
        let threads = if run.threads == 0 { (cores / local_processes).max(1) } else { run.threads };
        let threads = i32::try_from(threads)
            .map_err(|_| Error::setting(format!("run.threads = {threads}"), "too large"))?;
        tch::set_num_threads(threads);
        // If the system has no random source, seeding libtorch's generator would abort the process;
        // this call returns an error instead.
        drop(torch_ext::rng_state(Device::Cpu)?);
        // The precision level applies to all devices, and a level that selects fast kernels on the
        // CPU would select TF32 on a GPU. Therefore `auto` is the level `highest` on a GPU.
        let level = if run.float32_matmul == "auto" && device == Device::Cpu {
            tune_float32_matmul()?
        } else if run.float32_matmul == "auto" {
            set_float32_matmul_precision(MatmulPrecision::Highest)?;
            MatmulPrecision::Highest
        } else {
            let invalid = |error: torch_ext::Error| {
                let key = format!("run.float32_matmul = {:?}", run.float32_matmul);
                Error::setting(key, error.to_string())
            };
            let level = run.float32_matmul.parse::<MatmulPrecision>().map_err(invalid)?;
            set_float32_matmul_precision(level).map_err(invalid)?;
            level
        };
        let environment = Environment {
            threads,
            device: format!("{device:?}"),
            float32_matmul: level.name().into(),
        };
        let precision = parse_precision(run, device)?;
        let group = match &rendezvous {
            None => None,
            Some(rendezvous) => Some(Rc::new(connect(rendezvous, device)?)),
        };
        Ok(Self { device, precision, environment, group })
    }

    /// Prints a warning for bfloat16 on a processor that emulates it.
    pub(crate) fn warn_of_slow_precision(&self) {
        if self.precision == Precision::Bf16
            && self.device == Device::Cpu
            && !torch_ext::bf16_is_fast()
        {
            crate::log(SLOW_BFLOAT16);
        }
    }
}

/// The warning for bfloat16 on a processor that emulates it.
const SLOW_BFLOAT16: &str = "run.precision = \"bf16\" is slow on this processor, which has neither \
                             AVX-512 BF16 nor AMX; \"auto\" selects float32 here";

/// The value of `run.precision` that selects a precision by the device.
const AUTO: &str = "auto";

/// Replaces `precision = "auto"` by the precision of the device, so that the identity and the
/// recipe of a run contain the precision.
///
/// # Errors
/// [`Error::TorchExt`] if the device is unknown or unavailable.
pub(crate) fn resolve_precision(run: &mut RunConfig) -> Result<()> {
    if run.precision == AUTO {
        let device = resolve_device(run.device.parse::<DeviceChoice>()?)?;
        run.precision = Precision::fastest_in_training(device).name().into();
    }
    Ok(())
}

/// Creates the thread pool for reading and evaluation now, because a later failure would end the
/// process.
fn create_thread_pool(threads: usize) -> Result<()> {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        Err(error) if error.source().is_some() => {
            let reason = format!("{error}; allow more processes (ulimit -u)");
            Err(Error::setting("threads", reason))
        }
        // The global thread pool is already initialised.
        _ => Ok(()),
    }
}

/// Connects to the other processes. GPU tensors are exchanged with NCCL if it is available.
fn connect(rendezvous: &Rendezvous, device: Device) -> Result<ProcessGroup> {
    let group = ProcessGroup::connect(rendezvous, CONNECT_TIMEOUT, WAIT_TIMEOUT)?;
    match device {
        Device::Cuda(number) if nccl_is_built() => {
            Ok(group.with_nccl(rendezvous, number, WAIT_TIMEOUT)?)
        }
        _ => Ok(group),
    }
}

/// Parses `run.precision` and checks that the device supports it.
fn parse_precision(run: &RunConfig, device: Device) -> Result<Precision> {
    if run.precision == AUTO {
        return Ok(Precision::fastest_in_training(device));
    }
    let key = format!("run.precision = {:?}", run.precision);
    let expected = || "must be one of auto, f32, bf16, f16".to_owned();
    let precision = run.precision.parse::<Precision>();
    let precision = precision.map_err(|_| Error::setting(&key, expected()))?;
    if precision == Precision::Int8 {
        return Err(Error::setting(
            key,
            "is only supported for inference; use \"bf16\" for training",
        ));
    }
    if precision == Precision::F16 && !matches!(device, Device::Cuda(_)) {
        let reason = format!(
            "needs a CUDA device, and run.device = {:?} is {device:?}; \"bf16\" is supported there",
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
    fn unavailable_kernels_are_named_by_their_key() {
        let set_up = |name: &str| {
            let run = RunConfig {
                float32_matmul: name.into(),
                device: "cpu".into(),
                ..Default::default()
            };
            Runtime::set_up(&run).map_err(|error| error.to_string())
        };
        for name in ["fast", "bf16x3"] {
            let error = set_up(name).unwrap_err();
            assert!(error.contains(&format!("run.float32_matmul = {name:?}")), "{error}");
            assert!(error.contains("highest, high, medium"), "{error}");
        }
        assert_eq!(set_up("highest").unwrap().environment.float32_matmul, "highest");
    }

    #[test]
    fn float16_needs_a_gpu() {
        let error = |name: &str| {
            let run = RunConfig { precision: name.into(), ..RunConfig::default() };
            parse_precision(&run, Device::Cpu).unwrap_err().to_string()
        };
        let f16 = error("f16");
        assert!(f16.contains("run.precision") && f16.contains("run.device = \"auto\" is Cpu"));
        assert!(error("fp8").contains("must be one of auto, f32, bf16, f16"), "{}", error("fp8"));
        let bf16 = RunConfig { precision: "bf16".into(), ..RunConfig::default() };
        assert_eq!(parse_precision(&bf16, Device::Cpu).unwrap(), Precision::Bf16);
        let f16 = RunConfig { precision: "f16".into(), ..RunConfig::default() };
        assert_eq!(parse_precision(&f16, Device::Cuda(0)).unwrap(), Precision::F16);
    }

    #[test]
    fn auto_is_a_precision_that_the_processor_computes_fast() {
        let auto =
            || RunConfig { precision: "auto".into(), device: "cpu".into(), ..RunConfig::default() };
        let expected = if torch_ext::bf16_is_fast() { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(parse_precision(&auto(), Device::Cpu).unwrap(), expected);
        assert_eq!(parse_precision(&auto(), Device::Cuda(0)).unwrap(), Precision::Bf16);
        let mut run = auto();
        resolve_precision(&mut run).unwrap();
        assert_eq!(run.precision, expected.name());
        // Other values are not replaced.
        resolve_precision(&mut run).unwrap();
        assert_eq!(run.precision, expected.name());
    }
}
