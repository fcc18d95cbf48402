//! Mapping between relations and class indices.
use crate::{Error, Result};

/// The relation of two entities without a relation, as in TACRED. It is excluded from the score.
pub const NO_RELATION: &str = "no_relation";

/// The relations that a classifier predicts; the index of a relation is its class. Class 0 is
/// [`NO_RELATION`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationLabels {
    names: Vec<String>,
}

impl RelationLabels {
    /// Creates the classes of [`NO_RELATION`] and of `relations`, in this order.
    ///
    /// ```
    /// use transfer_eval::relations::RelationLabels;
    ///
    /// let labels = RelationLabels::new(&["per:title", "per:spouse"])?;
    /// assert_eq!(labels.names(), ["no_relation", "per:title", "per:spouse"]);
    /// assert_eq!(labels.class("per:spouse"), Some(2));
    /// # Ok::<(), transfer_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] without a relation, or if a name is blank, [`NO_RELATION`] or listed twice.
    pub fn new<T: AsRef<str>>(relations: &[T]) -> Result<Self> {
        let mut names = vec![NO_RELATION.to_owned()];
        for relation in relations.iter().map(AsRef::as_ref) {
            let is_known = names.iter().any(|name| name == relation);
            if relation.trim().is_empty() || is_known {
                let rule = format!("distinct names other than `{NO_RELATION}`");
                return Err(Error::config("relations", format!("[…, {relation:?}]"), rule));
            }
            names.push(relation.to_owned());
        }
        if relations.is_empty() {
            return Err(Error::config("relations", "[]", "a list of names, such as \"per:title\""));
        }
        Ok(Self { names })
    }

    /// The relations in the order of their classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of a relation.
    pub fn class(&self, relation: &str) -> Option<usize> {
        self.names.iter().position(|name| name == relation)
    }

    /// The relation of a class.
    pub fn name(&self, class: usize) -> Option<&str> {
        self.names.get(class).map(String::as_str)
    }
}
