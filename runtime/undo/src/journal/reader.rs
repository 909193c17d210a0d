//! Reads a journal back, whatever happened to it.

use super::{Book, JournalError, Record};
use crate::Task;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A journal as found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) owner: Task,
    pub(crate) boot: String,
    pub(crate) book: Book,
    /// Lines that are damaged or of no known form.
    pub(crate) unreadable: u64,
    /// Bytes up to the end of the last complete line.
    pub(crate) length: u64,
}

/// Reads the journal of a state directory; `None` if there is none, or only the beginning of one
/// whose first line never was complete.
///
/// # Errors
/// It cannot be read, or it does not begin with a header of this format.
pub(crate) fn read(dir: &Path) -> Result<Option<Found>, JournalError> {
    let path = super::file::journal(dir);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes)
            .map_err(|reason| JournalError::Foreign { path, reason: reason.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("read", &path)(error)),
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Found>, &'static str> {
    // What follows the last newline is torn, or nothing.
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let mut lines = bytes[..end].split(|byte| *byte == b'\n');
    let (owner, boot) = match lines.next().map(Record::parse) {
        Some(Ok(Record::Owner { format: super::record::FORMAT, boot, owner })) => (owner, boot),
        Some(Ok(Record::Owner { .. })) => return Err("it is of another format version"),
        _ => return Err("its first line is no header"),
    };
    let (mut book, mut unreadable) = (Book::default(), 0);
    for line in lines {
        match Record::parse(line) {
            Ok(Record::Unknown) | Err(_) => unreadable += 1,
            Ok(record) => book.apply(record),
        }
    }
    Ok(Some(Found { owner, boot, book, unreadable, length: end as u64 + 1 }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Record, parse};
    use crate::{Kind, Operation, Task, Why};
    use proptest::prelude::*;

    fn text(knobs: u64) -> Vec<u8> {
        let owner = Task { pid: 7, tid: 0, start: 8 };
        let header = Record::Owner { format: 1, boot: "b".to_owned(), owner };
        let mut text = header.line().unwrap();
        for token in 1..=knobs {
            let operation = Operation {
                kind: Kind::Nice,
                task: Some(Task { pid: token as u32, tid: 0, start: 1 }),
                locator: String::new(),
                before: "0".to_owned(),
                after: "19".to_owned(),
            };
            let will = Record::Will {
                token,
                operation,
                why: Why::default(),
                at: 0,
                kin: Default::default(),
                born_with: None,
            };
            text += &will.line().unwrap();
            text += &Record::Did { token, value: "19".to_owned() }.line().unwrap();
        }
        text.into_bytes()
    }

    #[test]
    fn a_damaged_line_costs_only_itself() {
        let mut bytes = text(3);
        let second_will =
            bytes.split_inclusive(|byte| *byte == b'\n').take(3).map(<[u8]>::len).sum::<usize>();
        bytes[second_will + 20] ^= 1;
        let found = parse(&bytes).unwrap().unwrap();
        assert_eq!((found.unreadable, found.book.len()), (1, 2));
    }

    #[test]
    fn another_format_and_other_files_are_refused_and_an_empty_one_is_none() {
        let owner = Task { pid: 7, tid: 0, start: 8 };
        let header = Record::Owner { format: 2, boot: "b".to_owned(), owner };
        assert!(parse(header.line().unwrap().as_bytes()).is_err());
        assert!(parse(b"hello\n").is_err());
        assert!(parse(b"").unwrap().is_none());
    }

    proptest! {
        /// Wherever the writer was killed: what was complete counts, what was torn does not.
        #[test]
        fn any_prefix_reads_as_the_lines_it_holds(cut in 0usize..2000) {
            let whole = text(4);
            let cut = cut.min(whole.len());
            let complete = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            match parse(&whole[..cut]).unwrap() {
                None => prop_assert_eq!(complete, 0),
                Some(found) => {
                    prop_assert_eq!(found.unreadable, 0);
                    prop_assert_eq!(found.book.len(), complete / 2);
                }
            }
        }
    }
}
