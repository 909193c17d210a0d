//! Text of strangers, made harmless: anybody may call a process what they like.
//!
//! A terminal obeys control characters; a line break in a name could look like a line of ours.
//! JSON needs none of this: it escapes by itself, and machines want the name as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything escaped that is not seen as it is: control characters (C0, DEL, C1),
/// line separators and marks that change the direction of writing. `ESC` becomes `\\x1b`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match u32::from(c) {
            _ if !is_obeyed(c) => escaped.push(c),
            // Writing to a text cannot fail.
            code @ 0..=0xff => drop(write!(escaped, "\\x{code:02x}")),
            code => drop(write!(escaped, "\\u{{{code:x}}}")),
        }
    }
    Cow::Owned(escaped)
}

/// The same of text with lines of ours: these stay.
pub(crate) fn plain_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_obeyed(c)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split('\n').map(plain).collect::<Vec<_>>().join("\n"))
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_gets_through() {
        assert_eq!(plain("\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}"), "\\x1b]0;owned\\x07\\x9b2J\\x7f");
        assert_eq!(plain("a\nb\r\u{202e}c"), "a\\x0ab\\x0d\\u{202e}c");
        assert_eq!(plain("stress-ng \u{e4} \u{1f980}"), "stress-ng \u{e4} \u{1f980}");
    }

    #[test]
    fn lines_of_ours_stay() {
        assert_eq!(plain_lines("one\ntwo\u{1b}[31m\n"), "one\ntwo\\x1b[31m\n");
    }
}
