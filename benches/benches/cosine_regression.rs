//! Cosine regression compared with `mse_loss` of normalised vectors.
fn main() -> anyhow::Result<()> {
    benches::run("cosine_regression")
}
