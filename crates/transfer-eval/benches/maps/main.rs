//! `transfer-eval map fit` and `map score` beside numpy, each as whole programs.
//!
//! Programs run by turns; the row is the middle of the runs. Both have to find the same words, but
//! for a few whose float32 scores are almost equal.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use serde_json::Value;
use testkit::Peers;
use testkit::process::{Cost, median, run};

/// `transfer-eval map` beside numpy.
#[derive(Parser)]
struct Options {
    /// Words of each language, 300 dimensions
    #[arg(long, default_value_t = 50_000)]
    words: usize,
    /// Runs of each program, by turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

const SCORES: [&str; 3] = ["p_at_1", "p_at_5", "p_at_10"];

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let Some(python) = testkit::peers_python(Peers::Light) else { return Ok(()) };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("maps");
    fs::create_dir_all(&folder)?;
    let peer = |arguments: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/maps/peer.py");
        let mut command = Command::new(&python);
        command.arg("-B").arg(script).args(arguments).current_dir(&folder);
        command
    };
    let made = peer(&["inputs", ".", &options.words.to_string()]).status()?;
    assert!(made.success(), "no inputs");
    let all = options.words.to_string();
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transfer-eval"));
        command.arg("map").args(arguments).current_dir(&folder);
        command.args(["--source", "x.npy", "--source-words", "words.txt", "--first", &all]);
        command.args(["--target", "y.npy", "--target-words", "words.txt"]);
        command.stderr(std::process::Stdio::null());
        command
    };
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    let [fitted, scored, there] = ["fit", "score", "peer"].map(|name| folder.join(name));
    for _ in 0..options.rounds {
        let mut fit = ours(&["fit", "--dictionary", "train.txt", "--out", "map.safetensors"]);
        costs[0].push(run(&mut fit, &fitted)?);
        let mut score = ours(&["score", "--dictionary", "test.txt", "--map", "map.safetensors"]);
        costs[1].push(run(&mut score, &scored)?);
        costs[2].push(run(&mut peer(&["score", "."]), &there)?);
    }
    let read = |path: &Path| -> io::Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let (here, there) = (read(&scored)?, read(&there)?);
    for kind in ["cosine", "csls"] {
        for name in SCORES {
            let [a, b] = [&here, &there].map(|report| report[kind][name].as_f64().unwrap());
            assert!((a - b).abs() < 0.3, "{kind}, {name}: {a} here, {b} there");
        }
    }
    let [fit, score, peer] = costs.map(|costs| median(&costs));
    println!("| words | program | seconds | CPU | MiB |\n|---:|---|---:|---:|---:|");
    for (name, Cost { wall, cpu, peak_mib }) in
        [("`map fit`", fit), ("`map score`", score), ("numpy, both", peer)]
    {
        println!("| {} | {name} | {wall:.1} | {cpu:.1} | {peak_mib:.0} |", options.words);
    }
    println!("P@1 {}, by CSLS {}", here["cosine"]["p_at_1"], here["csls"]["p_at_1"]);
    Ok(())
}
