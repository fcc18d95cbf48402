//! Tests of typed clozes of mLAMA: candidates, ranks, scores and baselines.
use std::path::PathBuf;

use tokenizers::Tokenizer;
use transfer_eval::lama::{TypedClozes, build_typed_clozes, read_mlama};

fn tokenizer() -> Tokenizer {
    crate::families::tokenizer("tokenizer")
}

fn write_files(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().to_path_buf();
    (folder, path)
}

const TEMPLATES: (&str, &str) = (
    "templates.jsonl",
    "{\"relation\":\"P37\",\"template\":\"[Y] is spoken in [X] .\"}\n\
     {\"relation\":\"P36\",\"template\":\"The capital of [X] is [Y] .\"}\n\
     {\"relation\":\"P99\",\"template\":\"[X] has [Y] .\"}\n",
);

fn fact(subject: &str, object: &str) -> String {
    format!(
        "{{\"sub_uri\":\"{subject}\",\"obj_uri\":\"{object}\",\"sub_label\":\"{subject}\",\
         \"obj_label\":\"{object}\",\"lineid\":3}}\n"
    )
}

fn example_clozes() -> TypedClozes {
    let languages = fact("India", "Hindi") + &fact("India", "English") + &fact("France", "French");
    let capitals = fact("France", "Paris") + &fact("India", "New Delhi");
    let files = [TEMPLATES, ("P37.jsonl", &languages), ("P36.jsonl", &capitals)];
    let (_folder, path) = write_files(&files);
    build_typed_clozes(&read_mlama(path).unwrap(), &tokenizer(), 64).unwrap()
}

#[test]
fn candidates_are_the_objects_of_the_relation() {
    let built = example_clozes();
    assert_eq!(built.clozes.len(), 5);
    assert_eq!(built.relations.len(), 2); // P99 has no file
    let text = |ids: &[u32]| tokenizer().decode(ids, true).unwrap();
    let mut words: Vec<String> =
        built.relations[0].candidates.iter().map(|ids| text(ids)).collect();
    words.sort();
    assert_eq!(words, ["English", "French", "Hindi"]);
    let hindi = &built.clozes[0];
    assert_eq!(text(&built.relations[0].candidates[hindi.gold]), "Hindi");
    assert_eq!(hindi.other_correct.len(), 1); // English
    assert_eq!(text(&hindi.after).trim(), "is spoken in India .");
    assert_eq!(hindi.before.len(), 1); // <s>
    let delhi = &built.clozes[4];
    assert!(built.candidates(delhi)[delhi.gold].len() > 1, "an object of several pieces");
}

#[test]
fn other_correct_answers_are_not_ranked_and_ties_rank_last() {
    let built = example_clozes();
    let hindi = &built.clozes[0];
    let scores = |score: &dyn Fn(usize) -> f32| (0..3).map(score).collect::<Vec<f32>>();
    let english_index = *hindi.other_correct.first().unwrap();
    let english_scores = scores(&|k| if k == english_index { 9.0 } else { k as f32 * 0.0 });
    assert_eq!(built.rank(hindi, &english_scores).unwrap(), 2); // French is equal
    let hindi_scores = scores(&|k| if k == hindi.gold { 1.0 } else { 0.5 });
    assert_eq!(built.rank(hindi, &hindi_scores).unwrap(), 1);
    assert!(built.rank(hindi, &[1.0]).is_err());
    assert!(built.rank(hindi, &[f32::NAN, 0.0, 0.0]).is_err());
}

#[test]
fn scores_are_means_over_relations() {
    let built = example_clozes();
    let score = built.score(&[1, 1, 2, 1, 1]).unwrap();
    assert!((score.macro_average.p_at_1 - (200.0 / 3.0 + 100.0) / 2.0).abs() < 1e-9);
    assert!((score.micro.p_at_1 - 80.0).abs() < 1e-9);
    // There are two candidates for each fact of India, three for France's language, two for each
    // capital.
    let expected = ((50.0 + 50.0 + 100.0 / 3.0) / 3.0 + 50.0) / 2.0;
    assert!((built.random_baseline() - expected).abs() < 1e-9);
    assert!(built.score(&[1]).is_err());
}

#[test]
fn frequency_baseline_counts_trained_facts_of_the_relation() {
    let built = example_clozes();
    let languages = fact("Peru", "English") + &fact("Chile", "English") + &fact("Goa", "Hindi");
    // Objects of other relations and objects that are not candidates are ignored.
    let capitals = fact("Goa", "French") + &fact("Italy", "Rome");
    let files = [TEMPLATES, ("P37.jsonl", &languages), ("P36.jsonl", &capitals)];
    let (_folder, path) = write_files(&files);
    let trained = build_typed_clozes(&read_mlama(path).unwrap(), &tokenizer(), 64).unwrap();
    // Both facts of India are predicted correctly, because the other correct language is not a
    // candidate; the fact of France is predicted incorrectly. Each of the two capitals, which were
    // not trained, is predicted with probability 1/2.
    let expected = (200.0 / 3.0 + 50.0) / 2.0;
    assert!((built.frequency_baseline(&trained) - expected).abs() < 1e-9);
    // Each object occurs once in the evaluated facts, so the baselines are equal.
    assert!((built.frequency_baseline(&built) - built.random_baseline()).abs() < 1e-9);
}

#[test]
fn errors_name_damaged_files_and_long_inputs() {
    let (_folder, path) = write_files(&[TEMPLATES, ("P36.jsonl", "{\"sub_uri\":\"x\"}\n")]);
    let error = read_mlama(&path).unwrap_err().to_string();
    assert!(error.contains("P36.jsonl:1") && error.contains("obj_uri"), "{error}");
    let (_folder, path) = write_files(&[TEMPLATES]);
    assert!(read_mlama(&path).unwrap_err().to_string().contains("no fact of any relation"));
    let (_folder, path) = write_files(&[TEMPLATES, ("P36.jsonl", &fact("France", "Paris"))]);
    let facts = read_mlama(&path).unwrap();
    let error = build_typed_clozes(&facts, &tokenizer(), 5).unwrap_err().to_string();
    assert!(error.starts_with("fact 1: 1 of P36: ") && error.contains("limit is 5"), "{error}");
}
