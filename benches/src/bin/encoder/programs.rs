//! The programs that are compared, each as a process of its own.
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use testkit::{Peers, peers_python};

use crate::Options;
use crate::batches::MAX_LENGTH;

/// What a program reports of one step or, last, of its memory.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// Which batch.
    pub step: usize,
    /// Wall time.
    pub seconds: f64,
    /// Time of all threads, user and system.
    pub cpu_seconds: f64,
    /// Of it, the kernel's.
    pub system_seconds: f64,
    /// The batch's loss.
    pub loss: f64,
    /// Peak resident memory so far.
    pub peak_mib: f64,
}

/// A report with the program's name.
pub struct Run {
    pub program: &'static str,
    pub report: Report,
}

/// One way to make the step.
pub struct Program {
    /// As the table names it.
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    Ours(&'static str),
    Peer,
}

/// All of them, or those that `--only` names, that this processor has the kernels for. The peer is
/// left out, with a line, where it is not installed.
pub fn all(options: &Options) -> Vec<Program> {
    let ours = |name, program| Program { name, kind: Kind::Ours(program) };
    let mut programs = vec![
        ours("float32", "f32"),
        ours("float32 of bfloat16 parts", "f32-bf16x3"),
        ours("bfloat16", "bf16"),
        ours("float32, layers recomputed", "f32-recompute"),
        ours("bfloat16, layers recomputed", "bf16-recompute"),
        Program { name: "transformers, float32, padded", kind: Kind::Peer },
    ];
    programs.retain(|program| program.name.contains(&options.only) && program.runs_here());
    programs
}

impl Program {
    fn runs_here(&self) -> bool {
        !matches!(self.kind, Kind::Ours("f32-bf16x3")) || torch_ext::has_bf16x3()
    }

    /// Runs it on all batches; the first step is not among the reports.
    pub fn run(&self, options: &Options, batches: &Path) -> Result<Vec<Run>> {
        let mut command = match &self.kind {
            Kind::Ours(program) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--child").arg(batches).args(["--program", program]);
                command
            }
            Kind::Peer => {
                let Some(python) = peers_python(Peers::Torch) else { return Ok(Vec::new()) };
                let mut command = Command::new(python);
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/encoder_peer.py")).arg(batches);
                command.args(["--length", &MAX_LENGTH.to_string()]);
                command
            }
        };
        for (name, value) in [
            ("--architecture", options.architecture.name().to_owned()),
            ("--layers", options.layers().to_string()),
            ("--hidden", options.hidden.to_string()),
            ("--vocab", options.vocab().to_string()),
            ("--threads", options.threads.to_string()),
        ] {
            command.args([name, &value]);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{} ended with {}", self.name, output.status);
        let text = String::from_utf8(output.stdout)?;
        let reports = text
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect::<Result<Vec<Report>>>()?;
        let measured = reports.into_iter().filter(|report| report.step > 0);
        Ok(measured.map(|report| Run { program: self.name, report }).collect())
    }
}
