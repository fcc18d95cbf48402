//! A program that restarts itself with a passive wait policy and small kernel caches.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // test helpers
use std::process::{Command, Output};

/// Program that other tests start with [`run_program`].
#[test]
#[ignore = "started by another test"]
fn print_settings() {
    torch_ext::configure_process();
    // This call links the program with libtorch, and thus with libgomp, which reads the variables.
    let sum = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64).int64_value(&[]);
    let policy = std::env::var("OMP_WAIT_POLICY").unwrap_or_else(|_| "unset".to_owned());
    println!("pid {} sum {sum} policy {policy}", std::process::id());
}

/// Variables that a user may have set in addition to a wait policy.
const SETTINGS: [(&str, &str); 3] = [
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "9"),
    ("LRU_CACHE_CAPACITY", "9"),
    ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0"),
];

fn run_program(variables: &[(&str, &str)]) -> (u32, Output) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "print_settings", "--ignored", "--nocapture"]);
    for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"].into_iter().chain(SETTINGS.map(|one| one.0)) {
        command.env_remove(name);
    }
    command.env("OMP_DISPLAY_ENV", "true").envs(variables.iter().copied());
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    (child.id(), child.wait_with_output().unwrap())
}

/// Returns the wait policies that libgomp printed, one for each start of the program. The list is
/// empty if libtorch uses another OpenMP runtime.
fn libgomp_policies(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter_map(|line| Some(line.split_once("OMP_WAIT_POLICY = ")?.1.trim().to_owned()))
        .collect()
}

#[test]
fn a_program_restarts_once_and_libgomp_waits_passively() {
    let (pid, output) = run_program(&[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("pid {pid} sum 3 policy passive")), "{text}");
    assert_eq!(text.matches("policy").count(), 1, "{text}");
    let policies = libgomp_policies(&output);
    assert!(
        policies.is_empty() || (policies.len() == 2 && policies[1] == "'PASSIVE'"),
        "{policies:?}"
    );
}

#[test]
fn settings_of_the_user_do_not_change() {
    for (set, policy) in
        [(("OMP_WAIT_POLICY", "active"), "active"), (("GOMP_SPINCOUNT", "7"), "unset")]
    {
        let (pid, output) = run_program(&[&[set][..], &SETTINGS].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(&format!("pid {pid} sum 3 policy {policy}")), "{set:?}: {text}");
        assert!(libgomp_policies(&output).len() < 2, "{set:?}: restarted");
    }
}
