//! Command-line arguments, exit codes, and printed results and errors.
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::toy::TestRun;

fn assert_rejected(test_run: &TestRun, arguments: &[&str], expected: &[&str]) {
    let error = test_run.start(arguments).unwrap_err();
    for expected_text in expected {
        assert!(error.contains(expected_text), "{arguments:?}: no {expected_text:?} in {error}");
    }
    assert!(!test_run.out().exists(), "{arguments:?}");
}

#[test]
fn unknown_keys_are_reported_with_the_nearest_key() {
    let test_run = TestRun::new();
    let reject_set =
        |item: &str, expected: &[&str]| assert_rejected(&test_run, &["--set", item], expected);
    reject_set(
        "training.lerning_rate=1",
        &["--set training.lerning_rate=1: ", "the nearest is `learning_rate`"],
    );
    reject_set("arms.far.shft=1", &["the nearest is `shift`"]);
    reject_set("threads=2", &["--set threads=2: unknown key `threads`"]);
    reject_set("training.batch_size=0", &["training", "batch_size"]);
    reject_set("data.train=", &["data.train", "is not set", "--set data.train=PATH"]);
    reject_set("data.train=nowhere.json", &["data.train = nowhere.json: no such file"]);
    reject_set("run.device=tpu", &["tpu"]);
    let recipe = fs::read_to_string(test_run.path("toy.toml")).unwrap();
    test_run.write("toy.toml", &format!("{recipe}step = 3\n"));
    assert_rejected(&test_run, &[], &["toy.toml:20:1: unknown key `step`: the nearest is `steps`"]);
}

#[test]
fn invalid_seeds_and_arms_are_rejected() {
    let test_run = TestRun::new();
    let reject_set =
        |item: &str, expected: &[&str]| assert_rejected(&test_run, &["--set", item], expected);
    reject_set("run.seeds=[]", &["run.seeds = []: give at least one"]);
    reject_set("run.seeds=[3, 3]", &["run.seeds: 3 is listed twice"]);
    reject_set("run.arms=[]", &["run.arms = []"]);
    reject_set("run.arms=[\"far\", \"far\"]", &["far is listed twice"]);
    reject_set("run.arms=[\"fra\"]", &["no arm is called \"fra\" (arms: far, further, plain)"]);
    reject_set("arms.\"../../x\".shift=1", &["../../x", "not a valid folder name"]);
    reject_set("arms.\"\".shift=1", &["is empty"]);
    reject_set("arms.far.languages=[\"a/b\"]", &["variants of far", "a/b"]);
    reject_set("arms.far.languages=[\"a\", \"a\"]", &["a is listed twice"]);
    assert_rejected(&test_run, &["--arms", "x*"], &["--arms", "\"x*\"", "far, further, plain"]);
    assert_rejected(&test_run, &["--arms", "far,far"], &["far is listed twice"]);
    assert_rejected(&test_run, &["--seeds", "0"], &["--seeds"]);
    assert_rejected(&test_run, &["--model", "x=data"], &["--model x=data"]);
}

#[test]
fn resuming_without_a_run_is_an_error() {
    let test_run = TestRun::new();
    let resume = |folder: &str| {
        let arguments = ["toy".into(), "--resume".into(), test_run.path(folder)];
        crate::toy::start(&arguments).unwrap_err()
    };
    let error = resume("nowhere");
    assert!(error.contains("contains no run") && error.contains("--out"), "{error}");
    assert!(!test_run.path("nowhere").exists());
    assert!(resume("").contains("but no run"));
}

/// The command that runs the toy recipe as a program.
pub(crate) fn program(test_run: &TestRun) -> Command {
    let test_program = std::env::current_exe().unwrap();
    let target = test_program.parent().unwrap().parent().unwrap();
    let mut command = Command::new(target.join("examples/toy"));
    command.arg(test_run.path("toy.toml")).arg("--out").arg(test_run.out());
    command.stdin(Stdio::null());
    command
}

#[test]
fn a_closed_output_does_not_end_a_run() {
    let test_run = TestRun::new();
    let full_device = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let output = program(&test_run).stdout(full_device()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.matches("cannot write to standard output").count(), 1, "{error}");
    assert_eq!(test_run.summary().len(), 2);
    let status = program(&test_run).stdout(full_device()).stderr(full_device()).status().unwrap();
    assert!(status.success());
    // An error is printed on one line. If the error cannot be printed, the exit code still reports
    // it.
    let output = program(&test_run).args(["--set", "training.steps=9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: ") && error.matches('\n').count() == 1, "{error}");
    let mut command = program(&test_run);
    command.args(["--set", "training.steps=9"]).stderr(full_device());
    assert_eq!(command.status().unwrap().code(), Some(2));
}

#[test]
fn a_signal_during_training_sets_the_exit_code_and_the_run_can_be_resumed() {
    let (uninterrupted, interrupted) = (TestRun::new(), TestRun::new());
    let run_to_end = |test_run: &TestRun| {
        let output = program(test_run).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let metrics = test_run.out().join("seed-0/plain/fit/metrics.jsonl");
        (test_run.summary(), fs::read_to_string(metrics).unwrap())
    };
    let expected = run_to_end(&uninterrupted);
    let output = program(&interrupted).env("TOY_SIGTERM", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    let text = "stopped by SIGTERM after step 3 of 6, which is saved; run the same command to";
    assert!(error.contains(text) && !error.contains("error"), "{error}");
    let checkpoints = interrupted.out().join("seed-0/plain/fit/checkpoints");
    assert!(checkpoints.join("step-00000003").exists());
    assert_eq!(run_to_end(&interrupted), expected);
}

/// The one-line message of a failed program.
pub(crate) fn error_of(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.starts_with("error: ") && error.matches('\n').count() == 1, "{error}");
    error
}

#[test]
fn control_characters_are_escaped_in_tables_and_errors() {
    let test_run = TestRun::new();
    let title = "arms.far.title=\"\\u001b[31mred\"";
    let output = program(&test_run).args(["--set", title]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = fs::read_to_string(test_run.out().join("table.md")).unwrap();
    for text in [String::from_utf8(output.stdout).unwrap(), table] {
        assert!(text.contains("| \\u001b[31mred |") && !text.contains('\u{1b}'), "{text:?}");
        assert!(text.lines().count() > 3, "{text:?}");
    }
    let file = "data.train=\u{1b}[2J.json";
    let error = error_of(&program(&test_run).args(["--set", file]).output().unwrap());
    assert!(error.contains("data.train = \\u{1b}[2J.json"), "{error:?}");
}

#[test]
fn the_first_differing_key_of_two_ranks_is_named() {
    let test_run = TestRun::new();
    test_run.write("other.json", "[1.0, 2.0, 3.0, 5.0]");
    let data = format!("data.train={}", test_run.path("other.json").display());
    for (set, expected_text) in [
        ("training.steps=9", "training.steps is 6 on rank 0 and 9 on rank 1"),
        ("run.seeds=[0, 1]", "run.seeds is [0] on rank 0 and [0,1] on rank 1"),
        ("arms.further.shift=6.0", "arms.further.shift is 5.0 on rank 0 and 6.0 on rank 1"),
        (data.as_str(), "the input file data.train differs between rank 0 and rank 1"),
    ] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let start_rank = |rank: usize| {
            let mut command = program(&test_run);
            command.env("WORLD_SIZE", "2").env("RANK", rank.to_string());
            command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
            if rank == 1 {
                command.args(["--set", set]);
            }
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for rank in [start_rank(0), start_rank(1)] {
            let error = error_of(&rank.wait_with_output().unwrap());
            assert!(error.contains(expected_text), "{set}: {error}");
        }
        assert!(!test_run.out().join("seed-0").exists(), "{set}");
    }
}

#[test]
fn a_failure_to_start_threads_is_one_error() {
    let test_run = TestRun::new();
    fs::set_permissions(test_run.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let toy = program(&test_run);
    let run_as_nobody = |limit: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "bash", "-c"]);
        command.arg(format!("ulimit -u {limit}; exec \"$0\" \"$@\""));
        command.arg(toy.get_program()).args(toy.get_args()).args(arguments).output()
    };
    if !run_as_nobody("unlimited", &["--show"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: only root can become a user whose processes are limited");
        return;
    }
    let error = error_of(&run_as_nobody("1", &[]).unwrap());
    assert!(error.contains("threads: ") && error.contains("ulimit -u"), "{error}");
}
