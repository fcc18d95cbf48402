use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use tokenizers::Tokenizer;

use super::description::text_budget;
use super::facts_by_language::FactsByLanguage;
use super::{EntailmentDatasetReport, EntailmentSource, RelationIds};
use crate::tokens::{encode_with_specials, unlimited};
use crate::{KgError, KnowledgeGraph, Language, seed};

/// A triple as object entailment sees it (XLM-K, §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectExample {
    /// Token ids of the subject's description, `<s> … </s>`.
    pub subject_ids: Vec<u32>,
    /// Number of the relation, r of Eq. 3, see [`RelationIds`].
    pub relation: u32,
    /// Id of the object.
    pub object: String,
    /// Token ids of the object's description, `<s> … </s>`.
    pub object_ids: Vec<u32>,
}

/// The triples of a graph for object entailment, divided into training triples and queries.
///
/// Descriptions are synthetic: the label of the entity, then other *training* triples about it, so
/// that no description tells what is held out. The descriptions of a training example leave out
/// its own triple, and what has no label in their language. For descriptions from texts see
/// [`EntailmentExamples`](super::EntailmentExamples).
///
/// The language of the subject is drawn with probability n^α / Σ n^α, where n is the number of its
/// triples and α is [`EntailmentSource::smoothing`], then one of these triples uniformly, and
/// uniformly another language of the object.
pub struct EntailmentDataset {
    graph: KnowledgeGraph,
    tokenizer: Tokenizer,
    languages: Vec<Language>,
    /// Tokens of a description without `<s>` and `</s>`.
    text_budget: usize,
    relations: RelationIds,
    /// Fact numbers.
    train: Vec<u32>,
    /// What is drawn where subject and object are described in two languages, and in one.
    across: FactsByLanguage,
    within: FactsByLanguage,
    /// Fact numbers of held-out triples whose subject and relation have one object.
    test: Vec<u32>,
    /// The training triples about each entity.
    facts_about: BTreeMap<String, Vec<u32>>,
    report: EntailmentDatasetReport,
}

impl EntailmentDataset {
    /// Calls `visit` with the name and text of everything that decides the training examples, in a
    /// fixed order and without paths: for a fingerprint of the data.
    ///
    /// The tokenizer comes as its JSON, empty if it cannot be written.
    pub fn visit(&self, mut visit: impl FnMut(&'static str, &str)) {
        visit("tokenizer", &self.tokenizer.to_string(false).unwrap_or_default());
        visit("text_budget", &self.text_budget.to_string());
        for drawn in [&self.across, &self.within] {
            visit("weights", &format!("{:?}", drawn.weights));
        }
        for language in &self.languages {
            visit("language", language.as_str());
        }
        for relation in self.relations() {
            visit("relation", relation);
        }
        for triple in self.train.iter().filter_map(|&fact| self.graph.triple(fact)) {
            for id in [triple.head, triple.relation, triple.tail] {
                visit("id", id);
                for language in &self.languages {
                    visit("label", self.graph.label(id, language.as_str()).unwrap_or_default());
                }
            }
        }
    }

    /// Reads a graph and divides its triples.
    ///
    /// # Errors
    /// [`KgError::Config`] as [`EntailmentSource::validate`], before anything is read; the errors
    /// of [`KnowledgeGraph::read_dir`]; [`KgError::UnknownLanguage`]; [`KgError::Empty`] if there
    /// is no triple to train on or none as a query.
    ///
    /// ```
    /// use kg_triples::knowledge::{EntailmentDataset, EntailmentSource};
    /// use kg_triples::{GraphBuilder, LabelKind};
    /// use rand_chacha::ChaCha8Rng;
    /// use rand_chacha::rand_core::SeedableRng;
    /// # let tokenizer = tokenizers::Tokenizer::from_file(
    /// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let mut builder = GraphBuilder::default();
    /// # for language in ["de", "en"] {
    /// #     builder.add_label("P36", language, "Stadt", LabelKind::Relation)?;
    /// # }
    /// # for at in 0..30 {
    /// #     let (country, city) = (format!("Q{at}"), format!("Q{}", 100 + at));
    /// #     builder.add_triple(&country, "P36", &city)?;
    /// #     for language in ["de", "en"] {
    /// #         builder.add_label(&country, language, &format!("Land {at}"), LabelKind::Entity)?;
    /// #         builder.add_label(&city, language, &format!("Stadt {at}"), LabelKind::Entity)?;
    /// #     }
    /// # }
    /// # builder.build().write_dir(folder.path())?;
    /// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
    /// let kg = folder.path().to_owned(); // triples.tsv and labels.tsv
    /// let source = EntailmentSource { kg, ..EntailmentSource::default() };
    /// let data = EntailmentDataset::load(&source, &tokenizer)?;
    /// println!("{}", data.report());
    /// let example = data.sample(true, &mut ChaCha8Rng::seed_from_u64(1))?;
    /// assert_eq!((example.relation, data.relations()), (0, ["P36".to_owned()].as_slice()));
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn load<P: AsRef<Path>>(
        source: &EntailmentSource<P>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, KgError> {
        source.validate()?;
        let graph = KnowledgeGraph::read_dir(&source.kg)?;
        let languages = languages(source, &graph)?;
        let Divided { train, test, facts_about, report } = divide(&graph, &languages, source);
        if train.is_empty() || test.is_empty() {
            let what = if train.is_empty() { "triples to train on" } else { "held-out triples" };
            return Err(KgError::Empty {
                what: format!("{}: {what}", source.kg.as_ref().display()),
                hint: format!(
                    "of {} triples those count whose subject and object are labelled in two of \
                     {languages:?}, one each, and as held out (held_out_fraction = {}) those with \
                     one object for subject and relation; give more triples or labels",
                    graph.len(),
                    source.held_out_fraction
                ),
            });
        }
        let relations = RelationIds::new(&graph);
        let report = EntailmentDatasetReport { relations: relations.len(), ..report };
        let usable = |multilingual: bool| {
            let (graph, all) = (&graph, &languages);
            move |fact: u32, language: Language| {
                graph.triple(fact).is_some_and(|triple| {
                    let labelled = |id, code: &Language| graph.label(id, code.as_str()).is_some();
                    let mut wanted =
                        all.iter().filter(|&other| (*other != language) == multilingual);
                    labelled(triple.head, &language)
                        && wanted.any(|code| labelled(triple.tail, code))
                })
            }
        };
        let by_language = |multilingual| {
            FactsByLanguage::new(&languages, &train, source.smoothing, usable(multilingual))
        };
        Ok(Self {
            across: by_language(true),
            within: by_language(false),
            relations,
            report,
            graph,
            tokenizer: unlimited(tokenizer)?,
            languages,
            text_budget: text_budget(source.description_tokens, "description_tokens")?,
            train,
            test,
            facts_about,
        })
    }

    /// The relations by number.
    pub fn relations(&self) -> &[String] {
        self.relations.ids()
    }

    /// What was found.
    pub fn report(&self) -> EntailmentDatasetReport {
        self.report
    }

    /// A random training example: subject and object are described in two languages or, without
    /// `multilingual`, in one.
    ///
    /// # Errors
    /// [`KgError::Tokenizer`] if a description cannot be encoded.
    pub fn sample(&self, multilingual: bool, rng: &mut impl Rng) -> Result<ObjectExample, KgError> {
        let drawn = if multilingual { &self.across } else { &self.within };
        let (language, fact) = drawn.sample(rng).ok_or_else(|| missing("a training triple"))?;
        let object_language = if multilingual {
            let triple = self.graph.triple(fact).ok_or_else(|| missing("a triple"))?;
            let others = self.languages_of(triple.tail).filter(|other| *other != language);
            let others: Vec<Language> = others.collect();
            others.choose(rng).copied().ok_or_else(|| missing("another language"))?
        } else {
            language
        };
        self.example(fact, language, object_language, rng)
    }

    /// The languages that the entity has a label in.
    fn languages_of<'a>(&'a self, entity: &'a str) -> impl Iterator<Item = Language> + 'a {
        let labelled = |code: &Language| self.graph.label(entity, code.as_str()).is_some();
        self.languages.iter().copied().filter(labelled)
    }

    fn example(
        &self,
        fact: u32,
        subject_language: Language,
        object_language: Language,
        rng: &mut impl Rng,
    ) -> Result<ObjectExample, KgError> {
        let triple = self.graph.triple(fact).ok_or_else(|| missing("a triple of this number"))?;
        let relation = self.relations.number(triple.relation);
        Ok(ObjectExample {
            subject_ids: self.synthetic_description(
                triple.head,
                subject_language,
                Some(fact),
                rng,
            )?,
            relation: relation.ok_or_else(|| missing("a numbered relation"))?,
            object: triple.tail.to_owned(),
            object_ids: self.synthetic_description(
                triple.tail,
                object_language,
                Some(fact),
                rng,
            )?,
        })
    }

    /// `label . relation other . relation other …`: what the training triples other than `without`
    /// say about `entity`, in random order, as many as the budget of tokens allows.
    fn synthetic_description(
        &self,
        entity: &str,
        language: Language,
        without: Option<u32>,
        rng: &mut impl Rng,
    ) -> Result<Vec<u32>, KgError> {
        let label = |id: &str| self.graph.label(id, language.as_str());
        let facts = self.facts_about.get(entity).into_iter().flatten().copied();
        let mut facts: Vec<u32> = facts.filter(|fact| Some(*fact) != without).collect();
        facts.shuffle(rng);
        let nameless = || KgError::Value {
            field: "label",
            expected: format!("a label of {entity:?} in language {language:?}"),
            got: "none".into(),
        };
        let mut text = label(entity).ok_or_else(nameless)?.to_owned();
        // A triple takes two tokens or more, so no more than half the budget can fit.
        let told = facts.into_iter().filter_map(|fact| {
            let triple = self.graph.triple(fact)?;
            let other = if triple.head == entity { triple.tail } else { triple.head };
            Some((label(triple.relation)?, label(other)?))
        });
        for (relation, other) in told.take(self.text_budget / 2) {
            text.push_str(&format!(" . {relation} {other}"));
        }
        let mut ids = encode_with_specials(&self.tokenizer, &text)?;
        if ids.len() > self.text_budget + 2
            && let Some(&end) = ids.last()
        {
            ids.truncate(self.text_budget + 1);
            ids.push(end);
        }
        Ok(ids)
    }

    /// The candidates of the probe: every entity that is an object of some triple and occurs in a
    /// training triple, with one language for its description, sorted by id.
    pub fn objects(&self) -> Vec<(String, Language)> {
        let objects: BTreeSet<&str> = self.graph.triples().map(|triple| triple.tail).collect();
        objects
            .into_iter()
            .filter(|object| self.facts_about.contains_key(*object))
            .filter_map(|object| {
                let mut rng = seed::stream_rng(0, object, 0);
                let languages: Vec<Language> = self.languages_of(object).collect();
                Some((object.to_owned(), *languages.choose(&mut rng)?))
            })
            .collect()
    }

    /// Token ids of the description of a candidate, from training triples alone.
    ///
    /// # Errors
    /// [`KgError::Value`] if `object` has no label in `language`; [`KgError::Tokenizer`] if the
    /// description cannot be encoded.
    pub fn object_ids(&self, object: &str, language: Language) -> Result<Vec<u32>, KgError> {
        let mut rng = seed::stream_rng(1, object, 0);
        self.synthetic_description(object, language, None, &mut rng)
    }

    /// The held-out triples as queries: subject and relation, with the language of the subject's
    /// description, which differs from `object_language` of the object. Triples for whose object
    /// `object_language` is `None` are left out.
    ///
    /// # Errors
    /// [`KgError::Tokenizer`] if a description cannot be encoded.
    pub fn queries(
        &self,
        object_language: impl Fn(&str) -> Option<Language>,
    ) -> Result<Vec<(Language, ObjectExample)>, KgError> {
        let mut queries = Vec::new();
        for &fact in &self.test {
            let Some(triple) = self.graph.triple(fact) else { continue };
            let Some(object_language) = object_language(triple.tail) else { continue };
            let mut rng = seed::stream_rng(2, "query", u64::from(fact));
            let others = self.languages_of(triple.head).filter(|other| *other != object_language);
            let others: Vec<Language> = others.collect();
            let Some(&language) = others.choose(&mut rng) else { continue };
            let example = self.example(fact, language, object_language, &mut rng)?;
            queries.push((language, example));
        }
        Ok(queries)
    }
}

/// Something that [`EntailmentDataset::load`] makes sure of is not there.
fn missing(what: &str) -> KgError {
    KgError::Value { field: "facts", expected: what.into(), got: "none".into() }
}

fn languages<P>(
    source: &EntailmentSource<P>,
    graph: &KnowledgeGraph,
) -> Result<Vec<Language>, KgError> {
    if !source.languages.is_empty() {
        let known = source.languages.iter().map(|language| graph.known_language(language.as_str()));
        return known.collect();
    }
    if graph.languages().len() < 2 {
        return Err(KgError::Config {
            key: "languages",
            value: format!("{:?}", graph.languages()),
            rule: "two languages or more: give labels in another one",
        });
    }
    Ok(graph.languages().to_vec())
}

/// The triples with labels in two languages, divided.
#[derive(Default)]
struct Divided {
    train: Vec<u32>,
    test: Vec<u32>,
    facts_about: BTreeMap<String, Vec<u32>>,
    report: EntailmentDatasetReport,
}

fn divide<P>(
    graph: &KnowledgeGraph,
    languages: &[Language],
    source: &EntailmentSource<P>,
) -> Divided {
    let mut objects: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for triple in graph.triples() {
        *objects.entry((triple.head, triple.relation)).or_default() += 1;
    }
    let labels = |id: &str| -> Vec<&Language> {
        languages.iter().filter(|code| graph.label(id, code.as_str()).is_some()).collect()
    };
    let mut divided = Divided::default();
    let report = &mut divided.report;
    for (fact, triple) in (0u32..).zip(graph.triples()) {
        report.triples += 1;
        let (subject, object) = (labels(triple.head), labels(triple.tail));
        if !subject.iter().any(|one| object.iter().any(|other| one != other)) {
            report.without_labels += 1;
            continue;
        }
        let name = format!("fact {} {} {}", triple.head, triple.relation, triple.tail);
        if seed::hash_to_unit(source.seed, &name) < source.held_out_fraction {
            if objects.get(&(triple.head, triple.relation)) == Some(&1) {
                divided.test.push(fact);
                report.test += 1;
            } else {
                report.ambiguous += 1;
            }
            continue;
        }
        divided.train.push(fact);
        report.train += 1;
        for entity in [triple.head, triple.tail] {
            divided.facts_about.entry(entity.to_owned()).or_default().push(fact);
        }
    }
    divided
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::seed::digest;

    fn rng(stream: &str, seed: u64) -> ChaCha8Rng {
        seed::stream_rng(seed, stream, 0)
    }

    fn dataset() -> EntailmentDataset {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tokenizer = Tokenizer::from_file(root.join("data/base/tokenizer.json")).unwrap();
        let source = EntailmentSource {
            kg: root.join("data/mini-kg"),
            description_tokens: 24,
            ..EntailmentSource::default()
        };
        EntailmentDataset::load(&source, &tokenizer).unwrap()
    }

    #[test]
    fn descriptions_tell_other_trained_facts_only() {
        let data = dataset();
        let train: BTreeSet<u32> = data.train.iter().copied().collect();
        assert!(data.test.iter().all(|fact| !train.contains(fact)));
        assert!(data.facts_about.values().flatten().all(|fact| train.contains(fact)));
        let mut sampler = rng("test", 1);
        let english = Language::new("en").unwrap();
        // A country of one continent: without that fact its description does not name the
        // continent.
        let fact = *data
            .train
            .iter()
            .find(|&&fact| {
                let triple = data.graph.triple(fact).unwrap();
                triple.relation == "continent" && data.facts_about[triple.head].len() < 5
            })
            .unwrap();
        let triple = data.graph.triple(fact).unwrap();
        let text = |without| {
            let ids = data
                .synthetic_description(triple.head, english, without, &mut rng("text", 2))
                .unwrap();
            data.tokenizer.decode(&ids, true).unwrap()
        };
        let continent = data.graph.label("continent", "en").unwrap();
        assert!(text(None).contains(continent), "{}", text(None));
        assert!(!text(Some(fact)).contains(continent), "{}", text(Some(fact)));
        for _ in 0..200 {
            let example = data.sample(true, &mut sampler).unwrap();
            assert!(example.subject_ids.len() <= 24 && example.object_ids.len() <= 24);
            assert!((0..6).contains(&example.relation));
            for ids in [&example.subject_ids, &example.object_ids] {
                assert_eq!((ids.first(), ids.last()), (Some(&0), Some(&2)));
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_examples() {
        let data = dataset();
        let sample = || data.sample(true, &mut rng("draw", 5)).unwrap();
        assert_eq!(sample(), sample());
        let languages = data.objects();
        let language_of = |object: &str| {
            languages.iter().find(|(known, _)| known == object).map(|(_, language)| *language)
        };
        let queries = data.queries(language_of).unwrap();
        assert!(queries.len() > 30);
        assert_eq!(queries, data.queries(language_of).unwrap());
        for (language, example) in &queries {
            assert_ne!(Some(*language), language_of(&example.object));
        }
    }

    /// What the same seeds have always given: a change of these numbers is a change of results.
    #[test]
    fn samples_objects_and_queries_are_pinned() {
        let data = dataset();
        let report = "1164 facts of 6 relations to train on, 177 held out with a unique answer (of \
                      1442: 0 without labels in two languages, 101 held out with several answers)";
        assert_eq!(data.report().to_string(), report);
        let line = |example: &ObjectExample| {
            let ObjectExample { subject_ids, relation, object, object_ids } = example;
            format!("{subject_ids:?} {relation} {object} {object_ids:?}\n")
        };
        let mut sampler = rng("gold", 9);
        let samples = (0..300).map(|k| line(&data.sample(k % 2 == 0, &mut sampler).unwrap()));
        assert_eq!(digest(samples.collect()), "51cba4633bef5316");
        let objects = data.objects();
        let lines = objects.iter().map(|(object, language)| {
            format!("{object} {language} {:?}\n", data.object_ids(object, *language).unwrap())
        });
        assert_eq!((objects.len(), digest(lines.collect()).as_str()), (403, "060de07ac0cb7d85"));
        let language_of = |object: &str| {
            objects.iter().find(|(known, _)| known == object).map(|(_, language)| *language)
        };
        let queries = data.queries(language_of).unwrap();
        let lines = queries.iter().map(|(language, query)| format!("{language} {}", line(query)));
        assert_eq!((queries.len(), digest(lines.collect()).as_str()), (171, "7e6b91c24de15c49"));
    }
}
