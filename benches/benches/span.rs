//! Span loss: ours, checked, beside the clamp and cross-entropy of `transformers`.
fn main() -> anyhow::Result<()> {
    benches::run("span")
}
