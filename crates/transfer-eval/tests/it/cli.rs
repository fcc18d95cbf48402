//! Tests of the program's commands.
use serde_json::Value;
use testkit::{Arguments, Program};

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_transfer-eval"))
}

fn run_json(program: &Program, arguments: &(impl Arguments + ?Sized)) -> Value {
    serde_json::from_str(&program.expect_success(arguments).out).unwrap()
}

#[test]
fn predictions_may_have_other_line_ends() {
    let program = program();
    let gold = "\u{feff}language\tgold_label\tsentence1\tsentence2\r\nsw\tneutral\tJe?\tNdiyo.\r\n  \r\n\n";
    program.write("gold.tsv", gold);
    // The file has a byte order mark, Windows line breaks and a blank last line.
    program.write("labels.txt", "\u{feff}neutral\r\n\r\n");
    let score = run_json(&program, "xnli gold.tsv labels.txt");
    assert_eq!(score["languages"]["sw"]["accuracy"].as_f64(), Some(100.0));
    assert_eq!(program.run("xnli gold.tsv labels.txt").err, "");
    // A truncated label could be invalid or another label, so the program prints a note.
    program.write("cut.txt", "neutral");
    let note = program.expect_success("xnli gold.tsv cut.txt").err;
    assert!(note.starts_with("note: ") && note.contains("cut.txt: the last line"), "{note}");
    program.write("blank.txt", "\nneutral\n");
    program.expect_only_error("xnli gold.tsv blank.txt", &["blank.txt:1"]);
    program.write("run.jsonl", "{\"model\": \"\u{202e}\u{1b}[2J\n");
    program.expect_only_error("table 001-3 --run run.jsonl", &["run.jsonl:1"]);
}

#[test]
fn inputs_are_not_overwritten() {
    let program = program();
    let descriptions: String =
        (0..9).map(|k| format!("{{\"entity\": \"Q{k}\", \"language\": \"de\"}}\n")).collect();
    program.write("descriptions.jsonl", descriptions);
    let query = "{\"id\": \"q\", \"entity\": \"Q3\", \"language\": \"en\"}\n";
    program.write("queries.jsonl", query);
    let list =
        "retrieval list --descriptions descriptions.jsonl --queries queries.jsonl --size 5 --out ";
    let words = ["queries.jsonl", "one of the inputs"];
    program.expect_only_error(&format!("{list} queries.jsonl"), &words);
    assert_eq!(program.read("queries.jsonl"), query);
    let drawn_list: Value = serde_json::from_str(&program.run(&format!("{list} -")).out).unwrap();
    assert_eq!(drawn_list["candidates"].as_array().unwrap().len(), 5);
}

#[test]
fn ner_prints_scores_and_rejects_invalid_files() {
    let program = program();
    let gold = "data/uner/de_pud.test.iob2.gz";
    let report = run_json(&program, &["ner", gold, gold]);
    assert_eq!(report["micro"]["f1"].as_f64(), Some(1.0));
    assert_eq!(report["micro"]["support"].as_u64(), Some(1039));
    assert_eq!(report["types"]["PER"]["support"].as_u64(), Some(418));
    assert_eq!(report["sentences"].as_u64(), Some(1000));

    for (name, text) in [
        ("gold", "de:Kori\tB-PER\nde:Schulman\tI-PER\nde:sagt\tO\n\nde:Berlin\tB-LOC\n"),
        ("predicted", "Kori I-PER\nSchulman I-PER\nsagt I-PER\n\nBerlin I-LOC\n"),
        ("few", "Kori O\nSchulman O\nsagt O\n"),
        ("other", "Kori O\nSchulman O\nsagt O\n\n\nBonn O\n"),
        ("short", "Kori O\nSchulman O\n\nBerlin O\n"),
        ("bad", "Kori O\nSchulman PER\n"),
    ] {
        program.write(&format!("{name}.txt"), text);
    }
    let f1 = |arguments: &str| run_json(&program, arguments)["micro"]["f1"].as_f64();
    assert_eq!(f1("ner gold.txt predicted.txt"), Some(0.5));
    assert_eq!(f1("ner gold.txt predicted.txt --strict"), Some(0.0));
    let line = "ner gold.txt predicted.txt";
    let notes = program.expect_success(line).err;
    assert_eq!(notes, "note: gold.txt: format WikiAnn\nnote: predicted.txt: format CoNLL\n");
    let mismatch = ["other.txt:6: sentence 2 (line 5 of the gold file)", "`Bonn`", "`Berlin`"];
    program.expect_only_errors(&[
        ("ner gold.txt few.txt", &["1 predictions for 2 sentences", "sentence 2 (line 5)"]),
        ("ner gold.txt other.txt", &mismatch),
        ("ner gold.txt short.txt", &["short.txt:1: sentence 1 (line 1", "2 words", "has 3"]),
        ("ner gold.txt bad.txt", &["bad.txt:2:", "`PER`"]),
        ("ner gold.txt none.txt", &["none.txt", "No such file"]),
    ]);
}

#[test]
fn ner_formats_are_decided_by_all_lines() {
    let program = program();
    // Expected scores: seqeval 1.2.2.
    let gold = "1\tCD\tB-NP\tO\nMeyer\tNNP\tI-NP\tB-PER\n(\t(\tO\tO\nBonn\tNNP\tB-NP\tB-LOC\n\n\
                2\tCD\tB-NP\tO\nRoth\tNNP\tI-NP\tB-PER\n";
    program.write("gold.tsv", gold);
    program.write("predicted.tsv", gold.replace("B-LOC", "O"));
    for format in ["", "--format conll"] {
        let line = format!("ner gold.tsv predicted.tsv {format}");
        let micro = run_json(&program, line.as_str())["micro"].clone();
        let values = ["precision", "f1", "support"].map(|key| micro[key].as_f64().unwrap());
        assert_eq!(values, [1.0, 0.8, 3.0], "{format}");
    }
    // Sentences of one word, which is "1": the tags are in the last column, not in the third.
    program.write("ones.tsv", "1\tCD\tB-NP\tO\n\n1\tCD\tB-NP\tO\n");
    assert_eq!(run_json(&program, "ner ones.tsv ones.tsv")["micro"]["support"], 0);
    let ambiguous = "1\tCD\tB-NP\tO\n2\tCD\tI-NP\tB-LOC\n";
    program.write("ambiguous.tsv", ambiguous);
    program.expect_only_errors(&[
        ("ner ambiguous.tsv ambiguous.tsv", &["ambiguous.tsv", "ambiguous", "--format"]),
        (
            "ner gold.tsv predicted.tsv --format universal-ner",
            &["gold.tsv:2: index `Meyer`, but the next word is number 2"],
        ),
    ]);
    let line = "ner ambiguous.tsv ambiguous.tsv --format conll";
    assert_eq!(run_json(&program, line)["types"]["LOC"]["support"], 1);
}

#[test]
fn relations_prints_scores_and_rejects_invalid_files() {
    let program = program();
    let gold = std::fs::read_to_string(testkit::fixture("transfer/relations.json")).unwrap();
    program.write("gold.json", gold);
    let report = run_json(&program, "relations gold.json gold.json");
    assert_eq!(report["micro"]["f1"].as_f64(), Some(100.0));
    assert_eq!(report["micro"]["gold"].as_u64(), Some(3));
    // The official scorer prints 50.000%, 33.333% and 40.000% for these files.
    program.write("gold.txt", "a\nb\nb\nno_relation\n");
    program.write("predicted.txt", "a\nno_relation\na\nno_relation\r\n\n");
    let micro = run_json(&program, "relations gold.txt predicted.txt")["micro"].clone();
    let values = ["precision", "recall", "f1"].map(|key| micro[key].as_f64().unwrap());
    assert_eq!(values.map(|value| format!("{value:.3}")), ["50.000", "33.333", "40.000"]);
    program.write("few.txt", "a\n");
    program.write("blank.txt", "a\n\nb\nb\n");
    program.write("empty.txt", "\n");
    program.write("bad.json", "[{\"id\": \"x\"}]");
    program.expect_only_errors(&[
        ("relations gold.txt few.txt", &["1 predictions for 4 examples", "example 2 (b)"]),
        ("relations gold.txt blank.txt", &["blank.txt:2: blank"]),
        ("relations gold.txt empty.txt", &["empty.txt", "one relation per line"]),
        ("relations bad.json few.txt", &["bad.json", "example 1 (`x`)", "missing field"]),
        ("relations none.txt few.txt", &["none.txt"]),
    ]);
}

#[test]
fn oie_prints_scores_and_rejects_invalid_files() {
    let program = program();
    for name in ["gold.tsv", "predicted.tsv"] {
        program.write(name, std::fs::read(testkit::fixture("transfer/oie").join(name)).unwrap());
    }
    let report = run_json(&program, "oie gold.tsv predicted.tsv --curve curve.tsv");
    assert_eq!(format!("{:.3}", report["auc"].as_f64().unwrap()), "0.603");
    assert_eq!(report["unknown_sentences"].as_u64(), Some(1));
    let curve = std::fs::read_to_string(program.path_of("curve.tsv")).unwrap();
    assert!(curve.starts_with("precision\trecall\tconfidence\n1\t0\t0.95\n"), "{curve}");
    assert_eq!(curve.lines().count(), 12);
    program.write("gold.json", "{\"a\": [{\"pred\": \"is\"}]}");
    program.write("other.tsv", "b\t1\tis\tx\ty\n");
    program.write("few.tsv", "b\t1\n");
    program.expect_only_errors(&[
        ("oie gold.json predicted.tsv", &["gold.json:1", "missing field `arg0`"]),
        ("oie gold.tsv few.tsv", &["few.tsv:1", "2 columns"]),
        ("oie gold.tsv other.tsv", &["predicted sentence 1", "`b`", "in the gold file"]),
        ("oie none.tsv other.tsv", &["none.tsv"]),
    ]);
}

#[test]
fn xnli_prints_scores_and_rejects_invalid_files() {
    let program = program();
    for (name, text) in [
        (
            "xnli.tsv",
            "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta\tb\nde\tentailment\ta\tb\nde\tcontradiction\ta\tb\n",
        ),
        ("p.txt", "neutral\n0\nneutral\n"),
        ("few.txt", "neutral\n0\n"),
        ("bad.txt", "neutral\n3\nneutral\n"),
    ] {
        program.write(name, text);
    }
    let report = run_json(&program, "xnli xnli.tsv p.txt");
    assert_eq!(report["languages"]["de"]["accuracy"].as_f64(), Some(50.0));
    assert_eq!(report["mean"].as_f64(), Some(75.0));
    program.expect_only_errors(&[
        ("xnli xnli.tsv few.txt", &["2 predictions for 3 pairs", "pair 3 (line 4)"]),
        ("xnli xnli.tsv bad.txt", &["bad.txt:2: label `3`", "entailment", "0, 1, 2"]),
        ("xnli p.txt p.txt", &["p.txt:1: no column `gold_label`"]),
        ("xnli xnli.tsv none.txt", &["none.txt"]),
    ]);
}

#[test]
fn lama_builds_and_scores_clozes() {
    let program = program();
    let relation =
        "{\"relation\": \"P19\", \"template\": \"[X] was born in [Y] .\", \"type\": \"N-1\"}\n";
    program.write("relations.jsonl", relation);
    let fact = |city: &str| {
        format!("{{\"uuid\": \"{city}\", \"sub_label\": \"Ada\", \"obj_label\": \"{city}\"}}\n")
    };
    program.write("TREx/P19.jsonl", ["Paris", "London", "Tegucigalpa"].map(fact).concat());
    let build = "lama clozes --data . --corpus t-rex --tokenizer fixtures/tokenizer.json --out clozes.jsonl";
    let message = program.expect_success(build).err;
    assert!(message.starts_with("3 clozes of 3 facts; skipped: 0 outside"), "{message}");
    let lines = program.read("clozes.jsonl");
    let gold = |line: &str| serde_json::from_str::<Value>(line).unwrap()["gold"].clone();
    let golds: Vec<Value> = lines.lines().map(gold).collect();
    assert!(golds[0].is_u64() && golds[2].is_null());

    let best = format!(
        "{{\"id\": \"Paris\", \"best\": [{}]}}\n{{\"id\": \"London\", \"rank\": 4}}\n{{\"id\": \"Tegucigalpa\", \"rank\": null}}\n",
        golds[0]
    );
    program.write("best.jsonl", best);
    let report = run_json(
        &program,
        "lama score clozes.jsonl best.jsonl --relations relations.jsonl --corpus t-rex \
         --model ours --measured run.jsonl",
    );
    assert_eq!(report["kinds"]["N-1"]["p_at_1"].as_f64(), Some(100.0 / 3.0));
    assert_eq!(report["micro"]["p_at_10"].as_f64(), Some(200.0 / 3.0));
    let row = "| T-REx N-1 | 20006 | 23 | 22.0 | 25.1 | 27.3 | 21.9 | 29.4 | 33.3 |";
    assert!(program.run("table 001-5 --run run.jsonl").out.contains(row));

    for (name, text) in [
        ("swapped", "{\"id\": \"London\", \"best\": []}\n"),
        ("few", "{\"id\": \"Paris\", \"best\": []}\n"),
        ("cut", "{\"id\": \"Paris\", \"best\": []}\n{\"id\": \"Lon"),
        ("zero", "{\"id\": \"Paris\", \"rank\": 0}\n"),
        ("broken", &lines.replace("\"mask\":", "\"mask\":9")),
        ("TREx/P19", "{\"uuid\": 3}\n"),
    ] {
        program.write(&format!("{name}.jsonl"), text);
    }
    let swapped = ["swapped.jsonl:1:", "`London`", "cloze 1 is `Paris`"];
    let few = ["1 predictions for 3 clozes", "cloze 2 (`London`)"];
    program.expect_only_errors(&[
        ("lama score clozes.jsonl swapped.jsonl", &swapped),
        ("lama score clozes.jsonl few.jsonl", &few),
        ("lama score clozes.jsonl cut.jsonl", &["cut.jsonl:2:", "EOF"]),
        ("lama score clozes.jsonl zero.jsonl", &["zero.jsonl:1: rank 0"]),
        ("lama score broken.jsonl best.jsonl", &["broken.jsonl:1: mask at 9"]),
        (build, &["TREx/P19.jsonl:1: "]),
    ]);
}

#[test]
fn retrieval_draws_and_scores_lists() {
    let program = program();
    let description =
        |k: usize| format!("{{\"entity\": \"Q{k}\", \"language\": \"{}\"}}\n", ["de", "zh"][k % 2]);
    program.write("descriptions.jsonl", (0..6).map(description).collect::<String>());
    let queries = "{\"id\": \"a\", \"entity\": \"Q0\", \"language\": \"en\"}\n{\"id\": \"b\", \"entity\": \"Q1\", \"language\": \"en\"}\n{\"id\": \"c\", \"entity\": \"Q2\", \"language\": \"de\"}\n";
    program.write("queries.jsonl", queries);
    let draw = |size: usize| {
        format!(
            "retrieval list --descriptions descriptions.jsonl --queries queries.jsonl \
             --size {size} --seed 3 --out list.json"
        )
    };
    assert_eq!(
        program.expect_success(&draw(5)).err,
        "5 candidates, 2 queries; skipped: 0 without a description, 1 in the language of their candidate\n"
    );
    let list: Value = serde_json::from_str(&program.read("list.json")).unwrap();
    let golds =
        [0, 1].map(|k| usize::try_from(list["queries"][k]["gold"].as_u64().unwrap()).unwrap());

    // The vector of the first query equals the vector of its candidate. The vector of the second
    // query is the negative vector of its candidate.
    let one_hot = |at: usize, value: f32| (0..5).map(move |k| if k == at { value } else { 0.0 });
    let bytes =
        |values: Vec<f32>| -> Vec<u8> { values.into_iter().flat_map(f32::to_le_bytes).collect() };
    let query_bytes = bytes(one_hot(golds[0], 1.0).chain(one_hot(golds[1], -1.0)).collect());
    let candidate_bytes = bytes((0..5).flat_map(|k| one_hot(k, 1.0)).collect());
    let write_vectors = |rows: usize| {
        let view = |shape: Vec<usize>, bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap()
        };
        let tensors = [
            ("queries", view(vec![2, 5], &query_bytes)),
            ("candidates", view(vec![rows, 5], &candidate_bytes[..rows * 20])),
        ];
        let bytes = safetensors::serialize(tensors, None).unwrap();
        program.write("vectors.safetensors", bytes);
    };
    write_vectors(5);
    let report = run_json(&program, "retrieval score list.json vectors.safetensors --cosine");
    assert_eq!(report["all"]["accuracy"].as_f64(), Some(50.0));
    assert_eq!(report["all"]["mrr"].as_f64(), Some(0.6));
    assert_eq!(report["pairs"][0]["candidate"].as_str(), Some("de"));
    assert_eq!(report["chance"].as_f64(), Some(20.0));
    let measured = "--model ours --task XEP --measured run.jsonl";
    run_json(&program, &format!("retrieval score list.json vectors.safetensors {measured}"));
    let table = program.run("table 001-7 --run run.jsonl").out;
    assert!(table.ends_with("| **ours** | 50.00 | – |\n"), "{table}");

    write_vectors(4);
    program.write("bad.jsonl", "{\"entity\": \"Q1\", \"language\": \"de\"}\n{}\n");
    program.expect_only_errors(&[
        (
            "retrieval score list.json vectors.safetensors",
            &["vectors.safetensors: `candidates` has 4 rows, but the list has 5"],
        ),
        (
            "retrieval score queries.jsonl vectors.safetensors",
            &["queries.jsonl:1:", "candidate list"],
        ),
        ("retrieval score list.json queries.jsonl", &["queries.jsonl: not a safetensors file"]),
        (&draw(7), &["6 entities have a description, but size = 7"]),
        (
            "retrieval list --descriptions bad.jsonl --queries queries.jsonl --out list.json",
            &["bad.jsonl:2: missing field `entity`"],
        ),
    ]);
}

#[test]
fn tables_are_printed() {
    let program = program();
    let text = program.run("table 001-3").out;
    assert!(text.starts_with("| model (accuracy) | en | fr | es |"), "{text}");
    program.expect_only_error("table 000-1", &["`000-1`", "001-1, 001-2"]);
}

#[test]
fn invalid_inputs_leave_the_output_unchanged() {
    let program = program();
    // This vocabulary contains no object of a fact.
    program.write("none.txt", "nothing\n");
    for name in ["descriptions.jsonl", "queries.jsonl", "best.jsonl"] {
        program.copy(&format!("fixtures/transfer/{name}"), name);
    }
    for name in ["lama/relations.jsonl", "lama/TREx/P19.jsonl"] {
        program.copy(&format!("fixtures/transfer/{name}"), name);
    }
    let cloze = "lama clozes --data lama --corpus t-rex --tokenizer data/base/tokenizer.json";
    let commands: [(&str, &str, &[&str]); 3] = [
        (&format!("{cloze} --out clozes.jsonl"), "clozes.jsonl", &["lama/TREx/P19.jsonl"]),
        (
            "lama score clozes.jsonl best.jsonl --corpus t-rex --model m --measured measured.jsonl",
            "measured.jsonl",
            &["clozes.jsonl", "best.jsonl"],
        ),
        (
            "retrieval list --size 5 --descriptions descriptions.jsonl --queries queries.jsonl \
             --out out",
            "out",
            &["descriptions.jsonl", "queries.jsonl"],
        ),
    ];
    for (arguments, out, inputs) in commands {
        program.expect_success(arguments);
        let before = program.read_bytes(out);
        for input in inputs {
            let original = program.read_bytes(input);
            for bytes in ["<html>\n503\n</html>\n", "", "\n", "{}\n", "[]"] {
                program.write(input, bytes);
                program.expect_only_error(arguments, &[]);
                program.write(input, &original);
                assert_eq!(program.read_bytes(out), before, "{arguments}: {bytes}");
            }
        }
    }
    let before = program.read_bytes("clozes.jsonl");
    let words = ["clozes.jsonl is unchanged: 0 clozes", "outside the vocabulary"];
    program.expect_only_error(&format!("{cloze} --vocabulary none.txt --out clozes.jsonl"), &words);
    assert_eq!(program.read_bytes("clozes.jsonl"), before);
}

#[test]
fn argument_errors_are_one_line() {
    let program = program();
    for (arguments, word) in [
        ("", "no command is given"),
        ("retrieval", "no command is given"),
        ("retrieval list --size 5", "--descriptions <FILE> --queries <FILE> --out"),
    ] {
        let output = program.expect_only_error(arguments, &[word, "; try '--help'"]);
        assert_eq!(output.err.lines().count(), 1);
    }
}
