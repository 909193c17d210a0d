//! A text pattern of a selector: a plain word, or a glob of `*`, `?` and `[...]`.

use globset::{GlobBuilder, GlobMatcher};

/// A text pattern; most are plain words, which need no automaton.
#[derive(Debug)]
pub(super) enum Text {
    Plain(Box<str>),
    Glob(GlobMatcher),
}

impl Text {
    pub(super) fn new(text: &str) -> Result<Self, globset::Error> {
        if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Ok(Self::Plain(text.into()));
        }
        let glob = GlobBuilder::new(&narrowed(text))
            .literal_separator(false)
            .backslash_escape(true)
            .build()?;
        Ok(Self::Glob(glob.compile_matcher()))
    }
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => **plain == *text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }
}

/// The library knows `**/` and `{a,b}` too; here `**` is `*` and braces are themselves, since
/// command lines are full of them.
fn narrowed(text: &str) -> String {
    let mut narrowed = String::with_capacity(text.len());
    let (mut class, mut before) = (None, None);
    for (at, c) in text.char_indices() {
        match (c, class) {
            ('*', None) if before == Some('*') => {}
            ('{' | '}', None) if before != Some('\\') => narrowed.extend(['[', c, ']']),
            _ => narrowed.push(c),
        }
        class = match (c, class) {
            ('[', None) if before != Some('\\') => Some(at),
            // A bracket that comes first in a class is a member of it.
            (']', Some(start)) if at > start + 1 => None,
            (_, class) => class,
        };
        before = Some(c);
    }
    narrowed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn braces_are_themselves_and_classes_are_classes() {
        let matches = |glob: &str, text: &str| Text::new(glob).unwrap().matches(text);
        assert!(matches("a{b,c}*", "a{b,c}d") && !matches("a{b,c}*", "ab"));
        assert!(matches("[]{]x", "{x") && matches("[]{]x", "]x") && !matches("[]{]x", "[x"));
        assert!(matches("**/x", "/y/x") && !matches("**/x", "x"));
        assert!(matches("[!a]?", "bc") && !matches("[!a]?", "ac"));
    }
}
