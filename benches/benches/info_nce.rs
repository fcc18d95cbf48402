//! Compares streamed InfoNCE against a queue with computing all similarities at once.
fn main() -> anyhow::Result<()> {
    benches::run("info_nce")
}
