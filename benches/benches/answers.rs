//! Hard learning and answer-aware contrastive learning beside loops over candidates and spans; forward and backward.
use anyhow::Result;
use benches::{AnswerContrastCase, HardLearningCase, compare, quick};
use objectives::HardLearningWeighting;

fn main() -> Result<()> {
    let mut criterion = quick();
    let case = HardLearningCase::random(32, 384, 20)?;
    for (name, weighting) in
        [("mml", HardLearningWeighting::Mml), ("learned", HardLearningWeighting::Learned)]
    {
        compare(
            &mut criterion,
            "hard_learning",
            &format!("{name},B=32,L=384,K=20"),
            1e-5,
            &[
                ("at_once", &|| case.at_once(weighting).unwrap_or(f64::NAN)),
                ("loop_over_candidates", &|| {
                    case.loop_over_candidates(weighting).unwrap_or(f64::NAN)
                }),
            ],
        );
    }
    let case = AnswerContrastCase::random(32, 384, 768, 50)?;
    compare(
        &mut criterion,
        "answer_contrast",
        "B=32,L=384,H=768,M=50",
        1e-5,
        &[
            ("at_once", &|| case.at_once().unwrap_or(f64::NAN)),
            ("averaging_matrix", &|| case.averaging_matrix().unwrap_or(f64::NAN)),
            ("loop_over_spans", &|| case.loop_over_spans().unwrap_or(f64::NAN)),
        ],
    );
    criterion.final_summary();
    Ok(())
}
