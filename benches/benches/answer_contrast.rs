//! Compares answer-aware contrastive learning with an averaging matrix and a loop over spans.
fn main() -> anyhow::Result<()> {
    benches::run("answer_contrast")
}
