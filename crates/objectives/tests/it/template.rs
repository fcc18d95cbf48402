//! A crate outside the workspace uses `objectives` by the documented lines.
use std::path::Path;

#[test]
fn the_template_builds_and_runs() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("template");
    let folder = tempfile::tempdir().unwrap();
    let out = testkit::run_outside(&template, &folder.path().join("outside"), &[]);
    // Zero states know nothing: ln 5 for the tokens, ln 8 for the queue.
    for line in ["loss 3.6889 nats", "mlm 1.6094", "mep 2.0794", "the queue holds 8 of 8 keys"] {
        assert!(out.contains(line), "no {line:?} in:\n{out}");
    }
}
