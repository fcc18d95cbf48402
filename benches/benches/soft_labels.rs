//! Soft labels: ours, masked by row, beside libtorch's KL divergence of two softmaxes.
fn main() -> anyhow::Result<()> {
    benches::run("soft_labels")
}
