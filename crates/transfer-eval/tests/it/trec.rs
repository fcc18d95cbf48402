//! Tests of scores of TREC runs.
use std::collections::BTreeMap;

use testkit::Program;
use transfer_eval::retrieval::{Qrels, Run, score_run};

const QRELS: &str = "\
q1 0 a 1\nq1 0 b 2\nq1 0 z 1\nq1 0 c 0\nq2 0 a 1\nq3 0 a 0\nq4 0 d 1\n";
// The order of lines and the column rank differ from the order of scores; b and c have equal scores.
const RUN: &str = "\
q1 Q0 d 1 0.1 t\nq1 Q0 a 9 2.5 t\nq1 Q0 b 3 1e-1 t\nq1 Q0 c 4 1.5 t\n\
q2 Q0 b 1 0.5 t\nq2 Q0 c 2 0.5 t\nq2 Q0 a 3 -7 t\n\
q3 Q0 a 1 1 t\nq9 Q0 a 1 1 t\n";

fn files() -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_transfer-eval"));
    program.write("qrels", QRELS);
    program.write("run", RUN);
    program
}

/// The expected values are those of pytrec-eval-terrier 0.5.11 (`map`, `map_cut`, `recip_rank`,
/// `recall`, `success`), averaged over q1, q2 and q4, of which q4 has no ranking. q3 has no
/// relevant document and is ignored; trec_eval scores it 0.
#[test]
fn scores_equal_trec_eval() {
    let program = files();
    let qrels = Qrels::read(program.path_of("qrels")).unwrap();
    let run = Run::read(program.path_of("run")).unwrap();
    let order = |query: &str| run.rankings[query].join(" ");
    assert_eq!((order("q1"), order("q2")), ("a c d b".into(), "c b a".into()));
    let score = score_run(&qrels, &run, &[1, 3]).unwrap();
    assert_eq!((score.queries, score.without_ranking, score.unjudged), (3, 1, 2));
    let close = |value: f64, expected: f64| {
        assert!((value - expected).abs() < 1e-12, "{value}, expected {expected}");
    };
    close(score.all.map, ((1.0 + 2.0 / 4.0) / 3.0 + 1.0 / 3.0) / 3.0);
    close(score.all.mrr, (1.0 + 1.0 / 3.0) / 3.0);
    close(score.all.recall, (2.0 / 3.0 + 1.0) / 3.0);
    close(score.all.success, 2.0 / 3.0);
    close(score.cutoffs[&1].map, 1.0 / 9.0);
    close(score.cutoffs[&1].success, 1.0 / 3.0);
    close(score.cutoffs[&3].map, (1.0 / 3.0 + 1.0 / 3.0) / 3.0);
    close(score.cutoffs[&3].recall, (1.0 / 3.0 + 1.0) / 3.0);
    assert_eq!(score.cutoffs.keys().collect::<Vec<_>>(), [&1, &3]);
}

#[test]
fn the_program_prints_scores_and_names_invalid_lines() {
    let program = files();
    let out = program.expect_success("retrieval run qrels run --cutoffs 2").out;
    let score: BTreeMap<String, serde_json::Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(score["queries"], 3);
    assert_eq!(score["cutoffs"]["2"]["mrr"].as_f64(), Some(1.0 / 3.0));
    for (name, text, expected) in [
        ("run", "q1 Q0 a 1 0.5\n", "run:1: 5 columns; expected 6"),
        ("run", "\nq1 Q0 a 1 high t\n", "run:2: score"),
        ("run", "q1 Q0 a 1 nan t\n", "finite"),
        ("run", "q1 Q0 a 1 1 t\nq1 Q0 a 2 1 t\n", "run:2: document `a`"),
        ("run", "q8 Q0 a 1 1 t\n", "no ranking"),
        ("run", "", "no ranked document"),
        ("qrels", "q1 0 a yes\n", "qrels:1: relevance"),
        ("qrels", "q1 0 a 1\nq1 0 a 1\n", "qrels:2: document `a`"),
        ("qrels", "q1 0 a 0\n", "no relevant document"),
    ] {
        let program = files();
        program.write(name, text);
        program.expect_only_error("retrieval run qrels run", &[expected]);
    }
    program.expect_only_error("retrieval run qrels run --cutoffs 0", &["cutoffs = 0"]);
}
