//! Results of each program over all steps and rounds, compared with the baseline's results.
use benches::median;
use serde::Serialize;

use crate::Options;
use crate::batches::{Batches, Row, count_flop, count_real_tokens};
use crate::programs::{Run, baseline};

/// The results of one program.
#[derive(Debug, Serialize)]
pub struct Line {
    pub program: String,
    pub steps: usize,
    /// Tokens per second of wall time, not counting padding; median of the steps.
    pub real_tokens_per_second: f64,
    /// Tokens per second of processor time, not counting padding; median of the steps.
    pub real_tokens_per_cpu_second: f64,
    /// Share of system time in the processor time.
    pub system_share: f64,
    /// Share of the GPU's peak throughput that the matmuls on tokens other than padding use; 0 on
    /// the CPU.
    pub flop_utilisation: f64,
    pub peak_mib: f64,
    /// Loss of the last step.
    pub loss: f64,
}

/// Returns a line for each program, in the order of their first run.
pub fn create_lines(runs: &[Run], batches: &Batches, options: &Options) -> Vec<Line> {
    let mut names: Vec<&str> = Vec::new();
    for run in runs {
        if !names.contains(&run.program.as_str()) {
            names.push(&run.program);
        }
    }
    names.into_iter().map(|name| create_line(name, runs, batches, options)).collect()
}

fn create_line(program: &str, runs: &[Run], batches: &Batches, options: &Options) -> Line {
    let reports: Vec<_> =
        runs.iter().filter(|run| run.program == program).map(|run| &run.report).collect();
    let count_in = |step: usize, count: &dyn Fn(&[Row]) -> f64| {
        batches.get(step).map_or(0.0, |batch| count(batch))
    };
    let tokens = |step| count_in(step, &|batch| count_real_tokens(batch) as f64);
    let rate = |seconds: fn(&crate::programs::Report) -> f64| {
        median(reports.iter().map(|report| tokens(report.step) / seconds(report)).collect())
    };
    let peak = if options.on_gpu() { options.peak_tflops * 1e12 } else { f64::INFINITY };
    let utilisation = |report: &&crate::programs::Report| {
        // `count_flop` counts a training step, of which the forward pass is a third.
        let share = if options.inference { 1.0 / 3.0 } else { 1.0 };
        share * count_in(report.step, &|batch| count_flop(batch, options)) / report.seconds / peak
    };
    Line {
        program: program.to_owned(),
        steps: reports.len(),
        real_tokens_per_second: rate(|report| report.seconds),
        real_tokens_per_cpu_second: rate(|report| report.cpu_seconds),
        system_share: median(
            reports.iter().map(|report| report.system_seconds / report.cpu_seconds).collect(),
        ),
        flop_utilisation: median(reports.iter().map(utilisation).collect()),
        peak_mib: reports.iter().map(|report| report.peak_mib).fold(0.0, f64::max),
        loss: reports.last().map_or(f64::NAN, |report| report.loss),
    }
}

/// Formats the table, with ratios to the baseline's line if there is one.
pub fn markdown(lines: &[Line], batches: &Batches, options: &Options) -> String {
    let tokens: usize = batches.iter().skip(1).map(|batch| count_real_tokens(batch)).sum();
    let positions: usize = batches.iter().skip(1).map(|batch| batch.len() * options.length).sum();
    let share = 100.0 * tokens as f64 / positions.max(1) as f64;
    let gpu_only = |cell: String| if options.on_gpu() { cell } else { String::new() };
    let mut text = format!(
        "{tokens} tokens in {positions} positions, padded to {}: {share:.0} % are not padding\n\n\
         | program | real tokens/s | × |{} tokens/CPU s | × | kernel's share | peak MiB | × |\n\
         |---|---:|---:|{}---:|---:|---:|---:|---:|\n",
        options.length,
        gpu_only(" MFU |".to_owned()),
        gpu_only("---:|".to_owned()),
    );
    let peer = lines.iter().find(|line| line.program == baseline(options));
    let ratio = |value: fn(&Line) -> f64, line: &Line| {
        peer.map_or_else(|| "–".to_owned(), |peer| format!("{:.2}", value(line) / value(peer)))
    };
    for line in lines {
        text += &format!(
            "| {} | {:.0} | {} |{} {:.0} | {} | {:.0} % | {:.0} | {} |\n",
            line.program,
            line.real_tokens_per_second,
            ratio(|line| line.real_tokens_per_second, line),
            gpu_only(format!(" {:.1} % |", 100.0 * line.flop_utilisation)),
            line.real_tokens_per_cpu_second,
            ratio(|line| line.real_tokens_per_cpu_second, line),
            100.0 * line.system_share,
            line.peak_mib,
            ratio(|line| line.peak_mib, line),
        );
    }
    text
}
