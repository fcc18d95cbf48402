//! Entity completion: all entities at once, beside loops over the entities.
fn main() -> anyhow::Result<()> {
    benches::run("entity_completion")
}
