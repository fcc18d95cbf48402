//! Recipes on two processes, as a launcher starts them.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::path::Path;
use std::process::Command;

use crate::common::{losses, on_two, program};

fn bridging_gap(out: &Path) -> Command {
    let mut command = program("bridging-gap");
    command.arg("examples/bridging-gap/small.toml").arg("--out").arg(out);
    for set in [
        "run.threads=1",
        "run.arms=[\"injected\"]",
        "injection.steps=6",
        "injection.batch_size=8",
        "injection.log_steps=1",
        "fine_tuning.steps=4",
        "fine_tuning.batch_size=4",
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
        "pretraining.steps=20",
        // The demo's own rate makes of a rounding a difference of a hundredth within ten steps, as
        // another number of threads does too.
        "pretraining.learning_rate=1e-4",
        "pretraining.groups=[]",
        "pretraining.batch_size=6",
        "pretraining.log_steps=1",
    ] {
        command.args(["--set", set]);
    }
    command
}

/// `cut` is what one process is told beside.
fn expect_alike(command: fn(&Path) -> Command, cut: &[&str], count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let mut alone = command(&one);
    alone.args(cut);
    common::succeed(alone);
    on_two(|| command(&two));
    let (one, two) = (losses(&one), losses(&two));
    assert_eq!((one.len(), two.len()), (count, count));
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{one:?}\n{two:?}");
    }
}

#[test]
fn recipe_bridging_gap_on_two_processes_loses_as_on_one() {
    expect_alike(bridging_gap, &[], 10);
}

/// The whole batch in one graph would round otherwise than parts of it, which two processes are as
/// well: 4e-5 after these steps, and 4e-6 where one process computes the same parts.
#[test]
fn recipe_xlm_k_on_two_processes_loses_as_on_one() {
    expect_alike(xlm_k, &["--set", "micro_batch=3"], 20);
}
