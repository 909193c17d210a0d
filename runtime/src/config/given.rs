//! Values from outside files: the environment and the command line.

use super::file::{float_of, integer_of, join, text_of, unknown_key};
use super::problem::Problem;
use super::shape::Shape;
use config::{Map, Value, ValueKind};

/// The prefix of our variables; two underscores stand for each dot after it.
pub const PREFIX: &str = "OUTRIGGER__";

/// A value for one key, and who gave it.
#[derive(Clone, Debug)]
pub struct Given {
    /// Path of the key, one item per level.
    pub key: Vec<String>,
    /// As text; lists are separated by commas.
    pub text: String,
    /// How a message names the source.
    pub place: String,
}

impl Given {
    /// From an option of the command line.
    pub fn option(option: &str, key: &str, text: impl Into<String>) -> Self {
        Self {
            key: key.split('.').map(str::to_owned).collect(),
            text: text.into(),
            place: format!("command line {option}"),
        }
    }

    /// From the environment: `OUTRIGGER__TIMING__TICK=1s` is `timing.tick = "1s"`.
    pub fn environment(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Self> {
        let mut given: Vec<Self> = variables
            .into_iter()
            .filter_map(|(name, text)| {
                let key = name.strip_prefix(PREFIX)?;
                let key = key.split("__").map(str::to_ascii_lowercase).collect();
                Some(Self { key, text, place: format!("environment {name}") })
            })
            .collect();
        given.sort_by(|a, b| a.place.cmp(&b.place));
        given
    }

    /// The value as a tree of one branch, or what is wrong with it.
    ///
    /// # Errors
    /// Unknown key, a key that takes no single text, or a text that does not fit.
    pub fn read(&self, root: &Shape) -> Result<Map<String, Value>, Problem> {
        let mut shape = root;
        let mut names = Vec::new();
        for part in &self.key {
            let path = names.iter().fold(String::new(), |path, name: &String| join(&path, name));
            match shape {
                Shape::Table(keys) => {
                    let Some((name, inner)) = keys.iter().find(|(name, _)| same(name, part)) else {
                        let (message, allowed) = unknown_key(keys.iter().map(|(name, _)| *name));
                        return Err(self.problem(&join(&path, part), message(part), Some(allowed)));
                    };
                    names.push((*name).to_owned());
                    shape = inner;
                }
                Shape::Map(_, inner) => {
                    // Names of classes and plugins have hyphens, variables cannot.
                    names.push(part.replace('_', "-"));
                    shape = inner;
                }
                _ => {
                    let message = "unknown key: there is nothing below it".to_owned();
                    return Err(self.problem(&join(&path, part), message, None));
                }
            }
        }
        let path = names.iter().fold(String::new(), |path, name| join(&path, name));
        let kind = self
            .kind(shape)
            .map_err(|message| self.problem(&path, message, Some(shape.expected())))?;
        let mut names = names.into_iter().rev();
        let leaf = names.next().unwrap_or_default();
        let value = Value::new(Some(&self.place), kind);
        Ok(names.fold(Map::from([(leaf, value)]), |inner, name| {
            Map::from([(name, Value::new(Some(&self.place), ValueKind::Table(inner)))])
        }))
    }

    fn kind(&self, shape: &Shape) -> Result<ValueKind, String> {
        let text = self.text.as_str();
        match shape {
            Shape::List(item) | Shape::OneOrMany(item)
                if !matches!(**item, Shape::Table(_) | Shape::List(_) | Shape::Map(..)) =>
            {
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|one| leaf(item, one).map(|kind| Value::new(Some(&self.place), kind)))
                    .collect::<Result<Vec<_>, _>>()
                    .map(ValueKind::Array)
            }
            Shape::Table(_) | Shape::Map(..) | Shape::List(_) | Shape::OneOrMany(_) => {
                Err("can only be given in a file".to_owned())
            }
            shape => leaf(shape, text),
        }
    }

    fn problem(&self, key: &str, message: String, allowed: Option<String>) -> Problem {
        Problem { place: self.place.clone(), key: key.to_owned(), message, allowed }
    }
}

fn same(known: &str, given: &str) -> bool {
    known == given || known.replace('-', "_") == given
}

fn leaf(shape: &Shape, text: &str) -> Result<ValueKind, String> {
    let kind = match shape {
        Shape::Bool => text.parse().ok().map(ValueKind::Boolean),
        Shape::Integer(..) => text.parse().ok().and_then(|number| integer_of(shape, number)),
        Shape::Number => text.parse().ok().and_then(float_of),
        Shape::Anything => Some(ValueKind::String(text.to_owned())),
        shape => text_of(shape, text),
    };
    kind.ok_or_else(|| format!("{text:?} is not possible here"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::shape::ROOT;
    use super::*;

    fn environment(name: &str, text: &str) -> Result<Map<String, Value>, String> {
        let given = Given::environment([(name.to_owned(), text.to_owned())]);
        given[0].read(&ROOT).map_err(|problem| problem.to_string())
    }

    #[test]
    fn variables_name_keys() {
        let values = environment("OUTRIGGER__TIMING__TICK", "1s").unwrap();
        let timing = values["timing"].clone().into_table().unwrap();
        assert_eq!(timing["tick"].kind, ValueKind::String("1s".into()));
        assert_eq!(timing["tick"].origin(), Some("environment OUTRIGGER__TIMING__TICK"));
    }

    #[test]
    fn hyphens_and_lists_can_be_given() {
        let values = environment("OUTRIGGER__LADDER__LATENCY_CRITICAL__REST", "2").unwrap();
        assert!(values["ladder"].clone().into_table().unwrap().contains_key("latency-critical"));
        let values = environment("OUTRIGGER__PLUGINS__DENY", "a, b").unwrap();
        let plugins = values["plugins"].clone().into_table().unwrap();
        assert_eq!(plugins["deny"].clone().into_array().unwrap().len(), 2);
    }

    #[test]
    fn wrong_variables_are_refused() {
        let unknown = environment("OUTRIGGER__TIMING__TIK", "1s").unwrap_err();
        assert!(unknown.contains("did you mean \"tick\""), "{unknown}");
        assert!(environment("OUTRIGGER__TIMING__TICK", "soon").is_err());
        assert!(
            environment("OUTRIGGER__WORKLOAD", "x")
                .unwrap_err()
                .contains("only be given in a file")
        );
        assert!(environment("OUTRIGGER__NEIGHBOURS__X", "x").is_err());
    }

    #[test]
    fn others_variables_are_not_ours() {
        let others = [("OUTRIGGER_BIN".to_owned(), "x".to_owned()), ("PATH".into(), "y".into())];
        assert!(Given::environment(others).is_empty());
    }
}
