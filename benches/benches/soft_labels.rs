//! Compares row-masked soft labels with libtorch's KL divergence of two softmaxes.
fn main() -> anyhow::Result<()> {
    benches::run("soft_labels")
}
