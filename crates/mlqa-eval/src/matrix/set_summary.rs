//! Scores of one or several seeds on an evaluation set, such as MLQA.
use std::collections::BTreeMap;

use results::{AVERAGE, MeanInterval, OverSeeds, ScoreMeans, over_seeds};
use serde::{Deserialize, Serialize};

use crate::{BoundaryCounts, Cell, Language, Matrix};

/// The scores of one question file, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct FileScore {
    /// Language of context and answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
    /// Number of questions.
    pub questions: usize,
    /// F1 under MLQA's normalisation.
    pub f1: f64,
    /// Exact match under MLQA's normalisation.
    pub em: f64,
    /// F1 under SQuAD's English normalisation; `None` if not reported.
    pub squad_f1: Option<f64>,
    /// Exact match under SQuAD's English normalisation; `None` if not reported.
    pub squad_em: Option<f64>,
    /// Exact match within the k best answers, by k, under MLQA's normalisation.
    pub top_k: BTreeMap<String, f64>,
    /// Numbers of predictions by boundary class, under MLQA's normalisation.
    pub boundary: BoundaryCounts,
}

/// The scores of all files of each evaluation set, such as `mlqa`, for one model.
pub type SetScores = BTreeMap<String, Vec<FileScore>>;

impl FileScore {
    /// Returns the scores under MLQA's normalisation.
    fn mlqa_scores(&self) -> Option<ScoreMeans> {
        Some(ScoreMeans { f1: self.f1, em: self.em, ..ScoreMeans::default() })
    }

    /// Returns the scores under SQuAD's English normalisation; `None` if they are not reported.
    fn squad_scores(&self) -> Option<ScoreMeans> {
        let (f1, em) = self.squad_f1.zip(self.squad_em)?;
        Some(ScoreMeans { f1, em, ..ScoreMeans::default() })
    }
}

impl Matrix {
    /// Creates a matrix from the F1 and exact match of files. If a pair of languages occurs twice,
    /// the scores of its first file are used.
    pub fn of_files<'a>(
        title: impl Into<String>,
        files: impl IntoIterator<Item = &'a FileScore>,
    ) -> Self {
        Self::of_scores(title, files, FileScore::mlqa_scores)
    }

    fn of_scores<'a>(
        title: impl Into<String>,
        files: impl IntoIterator<Item = &'a FileScore>,
        scores: impl Fn(&FileScore) -> Option<ScoreMeans>,
    ) -> Self {
        let mut matrix = Self::new(title);
        for file in files {
            let &FileScore { context, question, questions, .. } = file;
            if let (None, Some(means)) = (matrix.get(context, question), scores(file)) {
                matrix.insert(context, question, Cell::of(means, questions));
            }
        }
        matrix
    }

    /// Creates a matrix for each evaluation set, with means and intervals over seeds. The title
    /// includes the set's name.
    ///
    /// If all files of a set have scores under SQuAD's English normalisation (as XQuAD's do), the
    /// matrix `<set>` has these scores, and the matrix `<set>-mlqa-rules` has the scores under
    /// MLQA's normalisation. Other sets have scores under MLQA's normalisation only.
    ///
    /// ```
    /// use mlqa_eval::{BoundaryCounts, FileScore, Language, Matrix, SetScores};
    ///
    /// let file = FileScore {
    ///     context: Language::DE,
    ///     question: Language::DE,
    ///     questions: 100,
    ///     f1: 60.0,
    ///     em: 40.0,
    ///     squad_f1: Some(58.0),
    ///     squad_em: Some(37.0),
    ///     top_k: [].into(),
    ///     boundary: BoundaryCounts::default(),
    /// };
    /// let matrices = Matrix::by_set("a run", &[&SetScores::from([("xquad".into(), vec![file])])]);
    /// let f1 = |set: &str| matrices[set].get(Language::DE, Language::DE).map(|cell| cell.f1);
    /// assert_eq!((f1("xquad"), f1("xquad-mlqa-rules")), (Some(58.0), Some(60.0)));
    /// assert_eq!(matrices["xquad"].title, "a run, xquad, SQuAD's English rules");
    /// ```
    pub fn by_set(title: &str, seeds: &[&SetScores]) -> BTreeMap<String, Self> {
        let matrices = map_sets(seeds, |set, files| {
            let build_matrix = |rules: &str, scores: fn(&FileScore) -> Option<ScoreMeans>| {
                let seeds = files.iter().map(|files| Self::of_scores("", *files, scores));
                let seeds: Vec<Self> = seeds.collect();
                Self::over_seeds(format!("{title}, {set}{rules}"), &seeds)
            };
            if files.iter().copied().flatten().any(|file| file.squad_scores().is_none()) {
                return vec![(set.to_owned(), build_matrix("", FileScore::mlqa_scores))];
            }
            let squad = build_matrix(", SQuAD's English rules", FileScore::squad_scores);
            let name = format!("{set}-mlqa-rules");
            let mlqa = build_matrix(", MLQA's rules", FileScore::mlqa_scores);
            vec![(set.to_owned(), squad), (name, mlqa)]
        });
        matrices.into_values().flatten().collect()
    }
}

/// The scores of an evaluation set over seeds, by context language. The entry for [`AVERAGE`] is
/// the unweighted mean over files.
///
/// ```
/// use mlqa_eval::{BoundaryCounts, FileScore, Language, SetSummary};
///
/// let file = |context, em| FileScore {
///     context,
///     question: context,
///     questions: 100,
///     f1: em + 10.0,
///     em,
///     squad_f1: None,
///     squad_em: None,
///     top_k: [("1".to_owned(), em)].into(),
///     boundary: BoundaryCounts::default(),
/// };
/// let seeds = [
///     vec![file(Language::EN, 60.0), file(Language::DE, 40.0)],
///     vec![file(Language::EN, 62.0), file(Language::DE, 40.0)],
/// ];
/// let set = SetSummary::over_seeds(&seeds);
/// assert_eq!((set.scores["en"].em, set.scores["de"].em_half_width), (61.0, Some(0.0)));
/// assert_eq!(set.scores["average"].f1, 60.5);
/// assert_eq!(set.top_k["average"]["1"], 50.5);
/// assert!(set.squad.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct SetSummary {
    /// F1 and exact match under MLQA's normalisation.
    pub scores: BTreeMap<String, ScoreMeans>,
    /// F1 and exact match under SQuAD's English normalisation; empty if not reported.
    pub squad: BTreeMap<String, ScoreMeans>,
    /// Exact match within the k best answers, by k: the mean over seeds.
    pub top_k: BTreeMap<String, BTreeMap<String, f64>>,
    /// Numbers of predictions by boundary class, summed over seeds. There is no entry for
    /// [`AVERAGE`].
    pub boundary: BTreeMap<String, BoundaryCounts>,
    /// The run's exact match minus a control's exact match, averaged over files; see
    /// [`SetSummary::with_difference`].
    pub difference: Option<MeanInterval>,
}

impl SetSummary {
    /// Aggregates the files of several seeds. Only values present for every seed are included.
    pub fn over_seeds<F: AsRef<[FileScore]>>(seeds: &[F]) -> Self {
        let scores =
            |value: fn(&FileScore) -> Option<ScoreMeans>| over_seeds(&language_means(seeds, value));
        let mut summary = Self {
            scores: scores(FileScore::mlqa_scores),
            squad: scores(FileScore::squad_scores),
            ..Self::default()
        };
        for k in seeds.iter().take(1).flat_map(AsRef::as_ref).flat_map(|file| file.top_k.keys()) {
            let scores = over_seeds(&language_means(seeds, |file| file.top_k.get(k).copied()));
            for (name, em) in scores {
                summary.top_k.entry(name).or_default().insert(k.clone(), em.mean);
            }
        }
        for file in seeds.iter().flat_map(AsRef::as_ref) {
            let counts = summary.boundary.entry(file.context.to_string()).or_default();
            *counts = counts.plus(&file.boundary);
        }
        summary
    }

    /// Aggregates each evaluation set over several seeds. `control` has the scores of a control run
    /// for the same seeds; it may be empty.
    pub fn by_set(seeds: &[&SetScores], control: &[&SetScores]) -> BTreeMap<String, Self> {
        map_sets(seeds, |set, files| {
            Self::over_seeds(files).with_difference(files, &files_of(control, set))
        })
    }

    /// Sets [`SetSummary::difference`]. `seeds` has the run's files for each seed, and `control`
    /// has the control's files for the same seeds in the same order.
    #[must_use]
    pub fn with_difference<F: AsRef<[FileScore]>>(self, seeds: &[F], control: &[F]) -> Self {
        let em = |seeds: &[F]| language_means(seeds, |file| Some(file.em));
        let average = |seed: &BTreeMap<String, MeanInterval>| seed.get(AVERAGE).map(|em| em.mean);
        let differences: Option<Vec<f64>> = em(seeds)
            .iter()
            .zip(&em(control))
            .map(|(run_em, control_em)| Some(average(run_em)? - average(control_em)?))
            .collect();
        let differences = differences.filter(|differences| !differences.is_empty());
        Self { difference: differences.map(MeanInterval::of), ..self }
    }
}

/// Computes a value for each evaluation set. The arguments of `value` are the set's name and, for
/// every seed, the scores of the set's files.
fn map_sets<T>(
    seeds: &[&SetScores],
    value: impl Fn(&str, &[&[FileScore]]) -> T,
) -> BTreeMap<String, T> {
    let sets = seeds.iter().flat_map(|seed| seed.keys());
    sets.map(|set| (set.clone(), value(set, &files_of(seeds, set)))).collect()
}

fn files_of<'a>(seeds: &[&'a SetScores], set: &str) -> Vec<&'a [FileScore]> {
    seeds.iter().filter_map(|seed| seed.get(set).map(Vec::as_slice)).collect()
}

/// Computes several means for each seed: over the files of each context language, and over all
/// files. A mean is absent if `value` is `None` for one of its files.
fn language_means<F: AsRef<[FileScore]>, V: OverSeeds>(
    seeds: &[F],
    value: impl Fn(&FileScore) -> Option<V>,
) -> Vec<BTreeMap<String, V::Summary>> {
    let seed_means = |files: &F| {
        let mut groups: BTreeMap<String, Vec<Option<V>>> = BTreeMap::new();
        for file in files.as_ref() {
            for name in [file.context.as_str(), AVERAGE] {
                groups.entry(name.to_owned()).or_default().push(value(file));
            }
        }
        let mean = |(name, values): (String, Vec<Option<V>>)| {
            Some((name, over_seeds(&values.into_iter().collect::<Option<Vec<V>>>()?)))
        };
        groups.into_iter().filter_map(mean).collect()
    };
    seeds.iter().map(seed_means).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(context: Language, em: f64, squad: Option<f64>) -> FileScore {
        FileScore {
            context,
            question: context,
            questions: 10,
            f1: 2.0 * em,
            em,
            squad_f1: squad,
            squad_em: squad,
            top_k: [("1".to_owned(), em), ("3".to_owned(), em + 1.0)].into(),
            boundary: BoundaryCounts { exact: 1, disjoint: 2, ..Default::default() },
        }
    }

    fn seed(en: f64, de: f64, squad: Option<f64>) -> Vec<FileScore> {
        vec![file(Language::EN, en, squad), file(Language::DE, de, Some(5.0))]
    }

    #[test]
    fn means_are_taken_over_files_first_and_then_over_seeds() {
        let set = SetSummary::over_seeds(&[seed(10.0, 20.0, None), seed(14.0, 20.0, None)]);
        let average = set.scores[AVERAGE];
        assert_eq!((average.em, average.em_half_width), (16.0, Some(12.706))); // seeds: 15, 17
        assert_eq!((set.scores["en"].f1, set.scores["de"].em_half_width), (24.0, Some(0.0)));
        assert_eq!(set.top_k["en"]["3"], 13.0);
        assert_eq!(set.boundary["en"].questions(), 6);
        assert!(!set.boundary.contains_key(AVERAGE));
        // English has no scores under SQuAD's rules, so there is no average of these scores.
        assert_eq!(set.squad.keys().collect::<Vec<_>>(), ["de"]);
        assert!(SetSummary::over_seeds::<Vec<FileScore>>(&[]).scores.is_empty());
    }

    #[test]
    fn the_difference_is_paired_by_seed() {
        let control = [seed(10.0, 20.0, None), seed(20.0, 30.0, None)];
        let better = [seed(12.0, 20.0, None), seed(26.0, 30.0, None)];
        let set = SetSummary::over_seeds(&better).with_difference(&better, &control);
        let difference = set.difference.unwrap();
        assert_eq!((difference.mean, difference.half_width), (2.0, Some(12.706))); // seeds: 1, 3
        assert_eq!(SetSummary::over_seeds(&better).with_difference(&better, &[]).difference, None);
    }

    #[test]
    fn sets_are_aggregated_separately() {
        let seed_scores = |em| {
            let set = |name: &str, em| (name.to_owned(), vec![file(Language::EN, em, None)]);
            SetScores::from([set("mlqa", em), set("xquad", em + 10.0)])
        };
        let (seeds, control) =
            ([seed_scores(20.0), seed_scores(22.0)], [seed_scores(20.0), seed_scores(20.0)]);
        let (seeds, control): (Vec<_>, Vec<_>) = (seeds.iter().collect(), control.iter().collect());
        let sets = SetSummary::by_set(&seeds, &control);
        assert_eq!((sets["mlqa"].scores["en"].em, sets["xquad"].scores["en"].em), (21.0, 31.0));
        assert_eq!(sets["xquad"].difference.map(|difference| difference.mean), Some(1.0));
        assert!(SetSummary::by_set(&seeds, &[])["mlqa"].difference.is_none());
        let matrices = Matrix::by_set("a run", &seeds);
        assert_eq!(matrices["xquad"].title, "a run, xquad");
        assert_eq!(matrices["xquad"].xlt().map(|mean| mean.em), Some(31.0));
        assert_eq!(matrices.len(), 2);
    }

    #[test]
    fn a_set_with_squad_scores_has_a_matrix_for_each_normalisation() {
        let set = |files| SetScores::from([("xquad".to_owned(), files)]);
        let (first, second) = (seed(10.0, 20.0, Some(7.0)), seed(12.0, 20.0, Some(9.0)));
        let matrices = Matrix::by_set("a run", &[&set(first), &set(second)]);
        let em = |name: &str, code| {
            matrices[name].get(code, code).map(|cell| (cell.em, cell.em_half_width))
        };
        let half_width = Some(12.706);
        assert_eq!(em("xquad", Language::EN), Some((8.0, half_width)));
        assert_eq!(em("xquad", Language::DE), Some((5.0, Some(0.0))));
        assert_eq!(em("xquad-mlqa-rules", Language::EN), Some((11.0, half_width)));
        assert_eq!(matrices["xquad-mlqa-rules"].title, "a run, xquad, MLQA's rules");
        // If a language has no scores under SQuAD's rules, the set uses MLQA's rules.
        let matrices = Matrix::by_set("a run", &[&set(seed(10.0, 20.0, None))]);
        assert_eq!(matrices.keys().collect::<Vec<_>>(), ["xquad"]);
        assert_eq!(matrices["xquad"].title, "a run, xquad");
    }
}
