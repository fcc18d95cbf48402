//! Entity completion: all entities at once, beside loops over the entities; forward and backward.
use anyhow::Result;
use benches::{EntityCase, compare, quick};

fn main() -> Result<()> {
    let mut criterion = quick();
    for (vocabulary, entities) in [(4_000, 48), (250_002, 24)] {
        let case = EntityCase::random(entities, vocabulary)?;
        compare(
            &mut criterion,
            "entity_completion",
            &format!("V={vocabulary},E={entities}"),
            1e-4,
            &[
                ("at_once", &|| case.at_once().unwrap_or(f64::NAN)),
                ("loop_over_losses", &|| case.loop_over_losses().unwrap_or(f64::NAN)),
                ("loop_over_logits", &|| case.loop_over_logits().unwrap_or(f64::NAN)),
            ],
        );
    }
    criterion.final_summary();
    Ok(())
}
