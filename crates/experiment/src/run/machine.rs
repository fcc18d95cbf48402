//! `machine.json`: the commands, version and machine of a run folder. It is not part of the
//! identity.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use atomic_file::FileLock;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{Error, Result, read_json, write_json};

/// Name of the file in the run folder.
pub(crate) const MACHINE_FILE: &str = "machine.json";

/// Contents of `machine.json`; unknown values are omitted.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Machine {
    /// Description of the program.
    about: String,
    /// Version of the program.
    version: String,
    /// Command lines of all processes that used the run folder, without repetitions and without
    /// those of single trials (`--jobs`).
    commands: Vec<Vec<String>>,
    /// Names of the processors of all processes that used the run folder, with their matrix or
    /// vector instructions, on which results depend in the last digits.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    processors: BTreeSet<String>,
    /// Models of the GPUs of these processes, if they used a GPU.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    gpus: BTreeSet<String>,
    /// Peak memory of a process: the maximum over all processes that used the run folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
    /// Peak memory of tensors on the run's device, as the maximum over these processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_device_bytes: Option<u64>,
}

/// Writes `machine.json` and retains the commands, hardware and peak memory of earlier processes.
/// Called at the start and end of a process, and at the end of the process of one trial. Without the
/// program's `name`, the command is not added.
pub(crate) fn update(path: &Path, name: Option<&str>, about: &str, device: Device) -> Result<()> {
    // Processes of single trials may end at the same time. The folder's handle is their lock.
    let folder = path.parent().expect("the file is in the run folder");
    let handle = fs::File::open(folder).map_err(Error::file(folder))?;
    let _lock = FileLock::acquire(&handle).map_err(Error::file(folder))?;
    // The file is informational, so an unreadable file is overwritten.
    let stored: Machine = read_json(path).unwrap_or_default();
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let mut commands = stored.commands;
    if let Some(name) = name {
        let command: Vec<String> = std::iter::once(name.to_owned()).chain(arguments).collect();
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    let mut gpus = stored.gpus;
    if matches!(device, Device::Cuda(_)) {
        gpus.extend(read_gpu_models());
    }
    let mut processors = stored.processors;
    processors.extend(read_processor());
    let machine = Machine {
        about: about.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commands,
        processors,
        gpus,
        peak_memory_bytes: read_peak_memory().max(stored.peak_memory_bytes),
        peak_device_bytes: torch_ext::peak_device_memory(device).ok().max(stored.peak_device_bytes),
    };
    write_json(path, &machine)
}

/// Returns the processor's name with the widest of its instructions that matter for the speed of
/// matmuls, such as `AMD EPYC, AVX2`.
fn read_processor() -> Option<String> {
    const INSTRUCTIONS: [(&str, &str); 4] = [
        ("amx_bf16", "AMX"),
        ("avx512_bf16", "AVX-512 BF16"),
        ("avx512f", "AVX-512"),
        ("avx2", "AVX2"),
    ];
    let name = read_proc_value("/proc/cpuinfo", "model name")?;
    let flags = read_proc_value("/proc/cpuinfo", "flags");
    let has = |flag: &str| flags.as_ref().is_some_and(|all| all.split(' ').any(|one| one == flag));
    match INSTRUCTIONS.into_iter().find(|(flag, _)| has(flag)) {
        Some((_, instructions)) => Some(format!("{name}, {instructions}")),
        None => Some(name),
    }
}

/// Reads the value of the first line `name: value` of a file in `/proc`.
fn read_proc_value(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| {
        Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned())
    };
    text.lines().find_map(value)
}

fn read_peak_memory() -> Option<u64> {
    let kibibytes: u64 =
        read_proc_value("/proc/self/status", "VmHWM")?.strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn read_gpu_models() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read_proc_value(entry.path().join("information").to_str()?, "Model"))
        .collect()
}
