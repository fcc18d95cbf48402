//! Passage vectors augmented with the vectors of questions.
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::{Error, Result};

/// Adds question vectors to the vectors of their passages, `d' = (1 - α) d + α Σ q`, as the
/// released code of xQG does (`ielab/xQG4xDR`): a sum over the questions, not their mean.
///
/// Each question is paired with the index of its passage.
///
/// ```
/// use ndarray::array;
/// use transfer_eval::retrieval::add_question_vectors;
///
/// let passages = array![[1.0, 0.0], [0.0, 2.0]];
/// let questions = array![[1.0, 1.0], [0.0, 2.0]];
/// let questions = questions.outer_iter().map(|question| (0, question));
/// assert_eq!(add_question_vectors(passages.view(), questions, 0.5)?, array![[1.0, 1.5], [0.0, 1.0]]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Shapes
/// - `passages`, and the result: `[N, D]`
/// - a question: `[D]`
///
/// # Errors
/// [`Error::Mismatch`] naming a question whose passage does not exist or whose vector does not have
/// D dimensions.
pub fn add_question_vectors<'a>(
    passages: ArrayView2<'_, f32>,
    questions: impl IntoIterator<Item = (usize, ArrayView1<'a, f32>)>,
    alpha: f32,
) -> Result<Array2<f32>> {
    let (count, width) = passages.dim();
    let mut augmented = &passages * (1.0 - alpha);
    for (number, (passage, question)) in questions.into_iter().enumerate() {
        if passage >= count || question.len() != width {
            let got = format!("passage {passage} and {} dimensions", question.len());
            let message = format!("{got}, but there are {count} passages of {width} dimensions");
            return Err(Error::mismatch("question", number, None, message));
        }
        augmented.row_mut(passage).scaled_add(alpha, &question);
    }
    Ok(augmented)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn zero_weight_or_no_questions_preserve_the_direction() {
        let passages = array![[1.0, -3.0], [0.5, 2.0]];
        let question = array![4.0, 4.0];
        let questions = [(1, question.view()), (1, question.view())];
        assert_eq!(add_question_vectors(passages.view(), questions, 0.0).unwrap(), passages);
        assert_eq!(add_question_vectors(passages.view(), [], 0.5).unwrap(), &passages * 0.5);
        // Two equal questions are added twice.
        let augmented = add_question_vectors(passages.view(), questions, 0.25).unwrap();
        assert_eq!(augmented, array![[0.75, -2.25], [2.375, 3.5]]);
    }

    #[test]
    fn question_with_an_invalid_passage_is_an_error() {
        let (passages, question) = (array![[1.0, 0.0]], array![1.0]);
        for passage in [0, 7] {
            let error = add_question_vectors(passages.view(), [(passage, question.view())], 0.5)
                .unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("passage {passage} and 1 dim")), "{text}");
        }
    }
}
