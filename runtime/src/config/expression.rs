//! Selector shorthand for the command line: `key=glob[,key=glob]`.
//!
//! So that nobody needs a file for the first try. All parts must match, as in a selector; a key
//! given twice is a list, of which one must match. A comma inside a glob needs a file.

use super::problem::nearest;
use super::shape::SELECTOR;
use crate::policy::Selector;

/// An expression that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expression:?}: {message}")]
pub struct ExpressionError {
    /// What was given.
    pub expression: String,
    /// What is wrong with it, and what is allowed.
    pub message: String,
}

/// Reads an expression such as `name=stress-ng*` or `exe=/usr/bin/rsync,uid=1000`.
///
/// # Errors
/// No `=`, an unknown key, an empty value, a number that is none.
pub fn selector(expression: &str) -> Result<Selector, ExpressionError> {
    let error = |message: String| ExpressionError { expression: expression.to_owned(), message };
    let mut selector = Selector::default();
    for part in expression.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            error("expected KEY=GLOB[,KEY=GLOB...], for example name=stress-ng*".to_owned())
        })?;
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() {
            return Err(error(format!("{key} has no value")));
        }
        let number =
            || value.parse::<u32>().map_err(|_| error(format!("{key}: {value:?} is not a number")));
        let text = value.to_owned();
        match key {
            "exe" => selector.exe.push(text),
            "name" => selector.name.push(text),
            "command" => selector.command.push(text),
            "thread" => selector.thread.push(text),
            "uid" => selector.uid.push(number()?),
            "cgroup" => selector.cgroup.push(text),
            "parent" => selector.parent.push(text),
            "descendant_of" => selector.descendant_of.push(text),
            "pid" => selector.pid.push(number()?),
            unknown => {
                let known = SELECTOR.iter().map(|(key, _)| *key);
                let hint = nearest(unknown, known.clone())
                    .map_or_else(String::new, |likely| format!("; did you mean {likely:?}?"));
                let allowed = known.collect::<Vec<_>>().join(", ");
                return Err(error(format!("unknown key {unknown:?}{hint}; allowed: {allowed}")));
            }
        }
    }
    Ok(selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_keys_of_a_selector() {
        let read = selector("name=stress-ng*, uid=1000,name=fio").unwrap();
        let expected = Selector {
            name: vec!["stress-ng*".into(), "fio".into()],
            uid: vec![1000],
            ..Selector::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn every_key_of_a_selector_can_be_given() {
        for (key, _) in SELECTOR {
            assert_ne!(selector(&format!("{key}=7")), Ok(Selector::default()), "{key}");
            assert!(selector(&format!("{key}=7")).is_ok(), "{key}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (given, expected) in [
            ("stress-ng", "expected KEY=GLOB"),
            ("nmae=x", "did you mean \"name\""),
            ("name=", "has no value"),
            ("uid=root", "not a number"),
        ] {
            let message = selector(given).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
