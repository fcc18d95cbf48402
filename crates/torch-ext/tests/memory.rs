//! Tests of the memory that a program retains between steps with batches of different sizes.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used)] // test helpers
use std::collections::VecDeque;
use std::process::Command;

use tch::{Device, Kind, Tensor};

/// Resident memory in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Program that another test starts with [`run_test`].
#[test]
#[ignore = "started by another test"]
fn allocate_in_steps() {
    torch_ext::configure_process();
    let before = resident_mib();
    let mut long_lived = VecDeque::new();
    let mut max_bytes = 0;
    for step in 0..200i64 {
        // The tensors of a step have 24 to 48 MiB in total.
        let elements = 262_144 + step * 7_919 % 262_144;
        let mut activations = Vec::new();
        for layer in 0..24 {
            activations.push(Tensor::ones([elements], (Kind::Float, Device::Cpu)));
            if layer % 4 == 0 {
                // Like oneDNN's kernels, these blocks are freed some steps later.
                long_lived.push_back(vec![1u8; 200_000]);
            }
        }
        assert!(activations.iter().all(|tensor| (tensor.data_ptr() as usize).is_multiple_of(64)));
        max_bytes = max_bytes.max(24 * 4 * elements);
        long_lived.drain(..long_lived.len().saturating_sub(60));
    }
    let expected_mib = max_bytes as f64 / f64::from(1 << 20) + 60.0 * 0.2;
    println!("grew by {:.1} of {expected_mib:.1}", resident_mib() - before);
    let error = Tensor::f_empty([i64::MAX / 8], (Kind::Float, Device::Cpu)).unwrap_err();
    assert!(error.to_string().contains("can't allocate memory"), "{error}");
    assert_eq!(Tensor::zeros([0], (Kind::Float, Device::Cpu)).numel(), 0);
}

/// Program that another test starts with [`run_test`].
#[test]
#[ignore = "started by another test"]
fn multiply_many_shapes() {
    torch_ext::configure_process();
    let options = (Kind::BFloat16, Device::Cpu);
    let weight = Tensor::ones([128, 128], options);
    let matmul = |rows: i64| Tensor::ones([rows, 128], options).matmul(&weight);
    (1..=200).for_each(|rows| drop(matmul(rows)));
    let before = resident_mib();
    (201..=700).for_each(|rows| drop(matmul(rows)));
    println!("grew by {:.1}", resident_mib() - before);
}

/// Runs the ignored test `name` in a separate process with one test thread.
fn run_test(name: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    for name in ["ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY", "GLIBC_TUNABLES"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Returns the values that a program printed after `grew by`.
fn printed_mib(text: &str) -> Vec<f64> {
    let line = text.lines().find_map(|line| Some(line.split_once("grew by ")?.1)).unwrap();
    line.split(" of ").map(|number| number.trim().parse().unwrap()).collect()
}

#[test]
fn memory_is_limited_by_the_largest_batch() {
    let text = run_test("allocate_in_steps");
    let growth = printed_mib(&text);
    assert!(growth[0] < 1.15 * growth[1] + 8.0, "{text}");
}

#[test]
fn kernels_of_unused_shapes_are_evicted() {
    let text = run_test("multiply_many_shapes");
    // On a processor with AMX, memory grew by 29 MiB, and by 321 MiB with caches of 1,024 kernels.
    assert!(printed_mib(&text)[0] < 100.0, "{text}");
}
