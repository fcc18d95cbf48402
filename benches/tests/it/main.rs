//! Tests of the help texts. Because of these tests, `cargo test` also builds the programs. The
//! checks on GPU machines run these programs later.
use std::process::Command;

#[test]
fn programs_print_help() {
    for (program, option) in [
        (env!("CARGO_BIN_EXE_encoder"), "--architecture"),
        (env!("CARGO_BIN_EXE_losses"), "--only"),
        (env!("CARGO_BIN_EXE_summary"), "Usage"),
    ] {
        let output = Command::new(program).arg("--help").output().unwrap();
        assert!(output.status.success(), "{program}: {}", output.status);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(option), "{program}: {help}");
    }
}
