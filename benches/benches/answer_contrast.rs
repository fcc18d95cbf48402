//! Answer-aware contrastive learning beside an averaging matrix and a loop over spans.
fn main() -> anyhow::Result<()> {
    benches::run("answer_contrast")
}
