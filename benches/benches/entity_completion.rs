//! Compares entity completion of all entities at once with loops over the entities.
fn main() -> anyhow::Result<()> {
    benches::run("entity_completion")
}
