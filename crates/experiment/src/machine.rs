//! `machine.json`: the commands, version and machine of a run folder. It decides nothing.
use std::collections::BTreeSet;
use std::fs;

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{Experiment, Recipe, Result, read_json, write_json};

/// The file in the run folder.
pub(crate) const MACHINE: &str = "machine.json";

/// What is not known is left out.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Machine {
    /// What the program does.
    about: String,
    /// Version of the program.
    version: String,
    /// Every command line that worked in the folder, once.
    commands: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processor: Option<String>,
    /// Kinds of graphics processors, where one is computed on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    gpus: BTreeSet<String>,
    /// Most memory that a process took.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
    /// Most memory that tensors took on a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_device_bytes: Option<u64>,
}

/// Writes the file at the start and at the end of a process; what others left in it stays.
pub(crate) fn note<R: Recipe>(experiment: &Experiment<R>) -> Result<()> {
    let path = experiment.dir(MACHINE);
    // A view for people: one that cannot be read is written anew.
    let earlier: Machine = read_json(&path).unwrap_or_default();
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let command: Vec<String> = std::iter::once(R::NAME.to_owned()).chain(words).collect();
    let mut commands = earlier.commands;
    if !commands.contains(&command) {
        commands.push(command);
    }
    let device = experiment.runtime.device;
    let on_gpu = matches!(device, Device::Cuda(_));
    let device_bytes = torch_ext::peak_device_memory(device).ok();
    let machine = Machine {
        about: R::ABOUT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commands,
        processor: after("/proc/cpuinfo", "model name").or(earlier.processor),
        gpus: if on_gpu { gpus() } else { BTreeSet::new() },
        peak_memory_bytes: peak_memory().max(earlier.peak_memory_bytes),
        peak_device_bytes: device_bytes.max(earlier.peak_device_bytes),
    };
    write_json(path, &machine)
}

/// What stands behind a name and a colon in a file of the kernel.
fn after(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned())
    };
    text.lines().find_map(value)
}

fn peak_memory() -> Option<u64> {
    let kibibytes: u64 = after("/proc/self/status", "VmHWM")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn gpus() -> BTreeSet<String> {
    let all = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    all.filter_map(|one| after(one.path().join("information").to_str()?, "Model")).collect()
}
