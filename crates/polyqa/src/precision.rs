//! Selection of a reader's compute precision.
use tch::Device;
use torch_ext::Precision;

use crate::{Error, Result};

/// Environment variable that sets the precision if [`select_precision`] is called without a name.
pub const PRECISION_VARIABLE: &str = "POLYQA_PRECISION";

/// Selects the precision of a reader on `device` by name: `auto`, or one of [`Precision::ALL`].
///
/// Without a name, the environment variable `POLYQA_PRECISION` determines the precision; the
/// default is `auto`. `auto` is [`Precision::fastest`], which depends only on the processor.
///
/// # Errors
/// [`Error::Precision`] if the name is unknown or the device does not support the precision.
///
/// # Example
/// ```
/// use torch_ext::Precision;
///
/// let device = tch::Device::Cpu;
/// assert_eq!(polyqa::select_precision(Some("f32"), device)?, Precision::F32);
/// assert_eq!(polyqa::select_precision(Some("auto"), device)?, Precision::fastest(device));
/// # Ok::<(), polyqa::Error>(())
/// ```
pub fn select_precision(name: Option<&str>, device: Device) -> Result<Precision> {
    let variable = std::env::var(PRECISION_VARIABLE).ok().filter(|name| !name.is_empty());
    let name = name.or(variable.as_deref()).unwrap_or("auto");
    let error_of = |problem: String| Error::Precision { name: name.to_owned(), problem };
    if name == "auto" {
        return Ok(Precision::fastest(device));
    }
    let precision = name.parse::<Precision>().map_err(|_| {
        let supported = Precision::ALL.map(Precision::name).join(", ");
        error_of(format!("must be one of auto, {supported}"))
    })?;
    match (precision, device) {
        (Precision::F16, Device::Cuda(_)) => Ok(precision),
        (Precision::F16, _) => {
            Err(error_of("needs a CUDA device; \"bf16\" works on the CPU".to_owned()))
        }
        (Precision::Int8, Device::Cpu) => Ok(precision),
        (Precision::Int8, _) => {
            Err(error_of("needs the CPU; \"bf16\" works on a CUDA device".to_owned()))
        }
        _ => Ok(precision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_precisions_are_rejected() {
        for (name, device, part) in [
            ("fp8", Device::Cpu, "must be one of auto, f32, bf16, f16, int8"),
            ("f16", Device::Cpu, "needs a CUDA device"),
            ("int8", Device::Cuda(0), "needs the CPU"),
        ] {
            let error = select_precision(Some(name), device).unwrap_err().to_string();
            assert!(error.starts_with(&format!("precision {name:?}: {part}")), "{error}");
        }
        for (name, device) in [("f16", Device::Cuda(0)), ("int8", Device::Cpu)] {
            assert_eq!(select_precision(Some(name), device).unwrap().name(), name);
        }
    }
}
