//! Span loss: ours, checked, beside the clamp and cross-entropy of `transformers`; forward and backward.
use anyhow::Result;
use benches::{SpanCase, compare, quick};

fn main() -> Result<()> {
    let mut criterion = quick();
    for batch in [16, 128] {
        let case = SpanCase::random(batch, 384)?;
        for masked in [false, true] {
            compare(
                &mut criterion,
                "span",
                &format!("B={batch},L=384,mask={masked}"),
                1e-5,
                &[
                    ("checked", &|| case.checked(masked).unwrap_or(f64::NAN)),
                    ("clamped", &|| case.clamped(masked).unwrap_or(f64::NAN)),
                ],
            );
        }
    }
    criterion.final_summary();
    Ok(())
}
