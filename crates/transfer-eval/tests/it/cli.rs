//! The program as a user meets it.
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transfer-eval")).args(args).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", err(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exit code 2, nothing on standard output, one `error:` line that holds every word.
fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let text = err(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "{args:?}: `{word}` is not in: {text}");
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn uner(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/uner").join(name).display().to_string()
}

#[test]
fn predictions_are_read_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let gold = file(
        "gold.tsv",
        "\u{feff}language\tgold_label\tsentence1\tsentence2\r\nsw\tneutral\tJe?\tNdiyo.\r\n  \r\n\n",
    );
    // A mark, Windows' line ends, blank last lines.
    let labels = file("labels.txt", "\u{feff}neutral\r\n\r\n");
    let score = json(&["xnli", &gold, &labels]);
    assert_eq!(score["languages"]["sw"]["accuracy"].as_f64(), Some(100.0));
    assert!(err(&run(&["xnli", &gold, &labels])).is_empty());
    // A cut label would be another one, or none.
    let cut = file("cut.txt", "neutral");
    let output = run(&["xnli", &gold, &cut]);
    assert!(output.status.success());
    assert!(err(&output).starts_with("note: ") && err(&output).contains("cut.txt: the last line"));
    let blank = file("blank.txt", "\nneutral\n");
    refused(&["xnli", &gold, &blank], &["blank.txt:1"]);
    let run_file = file("run.jsonl", "{\"model\": \"\u{202e}\u{1b}[2J\n");
    refused(&["table", "001-3", "--run", &run_file], &["run.jsonl:1"]);
}

#[test]
fn an_output_that_is_an_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let descriptions: String =
        (0..9).map(|k| format!("{{\"entity\": \"Q{k}\", \"language\": \"de\"}}\n")).collect();
    let descriptions = write(folder.path(), "descriptions.jsonl", &descriptions);
    let query = "{\"id\": \"q\", \"entity\": \"Q3\", \"language\": \"en\"}\n";
    let queries = write(folder.path(), "queries.jsonl", query);
    let args = ["retrieval", "list", "--descriptions", &descriptions, "--queries", &queries];
    refused(
        &[&args[..], &["--size", "5", "--out", &queries]].concat(),
        &["queries.jsonl", "one of the inputs"],
    );
    assert_eq!(std::fs::read_to_string(&queries).unwrap(), query);
    let output = run(&[&args[..], &["--size", "5", "--out", "-"]].concat());
    let drawn: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(drawn["candidates"].as_array().unwrap().len(), 5);
}

#[test]
fn ner() {
    let gold = uner("de_pud.test.iob2.gz");
    let report = json(&["ner", &gold, &gold]);
    assert_eq!(report["micro"]["f1"].as_f64(), Some(1.0));
    assert_eq!(report["micro"]["support"].as_u64(), Some(1039));
    assert_eq!(report["types"]["PER"]["support"].as_u64(), Some(418));
    assert_eq!(report["sentences"].as_u64(), Some(1000));

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let gold =
        file("gold.txt", "de:Kori\tB-PER\nde:Schulman\tI-PER\nde:sagt\tO\n\nde:Berlin\tB-LOC\n");
    let predicted =
        file("predicted.txt", "Kori I-PER\nSchulman I-PER\nsagt I-PER\n\nBerlin I-LOC\n");
    let score =
        |extra: &[&str]| json(&[&["ner", &gold, &predicted], extra].concat())["micro"].clone();
    assert_eq!(score(&[])["f1"].as_f64(), Some(0.5));
    assert_eq!(score(&["--strict"])["f1"].as_f64(), Some(0.0));

    let few = file("few.txt", "Kori O\nSchulman O\nsagt O\n");
    refused(&["ner", &gold, &few], &["1 predictions for 2 sentences", "sentence 2 (line 5)"]);
    let other = file("other.txt", "Kori O\nSchulman O\nsagt O\n\n\nBonn O\n");
    refused(
        &["ner", &gold, &other],
        &["other.txt:6: sentence 2 (line 5 of the gold file)", "`Bonn`", "`Berlin`"],
    );
    let short = file("short.txt", "Kori O\nSchulman O\n\nBerlin O\n");
    refused(&["ner", &gold, &short], &["short.txt:1: sentence 1 (line 1", "2 words", "has 3"]);
    let bad = file("bad.txt", "Kori O\nSchulman PER\n");
    refused(&["ner", &gold, &bad], &["bad.txt:2:", "`PER`"]);
    refused(&["ner", &gold, "none.txt"], &["none.txt", "No such file"]);
    refused(
        &["ner", &gold, &predicted, "--format", "conll"],
        &["predicted.txt:1: sentence 1", "`Kori`", "`de:Kori`"],
    );
}

#[test]
fn xnli() {
    let folder = tempfile::tempdir().unwrap();
    let gold = write(
        folder.path(),
        "xnli.tsv",
        "language\tgold_label\tsentence1\tsentence2\nen\tneutral\ta\tb\nde\tentailment\ta\tb\nde\tcontradiction\ta\tb\n",
    );
    let predicted = write(folder.path(), "p.txt", "neutral\n0\nneutral\n");
    let report = json(&["xnli", &gold, &predicted]);
    assert_eq!(report["languages"]["de"]["accuracy"].as_f64(), Some(50.0));
    assert_eq!(report["mean"].as_f64(), Some(75.0));
    let few = write(folder.path(), "few.txt", "neutral\n0\n");
    refused(&["xnli", &gold, &few], &["2 predictions for 3 pairs", "pair 3 (line 4)"]);
    let bad = write(folder.path(), "bad.txt", "neutral\n3\nneutral\n");
    refused(&["xnli", &gold, &bad], &["bad.txt:2: label `3`", "entailment", "0, 1, 2"]);
    refused(&["xnli", &predicted, &predicted], &["p.txt:1: no column `gold_label`"]);
    refused(&["xnli", &gold, "none.txt"], &["none.txt"]);
}

#[test]
fn lama() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(
        folder.path(),
        "relations.jsonl",
        "{\"relation\": \"P19\", \"template\": \"[X] was born in [Y] .\", \"type\": \"N-1\"}\n",
    );
    let facts = ["Paris", "London", "Tegucigalpa"]
        .map(|city| {
            format!("{{\"uuid\": \"{city}\", \"sub_label\": \"Ada\", \"obj_label\": \"{city}\"}}\n")
        })
        .concat();
    write(folder.path(), "TREx/P19.jsonl", &facts);
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let (data, out) = (path(""), path("clozes.jsonl"));
    let build = [
        "lama",
        "clozes",
        "--data",
        &data,
        "--corpus",
        "t-rex",
        "--tokenizer",
        &tokenizer,
        "--out",
        &out,
    ];
    let output = run(&build);
    assert!(output.status.success(), "{}", err(&output));
    assert!(
        err(&output).starts_with("3 clozes of 3 facts; left out: 0 outside"),
        "{}",
        err(&output)
    );
    let lines = std::fs::read_to_string(&out).unwrap();
    let golds: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["gold"].clone())
        .collect();
    assert!(golds[0].is_u64() && golds[2].is_null());

    let best = format!(
        "{{\"id\": \"Paris\", \"best\": [{}]}}\n{{\"id\": \"London\", \"rank\": 4}}\n{{\"id\": \"Tegucigalpa\", \"rank\": null}}\n",
        golds[0]
    );
    let best = write(folder.path(), "best.jsonl", &best);
    let relations = path("relations.jsonl");
    let measured = path("run.jsonl");
    let score = [
        "lama",
        "score",
        &out,
        &best,
        "--relations",
        &relations,
        "--corpus",
        "t-rex",
        "--model",
        "ours",
        "--measured",
        &measured,
    ];
    let report = json(&score);
    assert_eq!(report["kinds"]["N-1"]["p_at_1"].as_f64(), Some(100.0 / 3.0));
    assert_eq!(report["micro"]["p_at_10"].as_f64(), Some(200.0 / 3.0));
    let table = run(&["table", "001-5", "--run", &measured]);
    assert!(
        String::from_utf8(table.stdout)
            .unwrap()
            .contains("| T-REx N-1 | 20006 | 23 | 22.0 | 25.1 | 27.3 | 21.9 | 29.4 | 33.3 |")
    );

    let swapped = write(folder.path(), "swapped.jsonl", "{\"id\": \"London\", \"best\": []}\n");
    refused(
        &["lama", "score", &out, &swapped],
        &["swapped.jsonl:1:", "`London`", "cloze 1 is `Paris`"],
    );
    let few = write(folder.path(), "few.jsonl", "{\"id\": \"Paris\", \"best\": []}\n");
    refused(&["lama", "score", &out, &few], &["1 predictions for 3 clozes", "cloze 2 (`London`)"]);
    let cut =
        write(folder.path(), "cut.jsonl", "{\"id\": \"Paris\", \"best\": []}\n{\"id\": \"Lon");
    refused(&["lama", "score", &out, &cut], &["cut.jsonl:2:", "EOF"]);
    let zero = write(folder.path(), "zero.jsonl", "{\"id\": \"Paris\", \"rank\": 0}\n");
    refused(&["lama", "score", &out, &zero], &["zero.jsonl:1: rank 0"]);
    let broken = write(folder.path(), "broken.jsonl", &lines.replace("\"mask\":", "\"mask\":9"));
    refused(&["lama", "score", &broken, &best], &["broken.jsonl:1: mask at 9"]);
    write(folder.path(), "TREx/P19.jsonl", "{\"uuid\": 3}\n");
    refused(&build, &["TREx/P19.jsonl:1: "]);
}

#[test]
fn retrieval() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let descriptions: String = (0..6)
        .map(|k| format!("{{\"entity\": \"Q{k}\", \"language\": \"{}\"}}\n", ["de", "zh"][k % 2]))
        .collect();
    let descriptions = write(folder.path(), "descriptions.jsonl", &descriptions);
    let queries = "{\"id\": \"a\", \"entity\": \"Q0\", \"language\": \"en\"}\n{\"id\": \"b\", \"entity\": \"Q1\", \"language\": \"en\"}\n{\"id\": \"c\", \"entity\": \"Q2\", \"language\": \"de\"}\n";
    let queries = write(folder.path(), "queries.jsonl", queries);
    let list = path("list.json");
    let draw = [
        "retrieval",
        "list",
        "--descriptions",
        &descriptions,
        "--queries",
        &queries,
        "--size",
        "5",
        "--seed",
        "3",
        "--out",
        &list,
    ];
    let output = run(&draw);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(
        err(&output),
        "5 candidates, 2 queries; left out: 0 without a description, 1 in the language of their candidate\n"
    );
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(&list).unwrap()).unwrap();
    let golds: Vec<usize> = (0..2)
        .map(|k| usize::try_from(stored["queries"][k]["gold"].as_u64().unwrap()).unwrap())
        .collect();

    // The first query points at its candidate, the second away from its own.
    let one_hot = |at: usize, value: f32| (0..5).map(move |k| if k == at { value } else { 0.0 });
    let bytes =
        |values: Vec<f32>| -> Vec<u8> { values.into_iter().flat_map(f32::to_le_bytes).collect() };
    let of_queries = bytes(one_hot(golds[0], 1.0).chain(one_hot(golds[1], -1.0)).collect());
    let of_candidates = bytes((0..5).flat_map(|k| one_hot(k, 1.0)).collect());
    let vectors = path("vectors.safetensors");
    let save = |rows: usize| {
        let view = |shape: Vec<usize>, bytes| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap()
        };
        let tensors = [
            ("queries", view(vec![2, 5], &of_queries)),
            ("candidates", view(vec![rows, 5], &of_candidates[..rows * 20])),
        ];
        std::fs::write(&vectors, safetensors::serialize(tensors, None).unwrap()).unwrap();
    };
    save(5);
    let report = json(&["retrieval", "score", &list, &vectors, "--cosine"]);
    assert_eq!(report["all"]["accuracy"].as_f64(), Some(50.0));
    assert_eq!(report["all"]["mrr"].as_f64(), Some(0.6));
    assert_eq!(report["pairs"][0]["candidate"].as_str(), Some("de"));
    assert_eq!(report["chance"].as_f64(), Some(20.0));
    let measured = path("run.jsonl");
    json(&[
        "retrieval",
        "score",
        &list,
        &vectors,
        "--model",
        "ours",
        "--task",
        "XEP",
        "--measured",
        &measured,
    ]);
    let table = run(&["table", "001-7", "--run", &measured]);
    assert!(String::from_utf8(table.stdout).unwrap().ends_with("| **ours** | 50.00 | – |\n"));

    save(4);
    refused(
        &["retrieval", "score", &list, &vectors],
        &["vectors.safetensors: `candidates` has 4 rows, but the list has 5"],
    );
    refused(&["retrieval", "score", &queries, &vectors], &["queries.jsonl:1:", "candidate list"]);
    refused(&["retrieval", "score", &list, &queries], &["queries.jsonl: not a safetensors file"]);
    let large: Vec<&str> = draw.iter().map(|&arg| if arg == "5" { "7" } else { arg }).collect();
    refused(&large, &["6 entities have a description, but size = 7"]);
    let bad = write(folder.path(), "bad.jsonl", "{\"entity\": \"Q1\", \"language\": \"de\"}\n{}\n");
    refused(
        &["retrieval", "list", "--descriptions", &bad, "--queries", &queries, "--out", &list],
        &["bad.jsonl:2: missing field `entity`"],
    );
}

#[test]
fn tables_and_help() {
    let output = run(&["table", "001-3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("| model (accuracy) | en | fr | es |"), "{text}");
    let rows = json(&["table", "001-2", "--format", "json"]);
    assert_eq!(rows.as_array().unwrap().len(), 30);
    refused(&["table", "000-1"], &["`000-1`", "001-1, 001-2"]);
    for args in [
        &["--help"][..],
        &["ner", "--help"],
        &["xnli", "--help"],
        &["lama", "clozes", "--help"],
        &["lama", "score", "--help"],
        &["retrieval", "list", "--help"],
        &["retrieval", "score", "--help"],
        &["table", "--help"],
    ] {
        let text = String::from_utf8(run(args).stdout).unwrap();
        assert!(text.contains("Example") && text.contains("transfer-eval "), "{args:?}: {text}");
    }
}

#[test]
fn maps_of_word_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), name, text);
    let en = file("en.vec", "4 2\none 1 0\ntwo 0 1\nthree -1 0.1\nfour 0.1 -1\n");
    let de = file("de.vec", "4 2\neins 0 1\nzwei -1 0\ndrei -0.1 -1\nvier 1 0.1\n");
    let train = file("train.txt", "one eins\ntwo zwei\nsix sechs\n");
    let test = file("test.txt", "three drei\nfour vier\nfive eins\n");
    let map = folder.path().join("map.safetensors").display().to_string();
    let sides = ["--source", &en, "--target", &de, "--dictionary"];
    let fitted = json(&[&["map", "fit"], &sides[..], &[&train, "--out", &map]].concat());
    assert_eq!((fitted["pairs"].as_u64(), fitted["without_source"].as_u64()), (Some(2), Some(1)));
    let score = |extra: &[&str]| json(&[&["map", "score"], &sides[..], extra].concat());
    let found = score(&[&test, "--map", &map, "--oov", "skip"]);
    assert_eq!(found["cosine"]["p_at_1"].as_f64(), Some(100.0));
    assert_eq!(found["without_vector"].as_u64(), Some(1));
    let missed = score(&[&test, "--map", &map])["cosine"]["p_at_1"].as_f64();
    assert_eq!(missed, Some(100.0 * 2.0 / 3.0));
    assert_eq!(score(&[&test, "--oov", "skip"])["cosine"]["p_at_1"].as_f64(), Some(0.0));

    let out = folder.path().join("mapped.vec").display().to_string();
    let apply = ["map", "apply", "--map", &map, "--source", &en, "--out"];
    assert!(run(&[&apply[..], &[&out]].concat()).status.success());
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("4 2\none "));
    refused(&[&apply[..], &[&en]].concat(), &["en.vec", "one of the inputs"]);
    let bad = file("bad.vec", "eins 1 0\nzwei NaN 0\n");
    let with = |target: &str| {
        run(&["map", "score", "--source", &en, "--target", target, "--dictionary", &test])
    };
    assert!(err(&with(&bad)).contains("bad.vec:2: `zwei`"));
    let wide = file("wide.vec", "eins 1 0 0\n");
    assert!(err(&with(&wide)).contains("wide.vec: 3 dimensions"));
    refused(&["map", "apply", "--map", &map, "--target", &wide, "--out", &out], &["wide.vec"]);
}

#[test]
fn a_wrong_input_leaves_the_output_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
    let (base, out) = (data.join("base").display().to_string(), at("out"));
    let tokenizer = data.join("base/tokenizer.json").display().to_string();
    let texts = write(folder.path(), "texts.tsv", "a\tone house\nb\ttwo\nc\tthree trees\n");
    let vectors = write(folder.path(), "v.vec", "3 2\na 1 0\nb 0.5 1\nc -1 0.2\n");
    let pairs = write(folder.path(), "pairs.txt", "a a\nb b\nc c\n");
    let map = at("map.safetensors");
    let fixture = |name: &str| testkit::fixture(&format!("transfer/{name}"));
    for name in ["descriptions.jsonl", "queries.jsonl", "best.jsonl"] {
        std::fs::copy(fixture(name), at(name)).unwrap();
    }
    let (descriptions, queries, best) =
        (at("descriptions.jsonl"), at("queries.jsonl"), at("best.jsonl"));
    let (lama, clozes, measured) = (at("lama"), at("clozes.jsonl"), at("measured.jsonl"));
    for name in ["relations.jsonl", "TREx/P19.jsonl"] {
        let text = std::fs::read_to_string(fixture("lama").join(name)).unwrap();
        write(folder.path(), &format!("lama/{name}"), &text);
    }
    let trex = at("lama/TREx/P19.jsonl");
    let fit = ["map", "fit", "--source", &vectors, "--target", &vectors, "--dictionary", &pairs];
    let cloze = ["lama", "clozes", "--data", &lama, "--corpus", "t-rex", "--tokenizer", &tokenizer];
    let score = ["lama", "score", &clozes, &best, "--corpus", "t-rex", "--model", "m"];
    let list = ["retrieval", "list", "--size", "5", "--descriptions", &descriptions];
    let commands: [(Vec<&str>, &str, &[&str]); 6] = [
        (
            vec!["map", "vectors", "--model", &base, "--texts", &texts, "--out", &out],
            &out,
            &[&texts],
        ),
        ([&fit[..], &["--out", &map]].concat(), &map, &[&vectors, &pairs]),
        (
            vec!["map", "apply", "--map", &map, "--source", &vectors, "--out", &out],
            &out,
            &[&vectors, &map],
        ),
        ([&cloze[..], &["--out", &clozes]].concat(), &clozes, &[&trex]),
        ([&score[..], &["--measured", &measured]].concat(), &measured, &[&clozes, &best]),
        (
            [&list[..], &["--queries", &queries, "--out", &out]].concat(),
            &out,
            &[&descriptions, &queries],
        ),
    ];
    for (args, out, inputs) in commands {
        let output = run(&args);
        assert!(output.status.success(), "{args:?}: {}", err(&output));
        let before = std::fs::read(out).unwrap();
        for (input, bytes) in inputs.iter().flat_map(|input| {
            ["<html>\n503\n</html>\n", "", "\n", "{}\n", "[]"].map(|bytes| (input, bytes))
        }) {
            let good = std::fs::read(input).unwrap();
            std::fs::write(input, bytes).unwrap();
            refused(&args, &[]);
            std::fs::write(input, good).unwrap();
            assert_eq!(std::fs::read(out).unwrap(), before, "{args:?}: {bytes}");
        }
    }
    // A filter that drops everything is named.
    let none = write(folder.path(), "none.txt", "nothing\n");
    let args = [&cloze[..], &["--vocabulary", &none, "--out", &clozes]].concat();
    let before = std::fs::read(&clozes).unwrap();
    refused(&args, &["clozes.jsonl, it stays as it was: 0 clozes", "outside the vocabulary"]);
    assert_eq!(std::fs::read(&clozes).unwrap(), before);
}

#[test]
fn arguments_that_cannot_be_taken_are_one_line() {
    for (args, word) in [
        (&[][..], "no command is given"),
        (&["map"], "no command is given"),
        (&["map", "fit", "--source", "x"], "--target <FILE> --dictionary <FILE> --out"),
        (&["table", "001-1", "--format", "x"], "[possible values: md, json]"),
    ] {
        refused(args, &[word, "; try '--help'"]);
        assert_eq!(err(&run(args)).lines().count(), 1);
    }
}
