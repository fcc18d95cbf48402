//! Tests of layouts, masks, counts and options of the three kinds of sequences.

use std::collections::BTreeSet;

use crate::common::{countries, grid, label, tokenizer, with_threads};
use kg_triples::sequence::{
    ConcatSeparator, Directions, IGNORE_INDEX, Masking, MixedTarget, Role, TripleStyle,
    visit_sequences,
};
use kg_triples::{BuildReport, Error, Sequence, SequenceConfig, SequenceKind, build_sequences};
use tokenizers::Tokenizer;

const BOS: u32 = 0;
const PAD: u32 = 1;
const EOS: u32 = 2;
const UNK: u32 = 3;

fn mask(tokenizer: &Tokenizer) -> u32 {
    tokenizer.token_to_id("<mask>").unwrap()
}

fn build(config: &SequenceConfig) -> (Vec<Sequence>, BuildReport) {
    build_sequences(&countries(), ("en", "de"), config, &tokenizer()).unwrap()
}

fn of_kind(kind: SequenceKind) -> SequenceConfig {
    SequenceConfig { kinds: vec![kind], ..SequenceConfig::default() }
}

/// A part of a sequence: a triple, given by the languages of head, relation and tail and by its
/// masked entity, or the separator between two triples.
#[derive(Clone, Copy)]
enum Part {
    Triple([&'static str; 3], Role),
    Separator,
}

/// Returns the expected input ids and labels of a sequence.
fn expected_example(tokenizer: &Tokenizer, parts: &[Part]) -> Example {
    let (mut input, mut labels) = (vec![BOS], vec![IGNORE_INDEX]);
    let mut add = |ids: &[u32], masked: bool| {
        for id in ids {
            input.push(if masked { mask(tokenizer) } else { *id });
            labels.push(if masked { i64::from(*id) } else { IGNORE_INDEX });
        }
    };
    for part in parts {
        match part {
            Part::Separator => add(&[EOS, EOS], false),
            Part::Triple(languages, masked) => {
                let is_masked = [*masked == Role::Head, false, *masked == Role::Tail];
                for ((id, language), is_masked) in
                    [H, R, T].into_iter().zip(languages).zip(is_masked)
                {
                    let encoding = tokenizer.encode(label(id, language), false).unwrap();
                    add(encoding.get_ids(), is_masked);
                }
            }
        }
    }
    add(&[EOS], false);
    (input, labels)
}

type Example = (Vec<u32>, Vec<i64>);

fn examples_of_fact(sequences: &[Sequence], head: &str, relation: &str) -> Vec<Example> {
    let graph = countries();
    let mut examples: Vec<_> = sequences
        .iter()
        .filter(|s| {
            let triple = graph.triple(s.fact).unwrap();
            triple.head == head && triple.relation == relation
        })
        .map(|s| (s.input_ids.clone(), s.labels.clone()))
        .collect();
    examples.sort();
    examples
}

fn sorted(mut examples: Vec<Example>) -> Vec<Example> {
    examples.sort();
    examples
}

const H: &str = "Q183";
const R: &str = "P37";
const T: &str = "Q188";

#[test]
fn a_triple_has_the_ten_sequences_of_the_paper() {
    let t = tokenizer();
    let (sequences, _) = build(&SequenceConfig::default());
    let triple = |languages, masked| expected_example(&t, &[Part::Triple(languages, masked)]);
    let concatenated = |masked| {
        expected_example(&t, &[["en"; 3], ["de"; 3]].map(|codes| Part::Triple(codes, masked)))
    };
    let expected = vec![
        // monolingual: (h, r, ?) and (?, r, t) in each language
        triple(["en", "en", "en"], Role::Tail),
        triple(["en", "en", "en"], Role::Head),
        triple(["de", "de", "de"], Role::Tail),
        triple(["de", "de", "de"], Role::Head),
        // mixed: the foreign entity is restored, in both directions
        triple(["de", "en", "en"], Role::Head),
        triple(["en", "en", "de"], Role::Tail),
        triple(["en", "de", "de"], Role::Head),
        triple(["de", "de", "en"], Role::Tail),
        // concatenated: both heads, or both tails
        concatenated(Role::Head),
        concatenated(Role::Tail),
    ];
    assert_eq!(examples_of_fact(&sequences, H, R), sorted(expected));
}

#[test]
fn native_targets_have_mixed_inputs() {
    let t = tokenizer();
    let config =
        SequenceConfig { mixed_target: MixedTarget::NativeEntity, ..of_kind(SequenceKind::Mixed) };
    let (native, _) = build(&config);
    let triple = |languages, masked| expected_example(&t, &[Part::Triple(languages, masked)]);
    let expected = vec![
        triple(["de", "en", "en"], Role::Tail),
        triple(["en", "en", "de"], Role::Head),
        triple(["en", "de", "de"], Role::Tail),
        triple(["de", "de", "en"], Role::Head),
    ];
    assert_eq!(examples_of_fact(&native, H, R), sorted(expected.clone()));

    let (foreign, _) = build(&of_kind(SequenceKind::Mixed));
    let examples = |s: &[Sequence]| -> BTreeSet<Example> {
        s.iter().map(|s| (s.input_ids.clone(), s.labels.clone())).collect()
    };
    let both_targets =
        SequenceConfig { mixed_target: MixedTarget::Both, ..of_kind(SequenceKind::Mixed) };
    let foreign_and_native = [foreign.clone(), native.clone()].concat();
    assert_eq!(examples(&build(&both_targets).0), examples(&foreign_and_native));

    let forward = SequenceConfig { mixed_directions: Directions::Forward, ..config };
    assert_eq!(examples_of_fact(&build(&forward).0, H, R), sorted(expected[..2].to_vec()));
}

/// Returns every combination of the options that affect the layout of sequences.
fn variants() -> Vec<SequenceConfig> {
    let mut variants = Vec::new();
    for masking in [Masking::GoldLength, Masking::Single, Masking::FixedLength { masks: 5 }] {
        for mixed_target in
            [MixedTarget::ForeignEntity, MixedTarget::NativeEntity, MixedTarget::Both]
        {
            for triple_style in [TripleStyle::Space, TripleStyle::Comma] {
                for concat_separator in [ConcatSeparator::None, ConcatSeparator::SepToken] {
                    for directions in [Directions::Forward, Directions::Both] {
                        variants.push(SequenceConfig {
                            masking,
                            mixed_target,
                            triple_style,
                            concat_separator,
                            mixed_directions: directions,
                            concatenated_orders: directions,
                            ..SequenceConfig::default()
                        });
                    }
                }
            }
        }
    }
    variants
}

#[test]
fn masks_labels_and_spans_agree_under_every_option() {
    let (t, graph) = (tokenizer(), countries());
    let mask = mask(&t);
    for config in variants() {
        let (sequences, report) = build_sequences(&graph, ("en", "zh"), &config, &t).unwrap();
        assert!(!sequences.is_empty());
        let requested = report.facts * report.pairs * report.forms;
        assert_eq!(report.sequence_count() + report.dropped.total(), requested, "{config:?}");
        assert_eq!(report.sequence_count(), sequences.len());
        assert_eq!(report.tokens, sequences.iter().map(|s| s.input_ids.len()).sum::<usize>());
        let mut masked_tokens = 0;
        for s in &sequences {
            let masks: Vec<usize> =
                (0..s.input_ids.len()).filter(|at| s.input_ids[*at] == mask).collect();
            let targets: Vec<usize> =
                (0..s.labels.len()).filter(|at| s.labels[*at] != IGNORE_INDEX).collect();
            let spans: Vec<usize> = s.entities.iter().flat_map(|e| e.start..e.end).collect();
            assert_eq!(masks, targets);
            assert_eq!(masks, spans);
            masked_tokens += masks.len();
            assert_eq!((s.input_ids.len(), s.input_ids[0]), (s.labels.len(), BOS));
            assert_eq!(*s.input_ids.last().unwrap(), EOS);

            let triple = graph.triple(s.fact).unwrap();
            for entity in &s.entities {
                let id = if entity.role == Role::Head { triple.head } else { triple.tail };
                let text = label(id, entity.language.as_str());
                let gold = t.encode(text, false).unwrap().get_ids().to_vec();
                let target: Vec<u32> =
                    s.labels[entity.start..entity.end].iter().map(|l| *l as u32).collect();
                assert_eq!(entity.pieces, gold.len());
                assert_eq!(target[..gold.len()], gold);
                assert!(gold.iter().all(|id| ![BOS, PAD, EOS, UNK, mask].contains(id)));
                let mask_count = match config.masking {
                    Masking::GoldLength => gold.len(),
                    Masking::Single => 1,
                    Masking::FixedLength { masks } => masks,
                };
                assert_eq!(target.len(), mask_count);
                assert!(target[gold.len()..].iter().all(|id| *id == PAD));
            }
            let roles: BTreeSet<Role> = s.entities.iter().map(|e| e.role).collect();
            let entities = if s.kind == SequenceKind::Concatenated { 2 } else { 1 };
            assert_eq!((s.entities.len(), roles.len()), (entities, 1), "one role per sequence");
            if entities == 2 {
                assert_ne!(s.entities[0].language, s.entities[1].language);
            }
        }
        assert_eq!(report.masked_tokens, masked_tokens);
    }
}

#[test]
fn concatenated_triples_are_separated_by_a_separator() {
    let t = tokenizer();
    let config = SequenceConfig {
        concat_separator: ConcatSeparator::SepToken,
        concatenated_orders: Directions::Both,
        ..of_kind(SequenceKind::Concatenated)
    };
    let concatenated = |first, second, masked| {
        let [first, second] = [[first; 3], [second; 3]].map(|codes| Part::Triple(codes, masked));
        expected_example(&t, &[first, Part::Separator, second])
    };
    let expected = vec![
        concatenated("en", "de", Role::Head),
        concatenated("en", "de", Role::Tail),
        concatenated("de", "en", Role::Head),
        concatenated("de", "en", Role::Tail),
    ];
    assert_eq!(examples_of_fact(&build(&config).0, H, R), sorted(expected));
}

#[test]
fn a_single_mask_requires_single_token_entities() {
    let t = tokenizer();
    let pieces = |id, language| t.encode(label(id, language), false).unwrap().len();
    let graph = countries();
    let entities = graph.triples().flat_map(|triple| [triple.head, triple.tail]);
    let labels = entities.flat_map(|id| [pieces(id, "en"), pieces(id, "de")]);
    let expected = labels.filter(|count| *count == 1).count();
    let config = SequenceConfig { masking: Masking::Single, ..of_kind(SequenceKind::Monolingual) };
    let (sequences, report) = build(&config);
    assert!(expected > 0 && expected < 24, "the labels do not test this: {expected}");
    assert_eq!(sequences.len(), expected);
    assert_eq!(report.dropped.entity_too_long, 24 - expected);
}

#[test]
fn overlong_sequences_are_dropped_and_not_truncated() {
    let unlimited = build(&SequenceConfig::default()).0;
    let lengths: Vec<usize> = unlimited.iter().map(|s| s.input_ids.len()).collect();
    let limit = lengths.iter().min().unwrap() + 2;
    let expected_count = lengths.iter().filter(|length| **length <= limit).count();
    let (sequences, report) =
        build(&SequenceConfig { max_length: limit, ..SequenceConfig::default() });
    assert!(expected_count > 0 && expected_count < unlimited.len());
    assert_eq!(
        (sequences.len(), report.dropped.sequence_too_long),
        (expected_count, unlimited.len() - expected_count)
    );
    assert!(sequences.iter().all(|s| unlimited.contains(s)));
}

#[test]
fn ten_sequences_per_triple_and_pair_are_shuffled_by_the_seed() {
    let (t, graph) = (tokenizer(), countries());
    let config = SequenceConfig::default();
    let pairs = [("en", "de"), ("en", "zh")].map(|(i, j)| (i.to_owned(), j.to_owned()));
    let build = |config: &SequenceConfig| {
        let mut sequences = Vec::new();
        let report = visit_sequences(&graph, &pairs, config, &t, |sequence| {
            sequences.push(sequence);
            Ok(())
        });
        (sequences, report.unwrap())
    };
    let (sequences, report) = build(&config);
    assert_eq!((report.facts, report.pairs, report.forms), (6, 2, 10));
    assert_eq!(report.kept.values().copied().collect::<Vec<_>>(), [48, 48, 24]);
    assert_eq!(sequences.len(), 120);
    let repeated = build(&config).0;
    assert_eq!(sequences, repeated);
    let other_seed = SequenceConfig { seed: 43, ..config };
    let other_seed = build(&other_seed).0;
    assert_ne!(sequences, other_seed);
    let key = |s: &Sequence| format!("{s:?}");
    let (mut a, mut b): (Vec<_>, Vec<_>) =
        (sequences.iter().map(key).collect(), other_seed.iter().map(key).collect());
    a.sort();
    b.sort();
    assert_eq!(a, b, "the same sequences in another order");
    // The sequences are shuffled: consecutive sequences are often of different kinds.
    let kind_changes = sequences.windows(2).filter(|w| w[0].kind != w[1].kind).count();
    assert!(kind_changes > 40, "{kind_changes}");
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (t, graph) = (tokenizer(), grid(40, 20));
    let config = SequenceConfig { mix_weights: Some([1.0, 2.0, 1.0]), ..SequenceConfig::default() };
    let build = || build_sequences(&graph, ("en", "de"), &config, &t).unwrap();
    assert_eq!(with_threads(1, build), with_threads(3, build));
}

#[test]
fn mix_weights_set_the_proportions() {
    let weights =
        |weights| SequenceConfig { mix_weights: Some(weights), ..SequenceConfig::default() };
    // Without weights, there are 24 monolingual, 24 mixed and 12 concatenated sequences.
    for (proportions, expected_counts) in [
        ([1.0, 1.0, 1.0], [12, 12, 12]),
        ([4.0, 2.0, 1.0], [24, 12, 6]),
        ([0.0, 0.5, 0.25], [0, 24, 12]),
        ([0.1, 0.1, 0.05], [24, 24, 12]),
    ] {
        let (sequences, report) = build(&weights(proportions));
        assert_eq!(
            report.kept.values().copied().collect::<Vec<_>>(),
            expected_counts,
            "{proportions:?}"
        );
        assert_eq!(report.dropped.mix_weights, 60 - sequences.len());
    }
}

#[test]
fn kinds_are_distributed_evenly_after_weighting() {
    let graph = grid(40, 20);
    let config = SequenceConfig { mix_weights: Some([1.0, 2.0, 1.0]), ..SequenceConfig::default() };
    let (sequences, report) = build_sequences(&graph, ("en", "de"), &config, &tokenizer()).unwrap();
    assert!(report.dropped.mix_weights > 0);
    for (kind, share) in SequenceKind::ALL.into_iter().zip([0.25, 0.5, 0.25]) {
        for quarter in sequences.chunks(sequences.len().div_ceil(4)) {
            let kind_count = quarter.iter().filter(|sequence| sequence.kind == kind).count();
            let actual = kind_count as f64 / quarter.len() as f64;
            assert!((actual - share).abs() < 0.05, "{}: {actual} of a quarter", kind.name());
        }
    }
    // Weights select and reorder sequences, but do not change a sequence.
    let (all, _) =
        build_sequences(&graph, ("en", "de"), &SequenceConfig::default(), &tokenizer()).unwrap();
    let first = |kind| all.iter().find(|sequence| sequence.kind == kind).unwrap();
    assert!(SequenceKind::ALL.into_iter().all(|kind| sequences.contains(first(kind))));
}

#[test]
fn invalid_options_are_errors() {
    let (t, graph) = (tokenizer(), countries());
    let default = SequenceConfig::default();
    let build_error =
        |i, j, config: &SequenceConfig| build_sequences(&graph, (i, j), config, &t).unwrap_err();
    assert!(
        matches!(build_error("en", "fr", &default), Error::UnknownLanguage { language, .. } if language == "fr")
    );
    assert!(matches!(build_error("en", "en", &default), Error::Config { key: "pairs", .. }));
    let masks_key = "masking.fixed_length.masks";
    let fixed_length = |masks, max_length| {
        let masking = Masking::FixedLength { masks };
        SequenceConfig { masking, max_length, ..default.clone() }
    };
    for (key, config) in [
        ("kinds", SequenceConfig { kinds: vec![], ..default.clone() }),
        ("kinds", SequenceConfig { kinds: vec![SequenceKind::Mixed; 2], ..default.clone() }),
        ("max_length", SequenceConfig { max_length: 4, ..default.clone() }),
        ("mix_weights", SequenceConfig { mix_weights: Some([0.0; 3]), ..default.clone() }),
        ("mix_weights", SequenceConfig { mix_weights: Some([1.0, -1.0, 1.0]), ..default.clone() }),
        (masks_key, fixed_length(0, default.max_length)),
        (masks_key, fixed_length(61, default.max_length)),
        (masks_key, fixed_length(usize::MAX, usize::MAX)),
    ] {
        let error = build_error("en", "de", &config);
        assert!(matches!(&error, Error::Config { key: found, .. } if *found == key), "{error}");
    }
}
