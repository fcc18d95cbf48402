//! The compared programs. Each run of a program is a separate process.
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use testkit::{PythonPackages, python_with};

use crate::{Architecture, Options};

/// A program's report of one step.
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

/// A report and the name of its program.
pub struct Run {
    pub program: String,
    pub report: Report,
}

/// A program that computes the measured steps.
pub struct Program {
    /// Name in the table.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Ours(&'static str),
    Torch(&'static [&'static str]),
}

/// The kinds of comparisons in which a program takes part.
#[derive(Clone, Copy)]
enum Scope {
    All,
    Training,
    /// Training on the CPU.
    CpuTraining,
    Gpu,
    /// Forward pass without gradients on a GPU.
    GpuInference,
}

/// All programs: name, kind and scope. With `--inference` and `--bf16`, `encoder_peer.py` converts
/// its parameters to bfloat16.
const PROGRAMS: [(&str, Kind, Scope); 11] = [
    ("float32", Kind::Ours("f32"), Scope::All),
    ("bfloat16", Kind::Ours("bf16"), Scope::All),
    ("float16", Kind::Ours("f16"), Scope::GpuInference),
    ("float32, layers recomputed", Kind::Ours("f32-recompute"), Scope::CpuTraining),
    ("bfloat16, layers recomputed", Kind::Ours("bf16-recompute"), Scope::Training),
    ("float32, LoRA alone", Kind::Ours("f32-lora"), Scope::CpuTraining),
    ("float32, bottlenecks alone", Kind::Ours("f32-bottleneck"), Scope::CpuTraining),
    ("transformers, bfloat16, padded", Kind::Torch(&["--bf16"]), Scope::All),
    ("transformers, bfloat16, padded, compiled", Kind::Torch(&["--bf16", "--compile"]), Scope::Gpu),
    ("transformers and PEFT, LoRA alone, padded", Kind::Torch(&["--lora"]), Scope::CpuTraining),
    ("transformers, float32, padded", Kind::Torch(&[]), Scope::All),
];

impl Scope {
    fn includes(self, options: &Options) -> bool {
        let (training, gpu) = (!options.inference, options.on_gpu());
        match self {
            Self::All => true,
            Self::Training => training,
            Self::CpuTraining => training && !gpu,
            Self::Gpu => gpu,
            Self::GpuInference => gpu && !training,
        }
    }
}

/// Returns the name of the baseline, with which the other programs are compared.
pub fn baseline(options: &Options) -> &'static str {
    match options.on_gpu() {
        true => "transformers, bfloat16, padded, compiled",
        false => "transformers, float32, padded",
    }
}

/// Returns the programs that support `options` and match `--only` and `--except`.
pub fn select(options: &Options) -> Vec<Program> {
    let matches_any =
        |name: &str, list: &[String]| list.iter().any(|part| name.contains(part.as_str()));
    let is_selected = |name: &str| {
        (options.only.is_empty() || matches_any(name, &options.only))
            && !matches_any(name, &options.except)
    };
    // The baseline program with PEFT supports only the names of XLM-R's layers.
    let is_xlmr = options.architecture == Architecture::XlmRoberta;
    let is_supported = |name: &str| is_xlmr || !name.contains("PEFT");
    let programs = PROGRAMS.iter().filter(|(name, _, scope)| {
        scope.includes(options) && is_selected(name) && is_supported(name)
    });
    programs.map(|&(name, kind, _)| Program { name: name.to_owned(), kind }).collect()
}

impl Program {
    /// Runs the program on all batches and returns the reports of all steps except the first.
    /// Returns an empty list if the program is a baseline that is not installed. Traces are written
    /// to `folder`.
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
            Kind::Torch(arguments) => {
                let python = options.python.clone().or_else(|| python_with(PythonPackages::Torch));
                let Some(python) = python else { return Ok(Vec::new()) };
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
