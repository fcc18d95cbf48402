//! A float32 linear layer of bfloat16 parts, where the processor has AMX, beside libtorch's.
fn main() -> anyhow::Result<()> {
    benches::run("linear")
}
