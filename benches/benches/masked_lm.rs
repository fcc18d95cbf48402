//! Compares a chunked masked LM head and loss with logits of all masked positions, or of all
//! positions.
fn main() -> anyhow::Result<()> {
    benches::run("masked_lm")
}
