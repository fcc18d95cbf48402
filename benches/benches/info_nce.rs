//! InfoNCE against a queue, streamed, beside all similarities at once.
fn main() -> anyhow::Result<()> {
    benches::run("info_nce")
}
