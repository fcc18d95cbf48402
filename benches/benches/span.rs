//! Compares the checked span loss with the clamp and cross-entropy of `transformers`.
fn main() -> anyhow::Result<()> {
    benches::run("span")
}
