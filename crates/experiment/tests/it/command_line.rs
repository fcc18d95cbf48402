//! What a user types, and what comes back.
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::toy::Workshop;

fn refused(workshop: &Workshop, more: &[&str], pieces: &[&str]) {
    let error = workshop.start(more).unwrap_err();
    for piece in pieces {
        assert!(error.contains(piece), "{more:?}: no {piece:?} in {error}");
    }
    assert!(!workshop.out().exists(), "{more:?}");
}

#[test]
fn keys_that_are_unknown_are_named_with_the_nearest_one() {
    let workshop = Workshop::new();
    let set = |item: &str, pieces: &[&str]| refused(&workshop, &["--set", item], pieces);
    set(
        "training.lerning_rate=1",
        &["--set training.lerning_rate=1: ", "the nearest is `learning_rate`"],
    );
    set("arms.far.shft=1", &["the nearest is `shift`"]);
    set("threads=2", &["--set threads=2: unknown key `threads`"]);
    set("training.batch_size=0", &["training", "batch_size"]);
    set("data.train=", &["data.train", "is not set", "--set data.train=PATH"]);
    set("data.train=nowhere.json", &["data.train = nowhere.json: no such file"]);
    set("run.device=tpu", &["tpu"]);
    let recipe = fs::read_to_string(workshop.path("toy.toml")).unwrap();
    workshop.write("toy.toml", &format!("{recipe}step = 3\n"));
    refused(&workshop, &[], &["toy.toml:20:1: unknown key `step`: the nearest is `steps`"]);
}

#[test]
fn seeds_and_arms_that_cannot_be_run_are_refused() {
    let workshop = Workshop::new();
    let set = |item: &str, pieces: &[&str]| refused(&workshop, &["--set", item], pieces);
    set("run.seeds=[]", &["run.seeds = []: give at least one"]);
    set("run.seeds=[3, 3]", &["run.seeds: 3 is listed twice"]);
    set("run.arms=[]", &["run.arms = []"]);
    set("run.arms=[\"far\", \"far\"]", &["far is listed twice"]);
    set("run.arms=[\"fra\"]", &["no arm is called \"fra\" (arms: far, further, plain)"]);
    set("arms.\"../../x\".shift=1", &["../../x", "it names a folder"]);
    set("arms.\"\".shift=1", &["is empty"]);
    set("arms.far.languages=[\"a/b\"]", &["variants of far", "a/b"]);
    set("arms.far.languages=[\"a\", \"a\"]", &["a is listed twice"]);
    refused(&workshop, &["--arms", "x*"], &["--arms", "\"x*\"", "far, further, plain"]);
    refused(&workshop, &["--arms", "far,far"], &["far is listed twice"]);
    refused(&workshop, &["--seeds", "0"], &["--seeds"]);
    refused(&workshop, &["--model", "x=data"], &["--model x=data"]);
}

#[test]
fn resuming_nothing_is_an_error() {
    let workshop = Workshop::new();
    let resume = |folder: &str| {
        let arguments = ["toy".into(), "--resume".into(), workshop.path(folder)];
        crate::toy::start(&arguments).unwrap_err()
    };
    let error = resume("nowhere");
    assert!(error.contains("contains no run") && error.contains("--out"), "{error}");
    assert!(!workshop.path("nowhere").exists());
    assert!(resume("").contains("but no run"));
}

/// The toy as a program.
fn program(workshop: &Workshop) -> Command {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().unwrap().parent().unwrap();
    let mut command = Command::new(target.join("examples/toy"));
    command.arg(workshop.path("toy.toml")).arg("--out").arg(workshop.out());
    command.stdin(Stdio::null());
    command
}

#[test]
fn a_closed_output_does_not_end_a_run() {
    let workshop = Workshop::new();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let output = program(&workshop).stdout(full()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.matches("cannot write to standard output").count(), 1, "{error}");
    assert_eq!(workshop.summary().len(), 2);
    let status = program(&workshop).stdout(full()).stderr(full()).status().unwrap();
    assert!(status.success());
    // An error is printed on one line. If it cannot be printed, the exit code still reports it.
    let output = program(&workshop).args(["--set", "training.steps=9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.matches('\n').count() == 1, "{error}");
    let mut command = program(&workshop);
    command.args(["--set", "training.steps=9"]).stderr(full());
    assert_eq!(command.status().unwrap().code(), Some(2));
}

#[test]
fn a_signal_in_training_ends_with_its_code_and_the_run_goes_on() {
    let (whole, broken) = (Workshop::new(), Workshop::new());
    let succeed = |workshop: &Workshop| {
        let output = program(workshop).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let metrics = workshop.out().join("seed-0/plain/fit/metrics.jsonl");
        (workshop.summary(), fs::read_to_string(metrics).unwrap())
    };
    let want = succeed(&whole);
    let output = program(&broken).env("TOY_SIGTERM", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    let text = "stopped by SIGTERM after step 3 of 6, which is saved; the same command goes on";
    assert!(error.contains(text) && !error.contains("error"), "{error}");
    let checkpoints = broken.out().join("seed-0/plain/fit/checkpoints");
    assert!(checkpoints.join("step-00000003").exists());
    assert_eq!(succeed(&broken), want);
}

/// The one line of an error.
fn error_of(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: ") && error.matches('\n').count() == 1, "{error}");
    error
}

#[test]
fn control_characters_are_escaped_in_tables_and_errors() {
    let workshop = Workshop::new();
    let title = "arms.far.title=\"\\u001b[31mred\"";
    let output = program(&workshop).args(["--set", title]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = fs::read_to_string(workshop.out().join("table.md")).unwrap();
    for text in [String::from_utf8(output.stdout).unwrap(), table] {
        assert!(text.contains("| \\u001b[31mred |") && !text.contains('\u{1b}'), "{text:?}");
        assert!(text.lines().count() > 3, "{text:?}");
    }
    let file = "data.train=\u{1b}[2J.json";
    let error = error_of(&program(&workshop).args(["--set", file]).output().unwrap());
    assert!(error.contains("data.train = \\u{1b}[2J.json"), "{error:?}");
}

#[test]
fn the_first_differing_key_of_two_ranks_is_named() {
    let workshop = Workshop::new();
    workshop.write("other.json", "[1.0, 2.0, 3.0, 5.0]");
    let data = format!("data.train={}", workshop.path("other.json").display());
    for (set, piece) in [
        ("training.steps=9", "training.steps is 6 on rank 0 and 9 on rank 1"),
        ("run.seeds=[0, 1]", "run.seeds is [0] on rank 0 and [0,1] on rank 1"),
        ("arms.further.shift=6.0", "arms.further.shift is 5.0 on rank 0 and 6.0 on rank 1"),
        (data.as_str(), "the input file data.train is another on rank 1 than on rank 0"),
    ] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let start = |rank: usize| {
            let mut command = program(&workshop);
            command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
            command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
            if rank == 1 {
                command.args(["--set", set]);
            }
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for rank in [start(0), start(1)] {
            let error = error_of(&rank.wait_with_output().unwrap());
            assert!(error.contains(piece), "{set}: {error}");
        }
        assert!(!workshop.out().join("seed-0").exists(), "{set}");
    }
}

#[test]
fn a_failure_to_start_threads_is_one_error() {
    let workshop = Workshop::new();
    fs::set_permissions(workshop.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let toy = program(&workshop);
    let as_nobody = |limit: &str, more: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "bash", "-c"]);
        command.arg(format!("ulimit -u {limit}; exec \"$0\" \"$@\""));
        command.arg(toy.get_program()).args(toy.get_args()).args(more).output()
    };
    if !as_nobody("unlimited", &["--show"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: only root can become a user whose processes are limited");
        return;
    }
    let error = error_of(&as_nobody("1", &[]).unwrap());
    assert!(error.contains("threads: ") && error.contains("ulimit -u"), "{error}");
}
