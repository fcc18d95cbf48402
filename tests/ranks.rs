//! Recipes on two processes, as a launcher starts them.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::program;

fn bridging_gap(out: &Path) -> Command {
    let mut command = program("bridging-gap");
    command.arg("examples/bridging-gap/small.toml").arg("--out").arg(out);
    for set in [
        "run.threads=1",
        "run.arms=[\"injected\"]",
        "injection.steps=6",
        "injection.batch_size=8",
        "injection.micro_batch=4",
        "injection.log_steps=1",
        "fine_tuning.steps=4",
        "fine_tuning.batch_size=4",
        "fine_tuning.micro_batch=2",
        "fine_tuning.log_steps=1",
        "data.facts.items=40",
    ] {
        command.args(["--set", set]);
    }
    command
}

fn xlm_k(out: &Path) -> Command {
    let mut command = program("xlm-k");
    command.arg("examples/xlm-k/small.toml").arg("--out").arg(out);
    for set in [
        "run.threads=1",
        "run.arms=[\"xlm-k\"]",
        "mentions.languages=[\"de\", \"zh\"]",
        "mentions.held_out.queries=20",
        "losses.queue.size=16",
        "pretraining.steps=4",
        "pretraining.batch_size=6",
        "pretraining.log_steps=1",
        "micro_batch=3",
    ] {
        command.args(["--set", set]);
    }
    command
}

/// Runs `command` as each of two ranks; the second one writes and says nothing.
fn on_two(command: impl Fn() -> Command) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = |rank: usize| {
        let mut command = command();
        command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ranks: Vec<_> = (0..2).map(start).collect();
    for (rank, child) in ranks.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rank {rank}: {errors}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.is_empty(), rank == 1, "rank {rank}: {said}");
    }
}

/// Every `loss` of every stage in `folder`, in the order of paths.
fn losses(folder: &Path) -> Vec<f64> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("metrics.jsonl") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut losses = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            losses.push(line["loss"].as_f64().unwrap());
        }
    }
    losses
}

fn expect_alike(command: fn(&Path) -> Command, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    common::succeed(command(&one));
    on_two(|| command(&two));
    let (one, two) = (losses(&one), losses(&two));
    assert_eq!((one.len(), two.len()), (count, count));
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{one:?}\n{two:?}");
    }
}

#[test]
fn recipe_bridging_gap_on_two_processes_loses_as_on_one() {
    expect_alike(bridging_gap, 10);
}

#[test]
fn recipe_xlm_k_on_two_processes_loses_as_on_one() {
    expect_alike(xlm_k, 4);
}
