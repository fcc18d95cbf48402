//! The k best spans: ours over the band of allowed lengths, beside a sort and a selection over all pairs of positions.
use anyhow::Result;
use benches::{TopKCase, compare, quick};

fn main() -> Result<()> {
    let mut criterion = quick();
    for k in [20, 50] {
        let case = TopKCase::random(32, 384, k)?;
        compare(
            &mut criterion,
            "top_k_spans",
            &format!("B=32,L=384,k={k}"),
            1e-6,
            &[
                ("band", &|| case.band().unwrap_or(f64::NAN)),
                ("full_sort", &|| case.full_sort().unwrap_or(f64::NAN)),
                ("full_topk", &|| case.full_topk().unwrap_or(f64::NAN)),
            ],
        );
    }
    criterion.final_summary();
    Ok(())
}
