//! Tests of the mixture of training questions.
use std::collections::{BTreeMap, BTreeSet};

use mlqa_eval::{Dataset, Question};

use super::common::data_path;
use crate::generator::Generator;
use crate::mixture::MixtureConfig;

fn config() -> MixtureConfig {
    MixtureConfig {
        xquad: Some(data_path("xquad")),
        languages: ["en", "de", "zh"].map(|code| code.parse().unwrap()).into(),
        first: 3,
        pairs: 2,
        questions: vec![data_path("nq-qed").join("dev.json.gz")],
        unanswerable: 0.1,
        seed: 7,
    }
}

fn generate(config: &MixtureConfig) -> Dataset {
    let (files, _) = config.generate().unwrap();
    Dataset::parse(&files[0].1, "train.json").unwrap()
}

#[test]
fn questions_are_in_their_language_pairs_and_answers_in_their_contexts() {
    let config = config();
    let mixture = generate(&config);
    mixture.check_answers().unwrap();
    let by_language: BTreeMap<&str, Dataset> = ["en", "de", "zh"]
        .into_iter()
        .map(|code| {
            (code, Dataset::read(data_path("xquad").join(format!("xquad.{code}.json"))).unwrap())
        })
        .collect();
    let find = |language: &str, id: &str| -> &Question {
        by_language[language].questions.iter().find(|question| question.id == id).unwrap()
    };
    let (mut same, mut different) = (0, 0);
    for question in &mixture.questions {
        let parts: Vec<&str> = question.id.split('-').collect();
        match parts[..] {
            ["file", ..] => assert!(!question.answers.is_empty()),
            ["none", ..] => assert!(question.answers.is_empty()),
            [language, id] => {
                same += 1;
                let source = find(language, id);
                assert_eq!(
                    (&question.question, &question.context),
                    (&source.question, &source.context)
                );
            }
            [of_context, of_question, _, id] => {
                different += 1;
                assert_ne!(of_context, of_question);
                assert_eq!(question.question, find(of_question, id).question);
                assert_eq!(question.context, find(of_context, id).context);
                assert_eq!(question.answers, find(of_context, id).answers);
            }
            _ => panic!("{}", question.id),
        }
    }
    let articles: usize = by_language["en"].articles().take(3).map(<[Question]>::len).sum();
    assert_eq!((same, different), (3 * articles, 2 * articles));
}

#[test]
fn unanswerable_questions_have_contexts_of_other_articles() {
    let mixture = generate(&config());
    let unanswerable: Vec<&Question> =
        mixture.questions.iter().filter(|question| question.answers.is_empty()).collect();
    let answerable = mixture.questions.len() - unanswerable.len();
    assert!(unanswerable.len().abs_diff(answerable / 10) < 4, "{}", unanswerable.len());
    let titles: BTreeMap<&str, &str> =
        mixture.questions.iter().map(|question| (question.id.as_str(), &*question.title)).collect();
    for question in unanswerable {
        let source = question.id.strip_prefix("none-").unwrap();
        assert_ne!(titles[source], &*question.title);
    }
}

#[test]
fn files_alone_are_mixed_with_as_many_unanswerable_questions() {
    let mixture = generate(&MixtureConfig { xquad: None, unanswerable: 1.0, ..config() });
    let unanswerable = mixture.questions.iter().filter(|question| question.answers.is_empty());
    assert_eq!((mixture.questions.len(), unanswerable.count()), (2 * 1263, 1263));
}

#[test]
fn reserved_articles_are_absent_and_a_seed_repeats_the_mixture() {
    let config = config();
    let mixture = generate(&config);
    let english = Dataset::read(data_path("xquad").join("xquad.en.json")).unwrap();
    let reserved: BTreeSet<&str> =
        english.articles().skip(3).map(|article| &*article[0].title).collect();
    assert!(mixture.questions.iter().all(|question| !reserved.contains(&*question.title)));
    assert_eq!(generate(&config), mixture);
    assert_ne!(generate(&MixtureConfig { seed: 8, ..config }), mixture);
}

#[test]
fn invalid_options_are_errors() {
    let error = |change: &dyn Fn(&mut MixtureConfig)| {
        let mut config = config();
        change(&mut config);
        config.generate().unwrap_err().to_string()
    };
    assert!(error(&|config| config.unanswerable = 1.5).contains("--unanswerable 1.5"));
    assert!(error(&|config| config.first = 48).contains("--first 48"));
    assert!(error(&|config| config.languages.truncate(1)).contains("--languages"));
    assert!(error(&|config| config.questions = vec!["absent.json".into()]).contains("absent.json"));
}
