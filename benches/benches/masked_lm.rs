//! Masked LM: head and loss on the masked positions alone, beside head and loss on all of them; forward and backward.
use anyhow::Result;
use benches::{LmCase, LmSize, compare, quick};

fn main() -> Result<()> {
    let mut criterion = quick();
    for (vocabulary, batch) in [(4_000, 4), (250_002, 2)] {
        let case = LmCase::random(LmSize { batch, length: 256, hidden: 768, vocabulary })?;
        compare(
            &mut criterion,
            "masked_lm",
            &format!("V={vocabulary},B={batch},L=256"),
            1e-3,
            &[
                ("gather_first", &|| case.gather_first().unwrap_or(f64::NAN)),
                ("every_position", &|| case.every_position().unwrap_or(f64::NAN)),
            ],
        );
    }
    criterion.final_summary();
    Ok(())
}
