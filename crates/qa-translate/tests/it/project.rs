//! Tests of projecting spans by similarity.
use ndarray::{Array2, array};
use proptest::prelude::*;
use qa_translate::{Error, ProjectionConfig, Symmetrization, project, project_links};

fn run(similarity: &Array2<f32>, span: std::ops::Range<usize>) -> Option<std::ops::Range<usize>> {
    project(similarity.view(), span, &ProjectionConfig::default()).unwrap()
}

/// Returns a matrix with 1 at the indices `linked` and -0.5 elsewhere.
fn link_matrix(rows: usize, columns: usize, linked: &[(usize, usize)]) -> Array2<f32> {
    let mut similarity = Array2::from_elem((rows, columns), -0.5);
    for &index in linked {
        similarity[index] = 1.0;
    }
    similarity
}

#[test]
fn links_below_the_minimum_similarity_are_ignored() {
    let similarity = array![[-0.1, -0.2], [-0.3, -0.4]];
    assert_eq!(run(&similarity, 0..1), None);
    let no_minimum = ProjectionConfig { min_similarity: -1.0, ..ProjectionConfig::default() };
    assert_eq!(project(similarity.view(), 0..1, &no_minimum).unwrap(), Some(0..1));
    let exact_minimum = ProjectionConfig { min_similarity: -0.1, ..no_minimum };
    assert_eq!(project(similarity.view(), 0..1, &exact_minimum).unwrap(), Some(0..1));
}

#[test]
fn outliers_beyond_the_gap_are_dropped() {
    // Targets 0, 1 and 6 are linked, with four unlinked targets between 1 and 6.
    let similarity = link_matrix(3, 8, &[(0, 0), (1, 1), (2, 6)]);
    assert_eq!(run(&similarity, 0..3), Some(0..2));
    let larger_gap = ProjectionConfig { max_gap: 4, ..ProjectionConfig::default() };
    assert_eq!(project(similarity.view(), 0..3, &larger_gap).unwrap(), Some(0..7));
    let unlimited_gap = ProjectionConfig { max_gap: usize::MAX, ..ProjectionConfig::default() };
    assert_eq!(project(similarity.view(), 0..3, &unlimited_gap).unwrap(), Some(0..7));
    // If both parts have one link, the part with the greater similarity is selected; if the
    // similarities are equal, the first part is selected.
    let mut two_links = link_matrix(2, 8, &[(0, 1), (1, 7)]);
    assert_eq!(run(&two_links, 0..2), Some(1..2));
    two_links[(1, 7)] = 2.0;
    assert_eq!(run(&two_links, 0..2), Some(7..8));
}

#[test]
fn ties_select_the_first_token() {
    let constant_similarity = Array2::from_elem((3, 4), 0.5);
    assert_eq!(run(&constant_similarity, 0..1), Some(0..1));
    // Target 0 is the most similar target of every source, but only source 0 is the most similar
    // source of target 0.
    assert_eq!(run(&constant_similarity, 1..3), None);
}

#[test]
fn invalid_input_is_rejected() {
    let constant_similarity = Array2::from_elem((3, 4), 0.5);
    for span in [1..1, 0..4, 3..4, std::ops::Range { start: 2, end: 1 }] {
        let result =
            project(constant_similarity.view(), span.clone(), &ProjectionConfig::default());
        assert!(matches!(result, Err(Error::Projection { name: "span", .. })), "{span:?}");
    }
    for value in [f32::NAN, f32::INFINITY] {
        // The invalid value is in the row of the span's token, or in the column of the target token
        // that is most similar to this token.
        for (row, column) in [(1, 3), (2, 0)] {
            let mut invalid = constant_similarity.clone();
            invalid[(row, column)] = value;
            let error = project(invalid.view(), 1..2, &ProjectionConfig::default()).unwrap_err();
            let position_text = format!("row {row}, column {column}");
            assert!(error.to_string().contains(&position_text), "{error}");
        }
    }
    assert_eq!(run(&Array2::zeros((2, 0)), 0..1), None);
}

proptest! {
    #[test]
    fn spans_are_projected_along_a_permutation(
        (size, order, a, b) in (2usize..12).prop_flat_map(|size| (
            Just(size), Just((0..size).collect::<Vec<_>>()).prop_shuffle(), 0..size, 0..size,
        )),
    ) {
        let linked: Vec<(usize, usize)> = order.iter().copied().enumerate().collect();
        let span = a.min(b)..a.max(b) + 1;
        let targets: Vec<usize> = span.clone().map(|row| order[row]).collect();
        let larger_gap = ProjectionConfig { max_gap: size, ..ProjectionConfig::default() };
        let actual = project(link_matrix(size, size, &linked).view(), span, &larger_gap).unwrap();
        let covering_span = *targets.iter().min().unwrap()..*targets.iter().max().unwrap() + 1;
        prop_assert_eq!(actual, Some(covering_span));
    }

    #[test]
    fn projected_spans_are_in_the_target_and_end_at_links(
        values in prop::collection::vec(-1.0f32..1.0, 42), a in 0usize..6, b in 0usize..6, max_gap in 0usize..8,
    ) {
        let similarity = Array2::from_shape_vec((6, 7), values).unwrap();
        let span = a.min(b)..a.max(b) + 1;
        let config = ProjectionConfig { max_gap, ..ProjectionConfig::default() };
        let actual = project(similarity.view(), span.clone(), &config).unwrap();
        // Target tokens of mutual best matches, computed without `project`.
        let mutual_links: Vec<usize> = (0..7).filter(|&j| span.clone().any(|i| {
            let v = similarity[(i, j)];
            v >= 0.0 && (0..7).all(|k| similarity[(i, k)] <= v) && (0..6).all(|k| similarity[(k, j)] <= v)
        })).collect();
        match actual {
            None => prop_assert!(mutual_links.is_empty()),
            Some(actual) => {
                prop_assert!(actual.end <= 7);
                prop_assert!(mutual_links.contains(&actual.start) && mutual_links.contains(&(actual.end - 1)));
                let links_inside: Vec<usize> = mutual_links.into_iter().filter(|j| actual.contains(j)).collect();
                prop_assert!(links_inside.windows(2).all(|pair| pair[1] - pair[0] <= max_gap + 1));
            }
        }
    }
}

#[test]
fn tokens_without_similar_tokens_are_not_linked() {
    let similarity = array![[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    assert_eq!(run(&similarity, 0..1), None);
    assert_eq!(run(&similarity, 0..3), Some(1..3));
    let negative = ProjectionConfig { min_similarity: -0.1, ..ProjectionConfig::default() };
    assert_eq!(project(similarity.view(), 0..1, &negative).unwrap(), Some(0..1));
}

#[test]
fn all_links_of_a_token_are_projected() {
    // "Rathaus" is linked to "town" and "hall"; "New York" is linked to one token.
    let links = [(0, 4), (0, 5), (1, 2), (2, 2), (3, 9)];
    assert_eq!(project_links(&links, 0..1, 3), Some(4..6));
    assert_eq!(project_links(&links, 1..3, 3), Some(2..3));
    assert_eq!(project_links(&links, 0..3, 3), Some(2..6));
    // A larger gap splits the links, and the group with more links is used.
    assert_eq!(project_links(&links, 0..4, 2), Some(2..6));
    assert_eq!(project_links(&[(0, 7), (0, 1)], 0..1, 2), Some(1..2));
    assert_eq!(project_links(&links, 4..9, 3), None);
}

#[test]
fn grow_diag_links_tokens_to_several_tokens() {
    // Target token 1 is the most similar target token of the source tokens 1 and 2, and most similar
    // to source token 1. Source token 0 is similar to the target tokens 3 and, less, 4.
    let similarity = array![
        [0.0, 0.1, 0.0, 0.9, 0.8],
        [0.1, 0.9, 0.2, 0.0, 0.0],
        [0.0, 0.7, 0.1, 0.1, 0.2],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ];
    let grow_diag = ProjectionConfig {
        symmetrization: Symmetrization::GrowDiag,
        ..ProjectionConfig::default()
    };
    let grown = |span| project(similarity.view(), span, &grow_diag).unwrap();
    assert_eq!((run(&similarity, 0..1), grown(0..1)), (Some(3..4), Some(3..5)));
    assert_eq!((run(&similarity, 2..3), grown(2..3)), (None, Some(1..2)));
    assert_eq!(grown(3..4), None);
    let mut invalid = similarity.clone();
    invalid[(3, 4)] = f32::NAN;
    let error = project(invalid.view(), 0..1, &grow_diag).unwrap_err().to_string();
    assert!(error.contains("row 3, column 4"), "{error}");
}
