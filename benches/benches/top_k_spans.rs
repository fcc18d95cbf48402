//! Compares the k best spans over the band of allowed lengths with selections over all pairs of
//! positions.
fn main() -> anyhow::Result<()> {
    benches::run("top_k_spans")
}
