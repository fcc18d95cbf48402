//! Samples of a folder that need little memory, however many facts it holds.
//!
//! Sorted tables, as `extract` and [`KnowledgeGraph::write_dir`] write them, are read in passes:
//! the labels, of which a few bits are kept for each id; the facts, which are judged by these bits,
//! counted and drawn by rank; and the labels again, of the facts that were drawn. Facts that
//! redirects change are held, since they may repeat others.
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blocks::{Cut, Irregular, cells, rows, scan};
use super::ids::{IdMap, Redirects};
use super::rules::{Rules, Verdict};
use super::{
    INSTANCE_OF, Ranks, SampleConfig, SampleReport, checked, finish, known_languages, share,
};
use crate::folder::{LABELS, REDIRECTS, TRIPLES};
use crate::{GraphBuilder, KgError, KnowledgeGraph, LabelKind, Language, sample};

/// Samples the facts of a folder as [`sample`](crate::sample()) samples those of the graph that
/// [`KnowledgeGraph::read_dir`] and [`KnowledgeGraph::with_redirects`] (`redirects.tsv`, if it is
/// there) make of it: the result is the same.
///
/// It holds a few bits for each id, the redirects, and what it draws, as long as `triples.tsv` and
/// `labels.tsv` are sorted by id, without repeated rows, and have a column `kind`, as `extract` and
/// [`KnowledgeGraph::write_dir`] write them. Any other folder is read into memory.
///
/// # Errors
/// As [`sample`](crate::sample()) and [`KnowledgeGraph::read_dir`].
///
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, SampleConfig, sample, sample_folder};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?;
/// for (id, kind) in
///     [("Q183", LabelKind::Entity), ("P36", LabelKind::Relation), ("Q64", LabelKind::Entity)]
/// {
///     builder.add_label(id, "en", &format!("label of {id}"), kind)?;
/// }
/// let graph = builder.build();
/// let folder = tempfile::tempdir().unwrap();
/// graph.write_dir(folder.path())?;
/// let config = SampleConfig { languages: vec!["en".into()], ..SampleConfig::default() };
/// assert_eq!(sample_folder(folder.path(), &config)?, sample(&graph, &config)?);
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn sample_folder(
    dir: impl AsRef<Path>,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), KgError> {
    let dir = dir.as_ref();
    config.validate()?;
    match streamed(dir, config) {
        Ok(result) => result,
        Err(Irregular) => {
            let graph = KnowledgeGraph::read_dir(dir)?;
            sample(&graph.with_redirects(&dir.join("redirects.tsv"))?, config)
        }
    }
}

type Sampled = Result<(KnowledgeGraph, SampleReport), KgError>;

fn streamed(dir: &Path, config: &SampleConfig) -> Result<Sampled, Irregular> {
    let redirects = read_redirects(dir)?;
    let codes = config.languages.iter().map(|code| Language::new(code).map_err(|_| Irregular));
    let wanted = codes.collect::<Result<Vec<_>, _>>()?;
    let rules = Rules::new(config, &wanted);
    let (labels, found) = read_labels(dir, &rules)?;
    let languages = match known_languages(config, &found) {
        Ok(languages) => languages,
        Err(error) => return Ok(Err(error)),
    };
    drop(found);
    let mut facts = Facts::new(dir, config, rules, labels, redirects);
    facts.prepare()?;
    let (report, picked) = facts.draw()?;
    if let Err(error) = checked(&report, config, &languages) {
        return Ok(Err(error));
    }
    let graph = with_labels(dir, &picked, &languages)?;
    Ok(finish(&graph, &graph.triples, (&languages, config), report))
}

/// Of an empty list for a folder without the table.
fn read_redirects(dir: &Path) -> Result<Redirects, Irregular> {
    let path = dir.join("redirects.tsv");
    let mut redirects = Redirects::default();
    if path.with_extension("").exists() {
        return Err(Irregular); // not a table of this form
    }
    if path.exists() {
        let read = |block: &[u8]| -> Result<Vec<[String; 2]>, Irregular> {
            let pair = |row| cells::<2>(row).map(|pair| pair.map(str::to_owned));
            rows(block)?.map(pair).collect()
        };
        scan(&path, &REDIRECTS.join("\t"), Cut::Row, read, |pairs| {
            pairs.iter().for_each(|[id, target]| redirects.add(id, target));
            Ok(())
        })?;
    }
    Ok(redirects)
}

/// The labels of one id, in languages that differ.
type Group<'a> = Vec<(Language, &'a str)>;

/// Calls `each` with every id of a block and its labels; ids must be sorted. The languages are
/// added to `languages`.
fn each_id<'a>(
    block: &'a [u8],
    languages: &mut Vec<Language>,
    mut each: impl FnMut(&'a str, &Group<'a>),
) -> Result<Option<[&'a str; 2]>, Irregular> {
    let (mut group, mut last, mut first) = (Group::new(), None, None);
    for row in rows(block)? {
        let [id, code, label, kind] = cells(row)?;
        if kind != "entity" && kind != "relation" {
            return Err(Irregular);
        }
        if last != Some(id) {
            if let Some(last) = last.replace(id) {
                if last > id {
                    return Err(Irregular);
                }
                each(last, &group);
            }
            first = first.or(last);
            group.clear();
        }
        let known = languages.iter().find(|known| **known == *code).copied();
        let language = match known {
            Some(language) => language,
            None => {
                let language = Language::new(code).map_err(|_| Irregular)?;
                languages.push(language);
                language
            }
        };
        match group.iter().find(|(known, _)| *known == language) {
            None => group.push((language, label)),
            // An entity that is a relation, too.
            Some((_, known)) if *known == label => (),
            Some(_) => return Err(Irregular),
        }
    }
    if let Some(last) = last {
        each(last, &group);
    }
    Ok(first.zip(last).map(|(first, last)| [first, last]))
}

/// Keeps the order of keys from block to block.
#[derive(Default)]
struct Order(Option<String>);

impl Order {
    /// The first and last key of the next block, which must lie behind those before.
    fn check(&mut self, ends: Option<[String; 2]>) -> Result<(), Irregular> {
        let Some([first, last]) = ends else { return Ok(()) };
        if self.0.as_ref().is_some_and(|before| *before >= first) {
            return Err(Irregular);
        }
        self.0 = Some(last);
        Ok(())
    }
}

/// What the rules need of every id's labels, and the languages that there are.
fn read_labels(dir: &Path, rules: &Rules) -> Result<(IdMap, Vec<Language>), Irregular> {
    let (mut bits, mut order) = (IdMap::new(rules.width()), Order::default());
    let mut all: Vec<Language> = Vec::new();
    let read = |block: &[u8]| {
        let (mut found, mut languages) = (Vec::new(), Vec::new());
        let ends = each_id(block, &mut languages, |id, group| {
            match rules.bits(group) {
                0 => (),
                bits => found.push((Box::<str>::from(id), bits)),
            };
        })?;
        Ok((found, languages, ends.map(|ends| ends.map(str::to_owned))))
    };
    scan(&dir.join("labels.tsv"), &LABELS.join("\t"), Cut::Id, read, |block| {
        let (found, languages, ends) = block;
        order.check(ends)?;
        found.iter().for_each(|(id, of_id)| bits.add(id, *of_id));
        all.extend(languages);
        all.sort_unstable();
        all.dedup();
        Ok(())
    })?;
    Ok((bits, all))
}

/// A fact that may be drawn, by its rank. Facts sort as ids do.
type Ranked<T> = (u64, [T; 3]);

/// Facts by their ids.
type FactIds = Vec<[Box<str>; 3]>;

/// The `count` lowest.
fn lowest<T: Ord>(facts: &mut Vec<T>, count: usize) {
    if count < facts.len() {
        facts.select_nth_unstable(count);
        facts.truncate(count);
    }
}

/// What is drawn of a group: so many facts of lowest rank. Those above `highest` are not.
struct Bound {
    quota: usize,
    highest: AtomicU64,
}

impl Bound {
    fn new(quota: usize) -> Self {
        Self { quota, highest: AtomicU64::new(u64::MAX) }
    }
}

/// The groups to draw from: relations, or one that is named by nothing.
type Bounds = HashMap<String, Bound>;

/// What a block of facts gives.
#[derive(Default)]
struct Found {
    report: SampleReport,
    /// How many may be drawn.
    sizes: HashMap<String, usize>,
    drawn: Vec<(String, Vec<Ranked<Box<str>>>)>,
}

struct Facts<'a> {
    dir: &'a Path,
    config: &'a SampleConfig,
    rules: Rules,
    labels: IdMap,
    redirects: Redirects,
    ranks: Ranks,
    /// Rows that redirects made.
    changed: HashSet<String>,
    /// Heads of the types asked for.
    heads: Option<IdMap>,
}

impl<'a> Facts<'a> {
    fn new(
        dir: &'a Path,
        config: &'a SampleConfig,
        rules: Rules,
        labels: IdMap,
        redirects: Redirects,
    ) -> Self {
        let heads = (!config.types.is_empty()).then(|| IdMap::new(1));
        let (ranks, changed) = (Ranks::new(config.seed), HashSet::new());
        Self { dir, config, rules, labels, redirects, ranks, changed, heads }
    }

    /// Reads the facts once; rows must be sorted.
    fn scan<T: Send>(
        &self,
        read: impl Fn(&[u8]) -> Result<T, Irregular> + Sync,
        mut take: impl FnMut(T),
    ) -> Result<(), Irregular> {
        let read = |block: &[u8]| -> Result<_, Irregular> {
            let mut ends: Option<[&str; 2]> = None;
            for row in rows(block)? {
                let [first, last] = ends.unwrap_or([row; 2]);
                if ends.is_some() && last >= row {
                    return Err(Irregular);
                }
                ends = Some([first, row]);
            }
            Ok((ends.map(|ends| ends.map(str::to_owned)), read(block)?))
        };
        let mut order = Order::default();
        scan(&self.dir.join("triples.tsv"), &TRIPLES.join("\t"), Cut::Row, read, |(ends, found)| {
            order.check(ends)?;
            take(found);
            Ok(())
        })
    }

    /// Finds the facts that redirects change, and the heads of the types asked for.
    fn prepare(&mut self) -> Result<(), Irregular> {
        if self.redirects.is_empty() && self.heads.is_none() {
            return Ok(());
        }
        let read = |block: &[u8]| {
            let (mut changed, mut heads) = (Vec::new(), Vec::new());
            for row in rows(block)? {
                let [head, relation, tail] = cells(row)?;
                let (new_head, new_tail) =
                    (self.redirects.resolve(head), self.redirects.resolve(tail));
                if relation == INSTANCE_OF && self.config.types.iter().any(|id| **id == *new_tail) {
                    heads.push(new_head.clone().into_owned());
                }
                if new_head != head || new_tail != tail {
                    changed.push(format!("{new_head}\t{relation}\t{new_tail}"));
                }
            }
            Ok((changed, heads))
        };
        let (mut changed, mut found) = (HashSet::new(), self.heads.clone());
        self.scan(read, |(block, heads)| {
            changed.extend(block);
            if let Some(found) = &mut found {
                heads.iter().for_each(|head| found.add(head, 1));
            }
        })?;
        (self.changed, self.heads) = (changed, found);
        Ok(())
    }

    /// Draws facts, in one pass or, evenly by relation, in two.
    fn draw(&self) -> Result<(SampleReport, FactIds), Irregular> {
        let mut report = SampleReport { requested: self.config.count, ..SampleReport::default() };
        let mut bounds = Bounds::from([(String::new(), Bound::new(self.config.count))]);
        if self.config.stratified {
            let mut sizes: HashMap<String, usize> = HashMap::new();
            self.pass(None, |found| {
                report.add(&found.report);
                for (relation, count) in found.sizes {
                    *sizes.entry(relation).or_default() += count;
                }
            })?;
            let shares = share(sizes.into_iter().collect(), self.config.count).into_iter();
            bounds = shares.map(|(relation, quota)| (relation, Bound::new(quota))).collect();
        }
        let mut drawn: HashMap<String, Vec<Ranked<Box<str>>>> = HashMap::new();
        self.pass(Some(&bounds), |found| {
            if !self.config.stratified {
                report.add(&found.report);
            }
            for (group, facts) in found.drawn {
                let Some(bound) = bounds.get(&group) else { continue };
                let all = drawn.entry(group).or_default();
                all.extend(facts);
                if all.len() > 2 * bound.quota {
                    lowest(all, bound.quota);
                    let highest = all.iter().map(|(rank, _)| *rank).max();
                    bound.highest.store(highest.unwrap_or_default(), Ordering::Relaxed);
                }
            }
        })?;
        let mut picked = Vec::new();
        for (group, mut facts) in drawn {
            lowest(&mut facts, bounds.get(&group).map_or(0, |bound| bound.quota));
            picked.extend(facts.into_iter().map(|(_, fact)| fact));
        }
        Ok((report, picked))
    }

    /// Judges every fact once, and draws within `bounds`.
    fn pass(&self, bounds: Option<&Bounds>, mut take: impl FnMut(Found)) -> Result<(), Irregular> {
        self.scan(|block| self.judge(block, bounds, false), &mut take)?;
        let changed: Vec<&str> = self.changed.iter().map(String::as_str).collect();
        take(self.judge(changed.join("\n").as_bytes(), bounds, true)?);
        Ok(())
    }

    /// Judges the facts of a block, which holds those that redirects changed, or the others.
    fn judge(
        &self,
        block: &[u8],
        bounds: Option<&Bounds>,
        is_changed: bool,
    ) -> Result<Found, Irregular> {
        let mut report = SampleReport::default();
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        let mut drawn: HashMap<&str, Vec<Ranked<&str>>> = HashMap::new();
        for row in rows(block)? {
            let fact = cells(row)?;
            let [head, relation, tail] = fact;
            if !is_changed && self.is_elsewhere(row, [head, tail]) {
                continue;
            }
            report.read += 1;
            if head == tail {
                report.self_loops += 1;
                continue;
            }
            if !self.takes(head, relation) {
                report.filtered += 1;
                continue;
            }
            let verdict = self.rules.judge(fact.map(|id| self.labels.get(id)));
            report.count(verdict);
            if verdict != Verdict::Usable {
                continue;
            }
            let Some(bounds) = bounds else {
                *sizes.entry(relation).or_default() += 1;
                continue;
            };
            let group = if self.config.stratified { relation } else { "" };
            let highest = bounds.get(group).map(|bound| bound.highest.load(Ordering::Relaxed));
            let rank = self.ranks.rank(fact);
            if highest.is_some_and(|highest| rank <= highest) {
                drawn.entry(group).or_default().push((rank, fact));
            }
        }
        let quota = |group: &str| {
            bounds.and_then(|bounds| bounds.get(group)).map_or(0, |bound| bound.quota)
        };
        let own = |(group, mut facts): (&str, Vec<Ranked<&str>>)| {
            lowest(&mut facts, quota(group));
            let facts = facts.into_iter().map(|(rank, fact)| (rank, fact.map(Box::from)));
            (group.to_owned(), facts.collect())
        };
        let drawn = drawn.into_iter().map(own).collect();
        let sizes = sizes.into_iter().map(|(group, count)| (group.to_owned(), count)).collect();
        Ok(Found { report, sizes, drawn })
    }

    /// Whether redirects change this row, or make it of another one.
    fn is_elsewhere(&self, row: &str, ends: [&str; 2]) -> bool {
        !self.redirects.is_empty()
            && (ends.iter().any(|id| self.redirects.resolve(id) != **id)
                || self.changed.contains(row))
    }

    /// Whether head and relation are asked for.
    fn takes(&self, head: &str, relation: &str) -> bool {
        let relations = &self.config.relations;
        (relations.is_empty() || relations.iter().any(|known| known == relation))
            && self.heads.as_ref().is_none_or(|heads| heads.get(head) != 0)
    }
}

/// The graph of these facts, with their labels in these languages and in English.
fn with_labels(
    dir: &Path,
    facts: &[[Box<str>; 3]],
    languages: &[Language],
) -> Result<KnowledgeGraph, Irregular> {
    let mut builder = GraphBuilder::default();
    let mut kinds: HashMap<&str, LabelKind> = HashMap::new();
    for [head, relation, tail] in facts {
        builder.add_triple(head, relation, tail).map_err(|_| Irregular)?;
        kinds.insert(head, LabelKind::Entity);
        kinds.insert(tail, LabelKind::Entity);
    }
    // The kind of an id is known already, and one of its kinds will do for its labels.
    kinds.extend(facts.iter().map(|[_, relation, _]| (&**relation, LabelKind::Relation)));
    let read = |block: &[u8]| {
        let mut found: Vec<(String, Language, String)> = Vec::new();
        each_id(block, &mut Vec::new(), |id, group| {
            if kinds.contains_key(id) {
                let wanted = |(language, _): &&(Language, &str)| {
                    languages.contains(language) || *language == Language::EN
                };
                let owned = group.iter().filter(wanted);
                found
                    .extend(owned.map(|(code, label)| (id.to_owned(), *code, (*label).to_owned())));
            }
        })?;
        Ok(found)
    };
    scan(&dir.join("labels.tsv"), &LABELS.join("\t"), Cut::Id, read, |found| {
        for (id, language, label) in found {
            let kind = kinds.get(&*id).copied().unwrap_or(LabelKind::Entity);
            let added = builder.add_label(&id, language.as_str(), &label, kind);
            added.map_err(|_| Irregular)?;
        }
        Ok(())
    })?;
    Ok(builder.build())
}

#[cfg(test)]
mod tests;
