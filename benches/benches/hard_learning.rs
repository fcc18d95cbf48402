//! Compares hard learning with a loop over the candidates.
fn main() -> anyhow::Result<()> {
    benches::run("hard_learning")
}
