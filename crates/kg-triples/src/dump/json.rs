//! Deserialisation of the requested parts of a dump's JSON. Values are borrowed from the line, and
//! everything else is skipped.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A string as bytes in WTF-8, so that an unpaired surrogate is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw<'de>(pub(super) Cow<'de, [u8]>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Raw<'de>, E> {
                Ok(Raw(Cow::Owned(bytes.to_vec())))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl<'de> Raw<'de> {
    /// The string, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Deserialises a JSON object entry by entry with [`Entries::entry`]. The last value of a duplicate
/// key is used; an empty array and `null` count as objects without entries.
pub(super) struct Object<'a, F>(pub(super) &'a mut F);

/// Visitor of the entries of an object.
pub(super) trait Entries<'de> {
    /// Reads the value of `key`; returns `false` if the value was not read and must be skipped.
    ///
    /// # Errors
    /// The errors of the value's deserialiser.
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

impl<'de, F: Entries<'de>> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: Entries<'de>> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if !self.0.entry(&key, &mut map)? {
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

/// An object key, borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value that is deserialised from an object entry by entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FromEntries<T>(pub(super) T);

impl<'de, T: Default + Entries<'de>> Deserialize<'de> for FromEntries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = T::default();
        Object(&mut value).deserialize(deserializer)?;
        Ok(Self(value))
    }
}

/// An array of objects; `null` counts as an empty array.
pub(super) type ObjectList<T> = Option<Vec<FromEntries<T>>>;

/// Reads an object, the next value of `map`. Returns the values of the keys for which `convert_key`
/// returns `Some`.
///
/// # Errors
/// The result of the values' deserialiser.
pub(super) fn select<'de, K: Ord, V: Deserialize<'de>, A: MapAccess<'de>>(
    map: &mut A,
    convert_key: &dyn Fn(&str) -> Option<K>,
) -> Result<BTreeMap<K, V>, A::Error> {
    let mut selected = Selected { convert_key, values: BTreeMap::new() };
    map.next_value_seed(Object(&mut selected))?;
    Ok(selected.values)
}

struct Selected<'w, K, V> {
    convert_key: &'w dyn Fn(&str) -> Option<K>,
    values: BTreeMap<K, V>,
}

impl<'de, K: Ord, V: Deserialize<'de>> Entries<'de> for Selected<'_, K, V> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
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
    /// A value that is not an item.
    #[default]
    Other,
    Item(String),
}

/// A statement: the rank and value of one property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) rank: Rank,
    pub(super) tail: Tail,
}

impl<'de> Entries<'de> for Statement {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "rank" => {
                self.rank = match map.next_value::<Raw<'de>>()?.text() {
                    Some("deprecated") => Rank::Deprecated,
                    Some("preferred") => Rank::Preferred,
                    _ => Rank::Normal,
                }
            }
            "mainsnak" => {
                let FromEntries(snak) = map.next_value::<FromEntries<Snak>>()?;
                self.tail = match snak.unknown {
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
    unknown: bool,
    value: Tail,
}

impl<'de> Entries<'de> for Snak {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "snaktype" => {
                let snaktype = map.next_value::<Raw<'de>>()?;
                self.unknown = matches!(snaktype.text(), Some("somevalue" | "novalue"));
            }
            "datavalue" => self.value = map.next_value::<FromEntries<DataValue>>()?.0.0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Default)]
struct DataValue(Tail);

impl<'de> Entries<'de> for DataValue {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "value" {
            return Ok(false);
        }
        // A value may have any JSON type; only an object can identify an entity.
        let value = map.next_value::<&RawValue>()?.get();
        let is_object = value.starts_with('{');
        let entity = is_object.then(|| serde_json::from_str::<FromEntries<EntityValue>>(value));
        let entity = entity.transpose().map_err(A::Error::custom)?;
        self.0 = entity.unwrap_or_default().0.tail();
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
    /// Returns the item's id, or builds it from the number in old dumps without ids.
    fn tail(self) -> Tail {
        let id = self.id.or_else(|| self.numeric_id.map(|number| format!("Q{number}")));
        match id.filter(|id| self.is_item && is_id(id)) {
            Some(id) => Tail::Item(id),
            None => Tail::Other,
        }
    }
}

impl<'de> Entries<'de> for EntityValue {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        // Values of other types, such as coordinates, have different keys.
        match key {
            "entity-type" => {
                let value = map.next_value::<&RawValue>()?.get();
                let name = serde_json::from_str::<Raw<'_>>(value).ok();
                self.is_item = name.is_some_and(|name| name.text() == Some("item"));
            }
            "id" => {
                let value = map.next_value::<&RawValue>()?.get();
                let id = serde_json::from_str::<Raw<'_>>(value).ok();
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

/// Whether a text is a valid id in a table.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
