//! A configuration file, read with the place of every value.
//!
//! The `config` crate merges layers but knows no lines; `toml` knows lines but merges nothing.
//! So a file is parsed and checked here, and what comes out are `config` values that carry
//! `FILE:LINE:COLUMN` as their origin.

use super::problem::{Problem, nearest};
use super::shape::Shape;
use config::{Map, Value, ValueKind};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The origin of what no file says.
pub const BUILT_IN: &str = "built-in default";

/// Reads the text of a file, or of the built-in defaults if it has no path. Values with problems are left out of the answer.
pub fn read(path: Option<&Path>, text: &str, shape: &Shape) -> (Map<String, Value>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, problems: Vec::new() };
    for error in errors {
        let place = reader.place(error.span().map_or(0, |span| span.start));
        let message = error.message().replace('\n', ", ");
        reader.problems.push(Problem { place, key: String::new(), message, allowed: None });
    }
    // What recovery made of a broken line is a guess: complaints about it would only confuse.
    if !reader.problems.is_empty() {
        return (Map::new(), reader.problems);
    }
    let Shape::Table(keys) = shape else { return (Map::new(), reader.problems) };
    let values = reader.table(table.get_ref(), keys, "");
    (values, reader.problems)
}

struct Reader<'a> {
    path: Option<&'a Path>,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> String {
        let Some(path) = self.path else { return BUILT_IN.to_owned() };
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", path.display())
    }

    fn complain(&mut self, offset: usize, key: &str, message: String, allowed: Option<String>) {
        let place = self.place(offset);
        self.problems.push(Problem { place, key: key.to_owned(), message, allowed });
    }

    fn table(
        &mut self,
        table: &DeTable<'_>,
        keys: &'static [(&'static str, Shape)],
        path: &str,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in in_order(table) {
            let name: &str = key.get_ref();
            let at = join(path, name);
            match keys.iter().find(|(known, _)| *known == name) {
                Some((_, shape)) => {
                    if let Some(value) = self.value(value, shape, &at) {
                        values.insert(name.to_owned(), value);
                    }
                }
                None => {
                    let known = keys.iter().map(|(known, _)| *known);
                    let (message, allowed) = unknown_key(known);
                    let message = message(name);
                    self.complain(key.span().start, &at, message, Some(allowed));
                }
            }
        }
        values
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: &Shape, at: &str) -> Option<Value> {
        let offset = value.span().start;
        let kind = match (shape, value.get_ref()) {
            (Shape::Table(keys), DeValue::Table(table)) => {
                ValueKind::Table(self.table(table, keys, at))
            }
            (Shape::Map(_, shape), DeValue::Table(table)) => ValueKind::Table(
                in_order(table)
                    .into_iter()
                    .filter_map(|(key, value)| {
                        let name: &str = key.get_ref();
                        Some((name.to_owned(), self.value(value, shape, &join(at, name))?))
                    })
                    .collect(),
            ),
            (Shape::List(item) | Shape::OneOrMany(item), DeValue::Array(items)) => {
                ValueKind::Array(
                    items
                        .iter()
                        .enumerate()
                        .filter_map(|(i, value)| self.value(value, item, &format!("{at}[{i}]")))
                        .collect(),
                )
            }
            (Shape::OneOrMany(item), _) => ValueKind::Array(vec![self.value(value, item, at)?]),
            (Shape::Anything, value) => anything(value),
            (shape, value) => match scalar(shape, value) {
                Ok(kind) => kind,
                Err(given) => {
                    let message = format!("{given} is not possible here");
                    self.complain(offset, at, message, Some(shape.expected()));
                    return None;
                }
            },
        };
        Some(Value::new(Some(&self.place(offset)), kind))
    }
}

/// The message for an unknown key, and the list of those allowed.
pub(super) fn unknown_key<'a>(
    known: impl Iterator<Item = &'a str> + Clone,
) -> (impl Fn(&str) -> String, String) {
    let candidates: Vec<&str> = known.collect();
    let allowed = candidates.join(", ");
    let message = move |given: &str| match nearest(given, candidates.iter().copied()) {
        Some(likely) => format!("unknown key; did you mean {likely:?}?"),
        None => "unknown key".to_owned(),
    };
    (message, allowed)
}

/// `a` and `b` as `a.b`; a name that is no plain word is quoted.
pub(super) fn join(path: &str, name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = if plain && !name.is_empty() { name.to_owned() } else { format!("{name:?}") };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A scalar of that shape, or how to name what was given instead.
fn scalar(shape: &Shape, value: &DeValue<'_>) -> Result<ValueKind, String> {
    let given = || match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(truth) => truth.to_string(),
        other => format!("{} value", article(other.type_str())),
    };
    match (shape, value) {
        (Shape::Bool, DeValue::Boolean(truth)) => Ok(ValueKind::Boolean(*truth)),
        (_, DeValue::String(text)) => text_of(shape, text).ok_or_else(given),
        (Shape::Integer(..) | Shape::Number, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|number| integer_of(shape, number))
                .ok_or_else(given)
        }
        (Shape::Number, DeValue::Float(number)) => {
            number.as_str().parse().ok().and_then(float_of).ok_or_else(given)
        }
        _ => Err(given()),
    }
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

/// A text, if the shape takes one like it.
pub(super) fn text_of(shape: &Shape, text: &str) -> Option<ValueKind> {
    let fits = match shape {
        Shape::Text => true,
        Shape::OneOf(allowed) => allowed.contains(&text),
        Shape::Duration => duration(text),
        _ => false,
    };
    fits.then(|| ValueKind::String(text.to_owned()))
}

/// A whole number, if the shape takes one like it.
pub(super) fn integer_of(shape: &Shape, number: i64) -> Option<ValueKind> {
    match shape {
        Shape::Integer(low, high) => {
            (*low..=*high).contains(&number).then_some(ValueKind::I64(number))
        }
        Shape::Number => Some(ValueKind::Float(number as f64)),
        _ => None,
    }
}

/// A number with a fraction; not infinity, not NaN.
pub(super) fn float_of(number: f64) -> Option<ValueKind> {
    number.is_finite().then_some(ValueKind::Float(number))
}

fn duration(text: &str) -> bool {
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        serde::de::IntoDeserializer::into_deserializer(text);
    humantime_serde::deserialize::<std::time::Duration, _>(deserializer).is_ok()
}

fn anything(value: &DeValue<'_>) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::I64),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::Float),
        DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => ValueKind::Array(
            items.iter().map(|item| Value::new(None, anything(item.get_ref()))).collect(),
        ),
        DeValue::Table(table) => ValueKind::Table(
            table
                .iter()
                .map(|(key, value)| {
                    (key.get_ref().to_string(), Value::new(None, anything(value.get_ref())))
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::shape::ROOT;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        read(Some(Path::new("f.toml")), text, &ROOT).1.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn an_unknown_key_names_the_place_and_the_likely_one() {
        let found = problems("[timing]\ntick = \"1s\"\n  dwel = \"1s\"\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(
                "f.toml:3:3: timing.dwel: unknown key; did you mean \"dwell\"?; allowed: tick, "
            ),
            "{found:?}"
        );
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let found = problems(
            "neighbours = \"all\"\n[tiers.2]\nshare = 0\nidle = 1\n[[workload]]\nname = 3\nmatch = [{ naem = \"x\", uid = -1 }]\n[timing]\ntick = \"fast\"\n",
        );
        assert_eq!(found.len(), 7, "{found:#?}");
        assert!(found[1].contains("f.toml:3:9: tiers.2.share: 0 is not possible here; allowed: a whole number from 1 to 10000"), "{}", found[1]);
        assert!(found[4].contains("workload[0].match[0].naem"), "{}", found[4]);
    }

    #[test]
    fn broken_syntax_is_a_problem_with_a_place() {
        let found = problems("[timing\ntick = 1");
        assert!(found[0].starts_with("f.toml:1:"), "{found:?}");
        assert_eq!(problems("a = \"\u{e4}\"\n[x\n").len(), 1);
    }

    #[test]
    fn values_know_where_they_come_from() {
        let (values, problems) =
            read(Some(Path::new("f.toml")), "[contention]\nwait_ms_per_s = 30\n", &ROOT);
        assert!(problems.is_empty());
        let contention = values["contention"].clone().into_table().unwrap();
        assert_eq!(contention["wait_ms_per_s"].origin(), Some("f.toml:2:17"));
        assert_eq!(contention["wait_ms_per_s"].kind, ValueKind::Float(30.0));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(problems("[contention]\nwait_ms_per_s = nan\n").len(), 1);
        assert_eq!(problems("[contention]\nwait_ms_per_s = inf\n").len(), 1);
    }
}
