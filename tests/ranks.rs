//! Tests of recipes on two processes, which get the environment variables that a launcher would
//! set.
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::{
    CommandExt, assert_equal_losses, losses, run_on_two_ranks, sequences, small_data, small_recipe,
    start_two_ranks, succeed,
};

fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("bridging-gap", out);
    let sequences = sequences(Path::new("data/base"), "--pairs en-de,en-zh");
    command.set_path("data.sequences", &sequences);
    command.set_all([
        "run.threads=1",
        "run.arms=[\"injected\"]",
        "injection.steps=6",
        "injection.batch_size=8",
        "injection.log_steps=1",
        "fine_tuning.steps=4",
        "fine_tuning.batch_size=4",
        "fine_tuning.log_steps=1",
    ]);
    command.set_all(small_data("bridging-gap"));
    command
}

fn assert_equal_runs(command: fn(&Path) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    succeed(command(&one));
    run_on_two_ranks(|| command(&two));
    assert_equal_losses(&one, &two, 10);
}

#[test]
fn recipe_bridging_gap_on_two_processes_equals_one() {
    assert_equal_runs(small_run);
}

#[test]
fn recipe_adapters_on_two_processes_equal_one() {
    fn adapter_run(out: &Path) -> Command {
        let mut command = small_run(out);
        command.set_all(["model.adapters={lora={rank=2},bottleneck={reduction=8}}"]);
        command
    }
    assert_equal_runs(adapter_run);
}

fn send_signal(process: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until `done` returns true. If a process exits during the wait, or if the wait takes more
/// than 300 seconds, kills all processes and panics.
fn wait_until(ranks: &mut [Child], description: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        let has_exited = ranks.iter_mut().any(|rank| rank.try_wait().unwrap().is_some());
        if has_exited || start.elapsed() > Duration::from_secs(300) {
            ranks.iter_mut().for_each(|rank| drop(rank.kill()));
            panic!("{description}: a process exited, or the wait timed out");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn recipe_on_two_processes_reports_waiting_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut ranks = start_two_ranks(|| {
        let mut command = small_run(&out);
        command.set_all(["injection.steps=100000"]);
        command
    });
    let (sender, receiver) = mpsc::channel();
    let stderr = BufReader::new(ranks[0].stderr.take().unwrap());
    std::thread::spawn(move || {
        stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    wait_until(&mut ranks, "a step", || out.exists() && !losses(&out).is_empty());
    send_signal(&ranks[1], "STOP");
    send_signal(&ranks[0], "INT");
    for message in [
        "rank 0 of 2 waits for the other ranks and stops after the step",
        " s for the other ranks, which may be busy ",
    ] {
        let contains_message = |line: String| line.contains(message);
        wait_until(&mut ranks, message, || receiver.try_iter().any(contains_message));
    }
    send_signal(&ranks[1], "CONT");
    for mut rank in ranks {
        assert_eq!(rank.wait().unwrap().code(), Some(130));
    }
}
