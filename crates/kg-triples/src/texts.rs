//! Triples as plain text of one language.
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{KgError, KnowledgeGraph, Language, each_once, output};

impl KnowledgeGraph {
    /// The triples in `language`, one text each: the labels of head, relation and tail with spaces
    /// between them, as a monolingual sequence has them. Triples without all three labels are left
    /// out.
    ///
    /// ```
    /// use kg_triples::{GraphBuilder, LabelKind, Language};
    ///
    /// let mut builder = GraphBuilder::default();
    /// builder.add_triple("Q183", "P36", "Q64")?;
    /// builder.add_label("Q183", "de", "Deutschland", LabelKind::Entity)?;
    /// builder.add_label("Q64", "de", "Berlin", LabelKind::Entity)?;
    /// builder.add_label("P36", "de", "Hauptstadt", LabelKind::Relation)?;
    /// let graph = builder.build();
    /// let texts: Vec<String> = graph.texts(Language::DE).collect();
    /// assert_eq!(texts, ["Deutschland Hauptstadt Berlin"]);
    /// assert_eq!(graph.texts(Language::EN).count(), 0);
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn texts(&self, language: Language) -> impl Iterator<Item = String> {
        self.triples.iter().filter_map(move |&[head, relation, tail]| {
            let [head, relation, tail] =
                [head, relation, tail].map(|id| self.label_at(id, language));
            Some([head?, relation?, tail?].join(" "))
        })
    }

    /// Writes [`texts`](Self::texts) to `triples.<language>.txt` in the folder `dir`, one a line;
    /// returns the file and the number of its lines.
    ///
    /// # Errors
    /// [`KgError::Io`] if the file cannot be written; [`KgError::Empty`] if no triple has all its
    /// labels in `language`.
    ///
    /// ```
    /// use kg_triples::{KnowledgeGraph, Language};
    ///
    /// let graph = KnowledgeGraph::read_dir("../../data/demo/kg")?;
    /// let folder = tempfile::tempdir().unwrap();
    /// let (path, lines) = graph.write_texts(Language::DE, folder.path())?;
    /// assert!(path.ends_with("triples.de.txt") && lines == graph.len());
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn write_texts(
        &self,
        language: Language,
        dir: impl AsRef<Path>,
    ) -> Result<(PathBuf, usize), KgError> {
        let mut written = self.write_all_texts(&[language], dir)?;
        written.pop().ok_or_else(|| self.no_text(language))
    }

    /// The same for several languages, in their order; all files are complete before the first
    /// gets its name.
    ///
    /// # Errors
    /// As [`KnowledgeGraph::write_texts`]; [`KgError::Config`] for a language that is named twice.
    pub fn write_all_texts(
        &self,
        languages: &[Language],
        dir: impl AsRef<Path>,
    ) -> Result<Vec<(PathBuf, usize)>, KgError> {
        each_once("languages", languages)?;
        let mut files = Vec::with_capacity(languages.len());
        let mut written = Vec::with_capacity(languages.len());
        for &language in languages {
            let path = dir.as_ref().join(format!("triples.{language}.txt"));
            let mut file = output::create(&path)?;
            let mut lines = 0;
            for text in self.texts(language) {
                writeln!(file, "{text}").map_err(KgError::io(&path, "write the file"))?;
                lines += 1;
            }
            if lines == 0 {
                return Err(self.no_text(language));
            }
            files.push(output::sync(file)?);
            written.push((path, lines));
        }
        output::publish(files)?;
        Ok(written)
    }

    fn no_text(&self, language: Language) -> KgError {
        let what = format!("triples with all labels in {language}");
        let hint = format!("of {} triples none has them; name other languages", self.len());
        KgError::Empty { what, hint }
    }
}
