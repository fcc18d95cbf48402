//! Tests of the probe: ranks of fixed vectors, and of a model compared with a reference.
use kg_triples::Language;
use kg_triples::knowledge::{Descriptions, MentionExample, TokenSpan};
use ndarray::array;
use tch::{Device, Kind, Tensor};
use transfer_eval::retrieval::{CandidateList, Similarity, score_retrieval};
use xlmr_model::{Inputs, KnowledgeConfig, KnowledgeHeads};

use crate::knowledge::entity_prediction::mask_mention;
use crate::knowledge::probe::score;
use crate::knowledge::tests::{candidate_list, prepare, to_json};
use crate::knowledge::*;
use crate::masked_lm::masking_vocab;
use crate::pooling::Pooling;
use crate::testing::{model, specials, tokenizer};

/// Computes the mean reciprocal rank.
fn mrr(ranks: &[f64]) -> f64 {
    ranks.iter().map(|rank| 1.0 / rank).sum::<f64>() / ranks.len() as f64
}

#[test]
fn ranks_equal_manual_ranks_and_ties_rank_first() {
    let candidates = array![[1.0, 0.0], [0.0, 1.0], [3.0, 4.0], [2.0, 0.0]];
    let queries = array![[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]];
    let list = candidate_list(
        &["Q0", "Q1", "Q2", "Q3"].map(|entity| (entity, "en")),
        &[0, 2, 2, 1].map(|gold| ("de", gold)),
    );
    // Dot products with [1, 0]: 1, 0, 3, 2; with [0.6, 0.8]: 0.6, 0.8, 5, 1.2;
    // with [0, 1]: 0, 1, 4, 0.
    let dot = Representation::Projected(Similarity::Dot);
    let actual = score(&list, &queries, &candidates, dot).unwrap();
    assert!((actual.all.mrr - mrr(&[3.0, 1.0, 1.0, 2.0])).abs() < 1e-12, "{actual:?}");
    assert_eq!((actual.all.accuracy, actual.all.hits_at_10, actual.chance), (50.0, 100.0, 25.0));
    // Cosines with [1, 0]: 1, 0, 0.6, 1. Candidate 3 equals candidate 0, and tied candidates rank
    // before the correct one.
    for cosine in [Representation::Projected(Similarity::Cosine), Representation::Encoder] {
        let actual = score(&list, &queries, &candidates, cosine).unwrap();
        assert!((actual.all.mrr - mrr(&[2.0, 3.0, 1.0, 1.0])).abs() < 1e-12, "{actual:?}");
    }
    // If all vectors are equal, the correct candidate is ranked last.
    let equal_vectors = array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]];
    let actual = score(&list, &queries, &equal_vectors, dot).unwrap();
    assert_eq!((actual.all.accuracy, actual.all.mrr), (0.0, 0.25));
}

/// Twelve entities, each described in German and English and mentioned once in Spanish. Some
/// entities have the same description.
fn mentions() -> MentionShards {
    let [de, en, es] = ["de", "en", "es"].map(|code| Language::new(code).unwrap());
    let mut descriptions = Descriptions::default();
    let entities: Vec<String> = (10..22).map(|number| format!("Q{number}")).collect();
    for (number, entity) in entities.iter().enumerate() {
        let words = "river city mountain language country year music film";
        let words: Vec<&str> = words.split(' ').cycle().skip(number).take(3 + number % 4).collect();
        for language in [de, en] {
            descriptions.add(entity, language, &format!("{language} {}", words.join(" "))).unwrap();
        }
    }
    let descriptions = descriptions.encode(&tokenizer(), 16).unwrap();
    let query = |(number, entity): (u32, &String)| MentionExample {
        passage: u64::from(number),
        id: number.to_string(),
        language: es,
        input_ids: [
            vec![0],
            (0..6 + number % 3).map(|index| 20 + 31 * number + index).collect(),
            vec![2],
        ]
        .concat(),
        mention: TokenSpan { start: 2, end: 4 },
        entity: entity.clone(),
        description_language: if number % 2 == 0 { de } else { en },
        description_ids: vec![0, 5, 2],
    };
    let queries: Vec<MentionExample> = (0..).zip(&entities).map(query).collect();
    let golds =
        queries.iter().map(|mention| (mention.entity.as_str(), mention.description_language));
    let candidates = descriptions.candidates(&golds.collect(), 12, 0);
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("train/mentions", to_json(&queries)),
        ("probe/unseen-texts", to_json(&queries)),
        ("probe/candidates", to_json(&candidates)),
    ];
    prepare(&folder.path().join("mentions"), &files);
    MentionShards::open(folder.path().join("mentions")).unwrap()
}

#[test]
fn ranks_of_a_model_equal_the_reference() {
    let (model, mentions) = (model(4000), mentions());
    let relations = ["P1".to_owned()];
    let heads = KnowledgeConfig::default();
    let heads = KnowledgeHeads::new(model.config(), &heads, &relations, Device::Cpu, 1).unwrap();
    let weights = LossWeights { mep: 0.0, ..LossWeights::default() };
    for weights in [weights, LossWeights::default()] {
        let losses = KnowledgeLossConfig { pooling: Pooling::Mean, ..Default::default() };
        let training_config = KnowledgeTaskConfig { weights, losses, ..Default::default() };
        let config = ProbeConfig::default();
        let probe =
            KnowledgeProbe::new(&model, specials(), &heads, &training_config, &config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.json");
        let actual =
            probe.score_entities(&mentions, &mentions.probe.unseen_text_queries, &path).unwrap();
        assert_eq!((actual.all.queries, actual.candidates), (12, 12));
        let unused_path = folder.path().join("no-queries.json");
        assert!(probe.score_entities(&mentions, &[], &unused_path).is_err());

        let projected = training_config.mention_representation() != Representation::Encoder;
        let vocab = masking_vocab(&model, specials()).unwrap();
        // Hidden states of one text, `[1, L, H]`.
        let hidden = |ids: &[u32]| {
            let inputs = Inputs::from_rows(&[ids], 1).unwrap();
            tch::no_grad(|| model.encode(&inputs, false)).unwrap()
        };
        let vector = |tensor: Tensor| -> Vec<f64> {
            tensor.to_kind(Kind::Double).view([-1]).try_into().unwrap()
        };
        let list = CandidateList::read(&path).unwrap();
        let candidates: Vec<Vec<f64>> = list
            .candidates
            .iter()
            .map(|candidate| {
                let candidates = &mentions.probe.candidates;
                let same_entity =
                    candidates.iter().find(|other| other.entity == candidate.entity).unwrap();
                assert_eq!(same_entity.language.as_str(), candidate.language);
                let hidden =
                    hidden(&same_entity.input_ids).mean_dim([1].as_slice(), false, Kind::Float);
                vector(if projected { heads.mep_key(&hidden, &[], false).unwrap() } else { hidden })
            })
            .collect();
        let ranks: Vec<usize> = list
            .queries
            .iter()
            .map(|query| {
                let example =
                    &mentions.probe.unseen_text_queries[query.id.parse::<usize>().unwrap()];
                assert_eq!(example.entity, list.candidates[query.gold].entity);
                let masked = mask_mention(example, &vocab, &Default::default()).unwrap();
                let hidden = hidden(&masked.input_ids).select(1, masked.position as i64);
                let query_vector = vector(if projected {
                    heads.mep_query(&hidden, &[], false).unwrap()
                } else {
                    hidden
                });
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let similarity = |candidate: &Vec<f64>| {
                    let norm = if projected { 1.0 } else { dot(candidate, candidate).sqrt() };
                    dot(&query_vector, candidate) / norm
                };
                // Some descriptions are equal. Tied candidates rank before the correct candidate.
                let gold = similarity(&candidates[query.gold]);
                candidates.iter().filter(|candidate| similarity(candidate) >= gold).count()
            })
            .collect();
        assert!(ranks.iter().any(|rank| *rank != ranks[0]), "{ranks:?}");
        assert_eq!(actual, score_retrieval(&list, &ranks).unwrap());
    }
}
