//! Compares masked LM head and loss in chunks of the masked positions with all logits of the masked
//! positions, and of all positions.
fn main() -> anyhow::Result<()> {
    benches::run("masked_lm")
}
