//! Values of Parquet columns as JSON.
//!
//! Text, numbers, booleans, lists, groups and maps become JSON values. A column of logical type JSON
//! is parsed. Every other type, such as a timestamp or nested bytes, becomes an object
//! `{"parquet_type": "timestamp"}`, which no reader accepts in place of a text. A date, or a
//! timestamp at midnight, also has the member `date`, such as `"1998-06-14"`: libraries convert
//! columns of ISO dates to these types.
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit};
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// The key of objects for values without a JSON type.
const TYPE_KEY: &str = "parquet_type";

/// Converts a value of a column. `column` is the column's schema, if it is known.
///
/// # Errors
/// A message if a value of a JSON column is not JSON.
pub(crate) fn to_json(field: &Field, column: Option<&Type>) -> Result<Value, String> {
    if let Some(name) = other_type(field, column) {
        let mut value = Map::from_iter([(TYPE_KEY.to_owned(), name.into())]);
        value.extend(date(field, column).map(|date| ("date".to_owned(), date)));
        return Ok(value.into());
    }
    Ok(match field {
        Field::Group(row) => {
            let members = row.get_column_iter().map(|(name, field)| {
                let column = child(column, name);
                Ok::<_, String>((name.clone(), to_json(field, column)?))
            });
            Value::Object(members.collect::<Result<_, _>>()?)
        }
        Field::ListInternal(list) => {
            let element = column.and_then(|column| element(column, list.elements()));
            let values = list.elements().iter().map(|field| to_json(field, element));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let entries = map.entries().iter().map(|(key, value)| {
                let key = match to_json(key, None)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                Ok::<_, String>((key, to_json(value, None)?))
            });
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        Field::Str(text) => match column.filter(|column| is_json(column)) {
            Some(column) => serde_json::from_str(text).map_err(|error| {
                format!("a value of the JSON column `{}`: {error}", column.name())
            })?,
            None => field.to_json_value(),
        },
        other => other.to_json_value(),
    })
}

/// Returns the name of a value's type if JSON has no such type.
fn other_type(field: &Field, column: Option<&Type>) -> Option<&'static str> {
    Some(match field {
        Field::Bytes(_) => "binary",
        Field::Date(_) => "date",
        Field::Decimal(_) => "decimal",
        Field::TimeMillis(_) | Field::TimeMicros(_) => "time",
        Field::TimestampMillis(_) | Field::TimestampMicros(_) => "timestamp",
        // The Parquet reader returns nanoseconds as integers.
        Field::Long(_) => match logical_type(column?)? {
            LogicalType::Timestamp(_) => "timestamp",
            LogicalType::Time(_) => "time",
            _ => return None,
        },
        _ => return None,
    })
}

/// Returns the ISO date of a date or of a timestamp at midnight.
fn date(field: &Field, column: Option<&Type>) -> Option<Value> {
    const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
    let day = |value: i64, units_per_second: i64| {
        let units_per_day = SECONDS_PER_DAY * units_per_second;
        let is_midnight = value.rem_euclid(units_per_day) == 0;
        is_midnight.then(|| i32::try_from(value.div_euclid(units_per_day)).ok())?
    };
    let nanoseconds = || {
        let LogicalType::Timestamp(timestamp) = logical_type(column?)? else { return None };
        matches!(timestamp.unit, TimeUnit::NANOS).then_some(1_000_000_000)
    };
    let days = match *field {
        Field::Date(days) => days,
        Field::TimestampMillis(value) => day(value, 1000)?,
        Field::TimestampMicros(value) => day(value, 1_000_000)?,
        Field::Long(value) => day(value, nanoseconds()?)?,
        _ => return None,
    };
    Some(Field::Date(days).to_json_value())
}

fn logical_type(column: &Type) -> Option<LogicalType> {
    column.get_basic_info().logical_type_ref().cloned()
}

fn is_json(column: &Type) -> bool {
    column.is_primitive()
        && (column.get_basic_info().converted_type() == ConvertedType::JSON
            || logical_type(column) == Some(LogicalType::Json))
}

/// Returns the column `name` of a group.
pub(crate) fn child<'a>(group: Option<&'a Type>, name: &str) -> Option<&'a Type> {
    let group = group.filter(|group| group.is_group())?;
    group.get_fields().iter().find(|column| column.name() == name).map(|column| &**column)
}

/// Returns the schema of a list's elements. A list is a repeated column, or a group with one
/// repeated column. In files of old programs, this column is the element; otherwise it is a group
/// that contains the element.
fn element<'a>(list: &'a Type, elements: &[Field]) -> Option<&'a Type> {
    let info = list.get_basic_info();
    if info.has_repetition() && info.repetition() == Repetition::REPEATED && list.is_primitive() {
        return Some(list);
    }
    let repeated = list.get_fields().first().filter(|_| list.is_group())?;
    let is_element = repeated.is_primitive()
        || repeated.get_fields().len() != 1
        || matches!(elements.first(), Some(Field::Group(row))
            if row.get_column_iter().map(|(name, _)| name).eq(repeated.get_fields().iter().map(|f| f.name())));
    match is_element {
        true => Some(repeated),
        false => repeated.get_fields().first().map(|column| &**column),
    }
}

/// Describes the columns of a row that have no JSON type, for error messages; empty if there are no
/// such columns. `row` is a row that was converted to JSON.
pub(crate) fn describe_other_types(row: &[u8]) -> String {
    fn add(value: &Value, path: &str, columns: &mut Vec<String>) {
        match value {
            Value::Object(members) => match members.get(TYPE_KEY).and_then(Value::as_str) {
                Some(name) => columns.push(format!("`{path}` ({name})")),
                None => {
                    for (key, value) in members {
                        let dot = if path.is_empty() { "" } else { "." };
                        add(value, &format!("{path}{dot}{key}"), columns);
                    }
                }
            },
            Value::Array(values) => values.iter().take(1).for_each(|one| add(one, path, columns)),
            _ => {}
        }
    }
    let row: Value = serde_json::from_slice(row).expect("a converted row is JSON");
    let mut columns = Vec::new();
    add(&row, "", &mut columns);
    if columns.is_empty() {
        return String::new();
    }
    let columns = columns.join(", ");
    format!("; columns that are neither text nor numbers: {columns}; store texts as strings")
}
