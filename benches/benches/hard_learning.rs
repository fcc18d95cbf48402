//! Hard learning beside a loop over the candidates.
fn main() -> anyhow::Result<()> {
    benches::run("hard_learning")
}
