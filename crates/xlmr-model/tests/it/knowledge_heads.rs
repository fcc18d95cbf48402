//! Tests of projection heads and relation embeddings: shapes, gradients, files.
use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};
use xlmr_model::{Config, Error, KnowledgeConfig, KnowledgeHeads, ProjectionKind};

const H: i64 = 16;

fn encoder() -> Config {
    Config { hidden_size: H, num_attention_heads: 2, ..Config::tiny(40) }
}

fn relations() -> Vec<String> {
    ["P36", "P37", "P30"].map(String::from).into()
}

fn new_heads(projection: ProjectionKind, seed: u64) -> KnowledgeHeads {
    let config = KnowledgeConfig { projection, ..KnowledgeConfig::default() };
    KnowledgeHeads::new(&encoder(), &config, &relations(), Device::Cpu, seed).unwrap()
}

fn new_states(rows: i64) -> Tensor {
    let n_elements = rows * H;
    Tensor::arange(n_elements, (Kind::Float, Device::Cpu)).sin().view([rows, H])
}

/// Returns all parameters and buffers by their names, without the prefix `knowledge.`.
fn named_tensors(heads: &KnowledgeHeads) -> BTreeMap<String, Tensor> {
    let named = heads.named_parameters().into_iter().chain(heads.named_buffers());
    named.map(|(name, tensor)| (name.replacen("knowledge.", "", 1), tensor)).collect()
}

#[test]
fn heads_have_the_papers_parameters_without_sharing() {
    for (kind, n_elements) in
        [(ProjectionKind::Plain, 2 * H * H), (ProjectionKind::BatchNorm, 2 * H * H + 2 * H)]
    {
        let knowledge = new_heads(kind, 1);
        let parameters = knowledge.named_parameters();
        for head in ["mep_query", "mep_key", "oe_query", "oe_key"] {
            let prefix = format!("knowledge.{head}.");
            let of_head = parameters.iter().filter(|(name, _)| name.starts_with(&prefix));
            assert_eq!(of_head.map(|(_, t)| t.numel() as i64).sum::<i64>(), n_elements, "{head}");
        }
        let is_bias = |name: &&str| name.ends_with("bias") && !name.contains("norm_0");
        let names = parameters.iter().map(|(name, _)| name.as_str());
        assert!(names.filter(is_bias).eq(["knowledge.relation_classifier.bias"]));
        let addresses: BTreeSet<usize> =
            parameters.iter().map(|(_, tensor)| tensor.data_ptr() as usize).collect();
        assert_eq!(addresses.len(), parameters.len());
        assert_eq!(knowledge.named_buffers().is_empty(), kind == ProjectionKind::Plain);
    }
}

#[test]
fn plain_heads_compute_the_papers_equations() {
    let knowledge = new_heads(ProjectionKind::Plain, 2);
    let tensors = named_tensors(&knowledge);
    let x = new_states(5);
    let expected_output = |head: &str, x: &Tensor| {
        let linear =
            |layer: u8, x: &Tensor| x.matmul(&tensors[&format!("{head}.{layer}.weight")].tr());
        linear(1, &linear(0, x).relu())
    };
    let relation = Tensor::from_slice(&[2i64, 0, 1, 1, 2]);
    let sums = &x + tensors["relations.weight"].index_select(0, &relation);
    for (actual, expected_value) in [
        (knowledge.mep_query(&x, &[], true), expected_output("mep_query", &x)),
        (knowledge.mep_key(&x, &[], false), expected_output("mep_key", &x)),
        (knowledge.oe_query(&x, &relation, &[], true), expected_output("oe_query", &sums)),
        (knowledge.oe_key(&x, &[], true), expected_output("oe_key", &x)),
    ] {
        testkit::assert_close("projection", &actual.unwrap(), &expected_value, 1e-6);
    }
}

#[test]
fn batch_norm_collects_statistics_and_uses_them_in_evaluation() {
    let knowledge = new_heads(ProjectionKind::BatchNorm, 3);
    let x = new_states(8);
    let training_output = knowledge.mep_key(&x, &[], true).unwrap();
    training_output.square().sum(Kind::Float).backward();
    // The last norm has no scale and shift, so in training each column of the output has mean 0 and
    // variance 1.
    let (mean, variance) = (
        training_output.mean_dim([0i64].as_slice(), false, Kind::Float),
        training_output.square().mean_dim([0i64].as_slice(), false, Kind::Float),
    );
    assert!(mean.abs().max().double_value(&[]) < 1e-5);
    testkit::assert_close("variance", &variance, &variance.ones_like(), 1e-3);
    let single_row = x.narrow(0, 3, 1);
    assert!(matches!(knowledge.mep_key(&single_row, &[], true), Err(Error::Input { .. })));
    for _ in 0..200 {
        let _ = knowledge.mep_key(&x, &[], true).unwrap();
    }
    // In evaluation, a single row is normalised by the running statistics.
    let tensors = named_tensors(&knowledge);
    let find = |part: &str| &tensors[&format!("mep_key.{part}")];
    let norm = |x: Tensor, k: usize| {
        let deviation = (find(&format!("norm_{k}.running_var")) + 1e-12).sqrt();
        (x - find(&format!("norm_{k}.running_mean"))) / deviation
    };
    let inner = norm(single_row.matmul(&find("0.weight").tr()), 0);
    let inner = (inner * find("norm_0.weight") + find("norm_0.bias")).relu();
    let expected_value = norm(inner.matmul(&find("1.weight").tr()), 1);
    let separate = knowledge.mep_key(&single_row, &[], false).unwrap();
    testkit::assert_close("single row", &separate, &expected_value, 1e-4);
    let float32 = knowledge.mep_key(&x.to_kind(Kind::Float), &[], false).unwrap();
    assert_eq!(float32.kind(), Kind::Float);
    // Non-finite hidden states do not change the running statistics.
    let with_nan = x.copy();
    let _ = with_nan.get(2).get(1).fill_(f64::NAN);
    let _ = knowledge.mep_key(&with_nan, &[], true).unwrap();
    assert_eq!(knowledge.mep_key(&single_row, &[], false).unwrap(), separate);
}

#[test]
fn domains_are_normalised_separately() {
    let config = KnowledgeConfig {
        projection: ProjectionKind::BatchNorm,
        batch_norm_domains: Some(3),
        ..KnowledgeConfig::default()
    };
    let new = || KnowledgeHeads::new(&encoder(), &config, &relations(), Device::Cpu, 3).unwrap();
    let (trained, x) = (new(), new_states(9));
    let domain_ids = [0usize, 2, 0, 0, 2, 2, 0, 1, 2];
    let output = trained.mep_key(&x, &domain_ids, true).unwrap();
    let buffer = |heads: &KnowledgeHeads, part: &str| {
        named_tensors(heads)[&format!("mep_key.{part}")].shallow_clone()
    };
    // Computes the head for the given rows, with batch norm that uses only these rows. Returns the
    // output and the input of the second norm.
    let expected_output = |rows: &Tensor| {
        let tensors = named_tensors(&trained);
        let find = |part: &str| &tensors[&format!("mep_key.{part}")];
        let norm = |x: &Tensor| {
            let centred = x - x.mean_dim([0i64].as_slice(), true, Kind::Float);
            let variance = centred.square().mean_dim([0i64].as_slice(), true, Kind::Float);
            centred / (variance + 1e-5).sqrt()
        };
        let inner = norm(&x.index_select(0, rows).matmul(&find("0.weight").tr()));
        let inner = (inner * find("norm_0.weight") + find("norm_0.bias")).relu();
        let second = inner.matmul(&find("1.weight").tr());
        (norm(&second), second)
    };
    for domain in [0usize, 2] {
        let rows: Vec<i64> = (0..9).filter(|&row| domain_ids[row as usize] == domain).collect();
        let rows = Tensor::from_slice(&rows);
        // `separate` has the weights of `trained`, because seeds and names are equal. Its running
        // statistics are computed from the rows of one domain.
        let separate = new_heads(ProjectionKind::BatchNorm, 3);
        let _ = separate.mep_key(&x.index_select(0, &rows), &[], true).unwrap();
        let (expected_value, second) = expected_output(&rows);
        testkit::assert_close("rows", &output.index_select(0, &rows), &expected_value, 1e-5);
        for part in ["norm_0.running_mean", "norm_0.running_var"] {
            let (actual, expected_value) = (buffer(&trained, part), buffer(&separate, part));
            testkit::assert_close(part, &actual.get(domain as i64), &expected_value, 1e-6);
        }
        // The running mean starts at 0. After one batch it is a tenth of the batch's mean.
        let (actual, expected_value) = (
            buffer(&trained, "norm_1.running_mean").get(domain as i64),
            second.mean_dim([0i64].as_slice(), false, Kind::Float) * 0.1,
        );
        testkit::assert_close("norm_1.running_mean", &actual, &expected_value, 1e-6);
    }
    // Domain 1 has only one row, so the row is normalised by the running statistics and does not
    // change them.
    assert_eq!(buffer(&trained, "norm_0.running_mean").get(1).abs().max().double_value(&[]), 0.0);
    let expected = new().mep_key(&x, &[1; 9], false).unwrap().get(7);
    testkit::assert_close("one row", &output.get(7), &expected, 1e-5);
    // A later forward pass must not change tensors that the backward pass of an earlier forward
    // pass needs.
    let heads = new();
    let first = heads.mep_key(&x, &domain_ids, true).unwrap();
    let _ = heads.mep_key(&x, &domain_ids, true).unwrap();
    first.square().sum(Kind::Float).backward();

    // If all rows of a domain are equal, their variance is 0. The epsilon then limits the gradient
    // norm to a thousand times the gradient norm of different rows.
    let gradient_norm = |x: &Tensor| {
        let x = x.detach().set_requires_grad(true);
        let projected = new().mep_key(&x, &[0, 0, 0, 1, 1, 1, 1, 1, 1], true).unwrap();
        (projected * new_states(9)).sum(Kind::Float).backward();
        x.grad().norm().double_value(&[])
    };
    let equal_rows = x.copy();
    for row in [1, 2] {
        equal_rows.get(row).copy_(&equal_rows.get(0));
    }
    let norm = gradient_norm(&x);
    let equal_rows_norm = gradient_norm(&equal_rows);
    assert!(equal_rows_norm < 1e3 * norm, "{equal_rows_norm} compared with {norm}");

    let folder = tempfile::tempdir().unwrap();
    trained.save(folder.path()).unwrap();
    let reloaded = KnowledgeHeads::load(folder.path(), &encoder(), Device::Cpu).unwrap();
    assert!(
        reloaded.mep_key(&x, &domain_ids, false).unwrap()
            == trained.mep_key(&x, &domain_ids, false).unwrap()
    );
    for invalid_domain_ids in [vec![], vec![0; 8], vec![3; 9]] {
        let error = trained.mep_key(&x, &invalid_domain_ids, false).unwrap_err();
        assert!(error.to_string().contains("9 domain ids below 3"), "{error}");
    }
}

#[test]
fn a_saved_folder_is_loaded_and_mismatches_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [ProjectionKind::Plain, ProjectionKind::BatchNorm] {
        let first = new_heads(kind, 4);
        let _ = first.mep_query(&new_states(6), &[], true).unwrap();
        first.save(folder.path()).unwrap();
        let reloaded = KnowledgeHeads::load(folder.path(), &encoder(), Device::Cpu).unwrap();
        assert_eq!(reloaded.relations(), relations());
        assert_eq!(first.named_parameters(), reloaded.named_parameters());
        assert_eq!(first.named_buffers(), reloaded.named_buffers());
        assert!(reloaded.named_parameters().iter().all(|(_, tensor)| tensor.requires_grad()));
        assert!(reloaded.named_buffers().iter().all(|(_, tensor)| !tensor.requires_grad()));
    }
    let wider = Config { hidden_size: 32, ..encoder() };
    let error = KnowledgeHeads::load(folder.path(), &wider, Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("knowledge.safetensors") && error.contains("[32"), "{error}");
    let path = folder.path().join("knowledge.safetensors");
    let load_error =
        || KnowledgeHeads::load(folder.path(), &encoder(), Device::Cpu).unwrap_err().to_string();
    torch_ext::write_tensors(&path, [("x", &Tensor::from(1.0f32))], &[]).unwrap();
    let error = load_error();
    assert!(error.contains("knowledge.safetensors") && error.contains("metadata"), "{error}");
    std::fs::write(&path, "no tensors").unwrap();
    let error = load_error();
    assert!(error.contains("knowledge.safetensors"), "{error}");
}

#[test]
fn stored_option_names_do_not_change() {
    let folder = tempfile::tempdir().unwrap();
    for (domains, expected_value) in [
        (None, r#"{"projection":"batch_norm","inner_size":null}"#),
        (Some(2), r#"{"projection":"batch_norm","inner_size":null,"norm_sets":2}"#),
    ] {
        let config = KnowledgeConfig {
            projection: ProjectionKind::BatchNorm,
            batch_norm_domains: domains,
            ..KnowledgeConfig::default()
        };
        let heads = KnowledgeHeads::new(&encoder(), &config, &relations(), Device::Cpu, 6).unwrap();
        heads.save(folder.path()).unwrap();
        let path = folder.path().join("knowledge.safetensors");
        let stored = torch_ext::TensorFile::open(path).unwrap().metadata("knowledge").unwrap();
        assert_eq!(
            stored,
            format!(r#"{{"config":{expected_value},"relations":["P36","P37","P30"]}}"#)
        );
    }
}

#[test]
fn invalid_inputs_and_options_are_rejected() {
    let knowledge = new_heads(ProjectionKind::Plain, 5);
    let x = new_states(2);
    for relation in [[0i64, 3], [-1, 0]] {
        let error = knowledge.oe_query(&x, &Tensor::from_slice(&relation), &[], true);
        assert!(matches!(error, Err(Error::Input { argument: "relations", .. })));
    }
    assert!(knowledge.oe_query(&x, &Tensor::from_slice(&[0i64]), &[], true).is_err());
    assert!(knowledge.mep_query(&x.view([4, 8]), &[], true).is_err());
    for unknown in ["layers = 3", "norm_sets = 2"] {
        assert!(toml::from_str::<KnowledgeConfig>(unknown).is_err(), "{unknown}");
    }
    let duplicates = vec!["P1".to_owned(), "P1".to_owned()];
    let config = KnowledgeConfig::default();
    assert!(KnowledgeHeads::new(&encoder(), &config, &duplicates, Device::Cpu, 0).is_err());
    assert!(toml::from_str::<KnowledgeConfig>("projection = \"batch_norm\"").is_ok());
}
