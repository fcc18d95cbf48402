//! InfoNCE against a queue, streamed, beside similarities side by side.
fn main() -> anyhow::Result<()> {
    benches::run("info_nce")
}
