//! The k best spans: ours over the band of allowed lengths, beside selections over all pairs of
//! positions.
fn main() -> anyhow::Result<()> {
    benches::run("top_k_spans")
}
