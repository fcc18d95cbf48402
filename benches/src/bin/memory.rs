//! Peak memory of one masked LM step, each formulation in a process of its own.
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use benches::{LmCase, LmSize};
use clap::{Parser, ValueEnum};

/// Measures the peak resident memory of one masked LM step (forward and backward, one thread).
#[derive(Parser)]
#[command(
    name = "memory",
    after_help = "Examples:\n  memory                                          both formulations at the real size\n  memory --vocabulary 4000 --only gather-first    one of them, smaller"
)]
struct Args {
    /// Rows
    #[arg(long, default_value_t = 4)]
    batch: u16,
    /// Tokens per row
    #[arg(long, default_value_t = 256)]
    length: u16,
    /// Tokens of the vocabulary
    #[arg(long, default_value_t = 250_002)]
    vocabulary: u32,
    /// Run this formulation in this process and print its peak; default: both, each in a process of its own
    #[arg(long)]
    only: Option<Formulation>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Formulation {
    /// Inputs and weights alone, no step
    Inputs,
    /// Head and loss on the masked positions
    GatherFirst,
    /// Head and loss on all positions
    EveryPosition,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let Some(formulation) = args.only else {
        for only in ["inputs", "gather-first", "every-position"] {
            let status = Command::new(std::env::current_exe()?)
                .args(["--only", only])
                .args(["--batch", &args.batch.to_string()])
                .args(["--length", &args.length.to_string()])
                .args(["--vocabulary", &args.vocabulary.to_string()])
                .status()
                .with_context(|| format!("starting a process for {only}"))?;
            ensure!(status.success(), "{only}: its process ended with {status}");
        }
        return Ok(());
    };
    tch::set_num_threads(1);
    let case = LmCase::random(LmSize {
        batch: args.batch.into(),
        length: args.length.into(),
        hidden: 768,
        vocabulary: args.vocabulary.into(),
    })?;
    let name = formulation.to_possible_value().map(|value| value.get_name().to_owned());
    let loss = match formulation {
        Formulation::Inputs => String::new(),
        Formulation::GatherFirst => format!(", loss {:.4}", case.gather_first()?),
        Formulation::EveryPosition => format!(", loss {:.4}", case.every_position()?),
    };
    println!("{:<15} peak {:>6} MiB{loss}", name.unwrap_or_default(), peak_mib()?);
    Ok(())
}

/// `VmHWM` of this process, the largest resident set it ever had.
fn peak_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("/proc/self/status: needed for the peak memory, so this program wants Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    let kib: u64 = kib.context("/proc/self/status: no line VmHWM")?.parse()?;
    Ok(kib / 1024)
}
