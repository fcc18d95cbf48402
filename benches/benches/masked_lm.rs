//! Masked LM: head and loss on the masked positions in chunks, beside all their logits, and beside
//! all positions.
fn main() -> anyhow::Result<()> {
    benches::run("masked_lm")
}
