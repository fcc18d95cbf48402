//! Deserialisation of the requested fields of an entity. The values are borrowed from the line
//! where possible, and fields that are not requested are skipped.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::dump::entity::is_id;

/// A JSON string as bytes in WTF-8. Unlike UTF-8, WTF-8 can represent unpaired surrogates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawString<'de>(pub(super) Cow<'de, [u8]>);

impl<'de> Deserialize<'de> for RawString<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = RawString<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<RawString<'de>, E> {
                Ok(RawString(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<RawString<'de>, E> {
                Ok(RawString(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

impl<'de> RawString<'de> {
    /// Returns the string if it is valid UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Deserialises a JSON object by a call of [`VisitEntries::visit_entry`] for each entry. Empty
/// arrays and `null` are accepted as objects without entries.
pub(super) struct ObjectSeed<'a, F>(pub(super) &'a mut F);

/// A type that is deserialised by visiting the entries of a JSON object.
pub(super) trait VisitEntries<'de> {
    /// Reads the value of `key` from `map`. Returns `false` without reading if the value must be
    /// skipped.
    ///
    /// # Errors
    /// If the value cannot be deserialised.
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

impl<'de, F: VisitEntries<'de>> DeserializeSeed<'de> for ObjectSeed<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: VisitEntries<'de>> Visitor<'de> for ObjectSeed<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if !self.0.visit_entry(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match seq.next_element::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("an array in place of an object")),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An object key, borrowed if it contains no escape sequences.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value of a type that implements [`VisitEntries`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FromEntries<T>(pub(super) T);

impl<'de, T: Default + VisitEntries<'de>> Deserialize<'de> for FromEntries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_entries(deserializer).map(Self)
    }
}

/// Deserialises an object by visiting its entries.
pub(super) fn from_entries<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + VisitEntries<'de>,
    D: Deserializer<'de>,
{
    let mut value = T::default();
    ObjectSeed(&mut value).deserialize(deserializer)?;
    Ok(value)
}

/// An array of objects; `null` counts as an empty array.
pub(super) type ObjectList<T> = Option<Vec<FromEntries<T>>>;

/// Reads the next value of `map`, which must be an object. Returns the values of this object by the
/// key that `convert_key` returns. Entries for which it returns `None` are skipped.
///
/// # Errors
/// If a value cannot be deserialised.
pub(super) fn read_selected<'de, K: Ord, V: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    convert_key: &dyn Fn(&str) -> Option<K>,
) -> Result<BTreeMap<K, V>, A::Error> {
    let mut selector = KeySelector { convert_key, values: BTreeMap::new() };
    map.next_value_seed(ObjectSeed(&mut selector))?;
    Ok(selector.values)
}

struct KeySelector<'w, K, V> {
    convert_key: &'w dyn Fn(&str) -> Option<K>,
    values: BTreeMap<K, V>,
}

impl<'de, K: Ord, V: Deserialize<'de>> VisitEntries<'de> for KeySelector<'_, K, V> {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Some(key) = (self.convert_key)(key) else { return Ok(false) };
        self.values.insert(key, map.next_value()?);
        Ok(true)
    }
}

/// The rank of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rank {
    Deprecated,
    #[default]
    Normal,
    Preferred,
}

/// The value of a statement's main snak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Tail {
    /// `somevalue` or `novalue`.
    Unknown,
    /// A known value that is not an item.
    #[default]
    Other,
    Item(String),
}

/// A statement of a property: its rank and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) rank: Rank,
    pub(super) tail: Tail,
}

impl<'de> VisitEntries<'de> for Statement {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "rank" => {
                self.rank = match map.next_value::<RawString<'de>>()?.text() {
                    Some("deprecated") => Rank::Deprecated,
                    Some("preferred") => Rank::Preferred,
                    _ => Rank::Normal,
                }
            }
            "mainsnak" => {
                let FromEntries(snak) = map.next_value::<FromEntries<Snak>>()?;
                self.tail = match snak.is_unknown {
                    true => Tail::Unknown,
                    false => snak.value,
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Snak {
    is_unknown: bool,
    value: Tail,
}

impl<'de> VisitEntries<'de> for Snak {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "snaktype" => {
                let snaktype = map.next_value::<RawString<'de>>()?;
                self.is_unknown = matches!(snaktype.text(), Some("somevalue" | "novalue"));
            }
            "datavalue" => self.value = map.next_value::<FromEntries<DataValue>>()?.0.0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Default)]
struct DataValue(Tail);

impl<'de> VisitEntries<'de> for DataValue {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "value" {
            return Ok(false);
        }
        // The value may have any JSON type, but only an object can identify an item.
        let value = map.next_value::<&RawValue>()?.get();
        self.0 = match value.starts_with('{') {
            true => {
                let entity = serde_json::from_str::<FromEntries<EntityValue>>(value);
                entity.map_err(A::Error::custom)?.0.into_tail()
            }
            false => Tail::Other,
        };
        Ok(true)
    }
}

#[derive(Default)]
struct EntityValue {
    is_item: bool,
    id: Option<String>,
    numeric_id: Option<u64>,
}

impl EntityValue {
    /// Returns the id of the item, or [`Tail::Other`] if the value is not an item. In old dumps, a
    /// value has no `id`, and the id is built from `numeric-id`.
    fn into_tail(self) -> Tail {
        let id = self.id.or_else(|| self.numeric_id.map(|number| format!("Q{number}")));
        match id.filter(|id| self.is_item && is_id(id)) {
            Some(id) => Tail::Item(id),
            None => Tail::Other,
        }
    }
}

impl<'de> VisitEntries<'de> for EntityValue {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        // Only values that identify an entity have these keys; a coordinate, for example, has none
        // of them.
        match key {
            "entity-type" => {
                let value = map.next_value::<&RawValue>()?.get();
                let name = serde_json::from_str::<RawString<'_>>(value).ok();
                self.is_item = name.is_some_and(|name| name.text() == Some("item"));
            }
            "id" => {
                let value = map.next_value::<&RawValue>()?.get();
                let id = serde_json::from_str::<RawString<'_>>(value).ok();
                self.id = id.and_then(|id| id.text().map(str::to_owned));
            }
            "numeric-id" => {
                let value = map.next_value::<&RawValue>()?.get();
                self.numeric_id = serde_json::from_str(value).ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
