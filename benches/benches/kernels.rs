//! Compares every loss with its baselines.
fn main() -> anyhow::Result<()> {
    benches::run()
}
