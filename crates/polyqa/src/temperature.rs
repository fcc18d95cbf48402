//! The temperature of a softmax, and the calibration error of probabilities.

/// Probability of a best answer, and whether the answer is correct.
pub(crate) type Prediction = (f64, bool);

/// Computes the mean negative log-likelihood of the outcomes.
pub(crate) fn log_loss(outcomes: &[Prediction]) -> f64 {
    let loss = |&(probability, is_correct): &Prediction| {
        let outcome_probability = if is_correct { probability } else { 1.0 - probability };
        -outcome_probability.max(1e-12).ln()
    };
    outcomes.iter().map(loss).sum::<f64>() / outcomes.len().max(1) as f64
}

/// Returns the temperature with the lowest loss. Evaluates the powers of two from 1/8 to 64, and
/// then refines the best exponent with steps that are halved repeatedly.
pub(crate) fn grid_search(loss: impl Fn(f64) -> f64) -> f64 {
    let (mut best_exponent, mut step) = (0.0f64, 3.0);
    let mut lowest_loss = loss(1.0);
    for exponent in (-3..=6).map(f64::from) {
        let candidate_loss = loss(exponent.exp2());
        if candidate_loss < lowest_loss {
            (best_exponent, lowest_loss) = (exponent, candidate_loss);
        }
    }
    while step > 0.01 {
        step /= 2.0;
        for exponent in [best_exponent - step, best_exponent + step] {
            let candidate_loss = loss(exponent.exp2());
            if candidate_loss < lowest_loss {
                (best_exponent, lowest_loss) = (exponent, candidate_loss);
            }
        }
    }
    best_exponent.exp2()
}

/// Computes the expected calibration error over ten bins of equal width.
pub(crate) fn calibration_error(outcomes: &[Prediction]) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); 10];
    for &(probability, is_correct) in outcomes {
        // The last bin contains its upper bound.
        let bin = (0..9).find(|&bin| probability < (bin + 1) as f64 / 10.0).unwrap_or(9);
        let (sum, correct_count) = &mut bins[bin];
        *sum += probability;
        *correct_count += f64::from(u8::from(is_correct));
    }
    // The size of a bin cancels, because it is the bin's weight and the divisor of its means.
    bins.iter().map(|(sum, correct_count)| (sum - correct_count).abs()).sum::<f64>()
        / outcomes.len().max(1) as f64
}
