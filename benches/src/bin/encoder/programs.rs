//! The compared programs, each run in a separate process.
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use testkit::{Peers, peers_python};

use crate::{Architecture, Options};

/// A program's report of one step or, at the end, of its memory.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// Index of the batch.
    pub step: usize,
    /// Wall time.
    pub seconds: f64,
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    /// System time of all threads.
    pub system_seconds: f64,
    /// The batch's loss.
    pub loss: f64,
    /// Peak resident memory so far.
    pub peak_mib: f64,
}

/// A report with the program's name.
pub struct Run {
    pub program: String,
    pub report: Report,
}

/// A way to compute the step.
pub struct Program {
    /// Name in the table.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Ours(&'static str),
    Peer(&'static [&'static str]),
}

/// Training on the CPU.
const PROGRAMS: [(&str, Kind); 9] = [
    ("float32", Kind::Ours("f32")),
    ("bfloat16", Kind::Ours("bf16")),
    ("float32, layers recomputed", Kind::Ours("f32-recompute")),
    ("bfloat16, layers recomputed", Kind::Ours("bf16-recompute")),
    ("float32, LoRA alone", Kind::Ours("f32-lora")),
    ("float32, bottlenecks alone", Kind::Ours("f32-bottleneck")),
    ("transformers, bfloat16, padded", Kind::Peer(&["--bf16"])),
    ("transformers and PEFT, LoRA alone, padded", Kind::Peer(&["--lora"])),
    ("transformers, float32, padded", Kind::Peer(&[])),
];

const GPU_PROGRAMS: [(&str, Kind); 6] = [
    ("bfloat16", Kind::Ours("bf16")),
    ("bfloat16, layers recomputed", Kind::Ours("bf16-recompute")),
    ("float32", Kind::Ours("f32")),
    ("transformers, bfloat16, padded", Kind::Peer(&["--bf16"])),
    ("transformers, bfloat16, padded, compiled", Kind::Peer(&["--bf16", "--compile"])),
    ("transformers, float32, padded", Kind::Peer(&[])),
];

/// Forward pass without gradients on a GPU. The baseline's parameters are bfloat16 there.
const GPU_INFERENCE: [(&str, Kind); 6] = [
    ("bfloat16", Kind::Ours("bf16")),
    ("float16", Kind::Ours("f16")),
    ("float32", Kind::Ours("f32")),
    ("transformers, bfloat16, padded", Kind::Peer(&["--bf16"])),
    ("transformers, bfloat16, padded, compiled", Kind::Peer(&["--bf16", "--compile"])),
    ("transformers, float32, padded", Kind::Peer(&[])),
];

/// Forward pass without gradients on the CPU.
const INFERENCE: [(&str, Kind); 4] = [
    ("float32", Kind::Ours("f32")),
    ("bfloat16", Kind::Ours("bf16")),
    ("transformers, bfloat16, padded", Kind::Peer(&["--bf16"])),
    ("transformers, float32, padded", Kind::Peer(&[])),
];

fn programs(options: &Options) -> &'static [(&'static str, Kind)] {
    match (options.inference, options.on_gpu()) {
        (false, false) => &PROGRAMS,
        (false, true) => &GPU_PROGRAMS,
        (true, false) => &INFERENCE,
        (true, true) => &GPU_INFERENCE,
    }
}

/// Returns the baseline, with which the other programs are compared.
pub fn peer(options: &Options) -> &'static str {
    match options.on_gpu() {
        true => "transformers, bfloat16, padded, compiled",
        false => "transformers, float32, padded",
    }
}

/// Returns the programs selected by `--only` and `--except`; by default all. The baseline is
/// omitted if it is not installed.
pub fn all(options: &Options) -> Vec<Program> {
    let matches_any =
        |name: &str, list: &[String]| list.iter().any(|part| name.contains(part.as_str()));
    let is_selected = |name: &str| {
        (options.only.is_empty() || matches_any(name, &options.only))
            && !matches_any(name, &options.except)
    };
    let mut selected = Vec::new();
    let names_supported = options.architecture == Architecture::XlmRoberta;
    for &(name, kind) in programs(options) {
        // The baseline program with PEFT supports only the names of XLM-R's layers.
        if !is_selected(name) || name.contains("PEFT") && !names_supported {
            continue;
        }
        selected.push(Program { name: name.to_owned(), kind });
    }
    selected
}

impl Program {
    /// Runs the program on all batches and returns its reports, without the first step. Traces are
    /// written to `folder`.
    pub fn run(&self, options: &Options, batches: &Path, folder: &Path) -> Result<Vec<Run>> {
        let mut command = match self.kind {
            Kind::Ours(program) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--child").arg(batches).args(["--program", program]);
                if options.profile {
                    let trace = format!("encoder_{program}.trace.json");
                    command.arg("--trace").arg(folder.join(trace));
                }
                command
            }
            Kind::Peer(arguments) => {
                let installed = options.python.clone().or_else(|| peers_python(Peers::Torch));
                let Some(python) = installed else { return Ok(Vec::new()) };
                let default_program = concat!(env!("CARGO_MANIFEST_DIR"), "/encoder_peer.py");
                let mut command = Command::new(python);
                command
                    .arg(options.peer.as_deref().unwrap_or(Path::new(default_program)))
                    .arg(batches);
                command.args(["--length", &options.length.to_string()]).args(arguments);
                command
            }
        };
        for (name, value) in [
            ("--architecture", options.architecture.name().to_owned()),
            ("--layers", options.layers().to_string()),
            ("--hidden", options.hidden.to_string()),
            ("--vocab", options.vocab().to_string()),
            ("--threads", options.threads.to_string()),
            ("--device", options.device.clone()),
        ] {
            command.args([name, &value]);
        }
        if options.inference {
            command.arg("--inference");
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{} ended with {}", self.name, output.status);
        let text = String::from_utf8(output.stdout)?;
        let reports = text
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect::<Result<Vec<Report>>>()?;
        let measured = reports.into_iter().filter(|report| report.step > 0);
        Ok(measured.map(|report| Run { program: self.name.clone(), report }).collect())
    }
}
