//! The lines of the journal.
//!
//! Each line is eight hexadecimal digits (CRC-32, IEEE, of what follows the space), a space, one
//! JSON object and a newline. The first is an `owner` record. Versions within one `format` number
//! may add fields and kinds of record; a reader takes what it knows, and counts and reports
//! lines it cannot use. A last line without a newline was being written when its writer died,
//! before anything was changed: it is ignored.

use super::entry::{Entry, Inheritance, Kin, Why};
use crate::{Operation, Task};
use serde::{Deserialize, Serialize};

/// Number of the format; another number is another language.
pub(crate) const FORMAT: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// Whose journal this is.
    Owner { format: u32, boot: String, owner: Task },
    /// A change is about to be made. `born_with` says what to put back if `before` is ours,
    /// since the task was born with a value that its journalled ancestor had from us.
    Will {
        token: u64,
        operation: Operation,
        why: Why,
        at: u64,
        kin: Kin,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        born_with: Option<Inheritance>,
    },
    /// It was made, and this is what was read back.
    Did { token: u64, value: String },
    /// It failed; what is there now is not known.
    Failed { token: u64, error: String },
    /// The knob is no longer ours to put back.
    Closed { token: u64 },
    /// All that is known of a knob, when the file is written anew.
    Kept { entry: Entry },
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

/// A line that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Record {
    /// The line with its checksum and newline.
    pub(crate) fn line(&self) -> serde_json::Result<String> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
    }

    /// Reads a line without its newline.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, Unreadable> {
        let (sum, json) = line.split_at_checked(8).ok_or(Unreadable)?;
        let sum = std::str::from_utf8(sum).map_err(|_| Unreadable)?;
        let sum = u32::from_str_radix(sum, 16).map_err(|_| Unreadable)?;
        let json = json.strip_prefix(b" ").ok_or(Unreadable)?;
        if crc32fast::hash(json) != sum {
            return Err(Unreadable);
        }
        serde_json::from_slice(json).map_err(|_| Unreadable)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Record, Unreadable};

    #[test]
    fn a_line_reads_as_it_was_written_and_any_flipped_bit_is_found() {
        let record = Record::Did { token: 7, value: "0-3\n\"".to_owned() };
        let line = record.line().unwrap();
        let bytes = line.trim_end_matches('\n').as_bytes();
        assert_eq!(Record::parse(bytes).unwrap(), record);
        for at in 0..bytes.len() {
            let mut wrong = bytes.to_vec();
            wrong[at] ^= 1;
            // In the checksum itself a letter may have turned into its other case.
            assert!(Record::parse(&wrong).is_err() || wrong.eq_ignore_ascii_case(bytes), "{at}");
        }
        assert_eq!(Record::parse(b""), Err(Unreadable));
    }

    #[test]
    fn records_and_fields_of_later_versions_are_no_error() {
        for json in
            [r#"{"record":"sealed","by":1}"#, r#"{"record":"did","token":1,"value":"2","ns":3}"#]
        {
            let line = format!("{:08x} {json}", crc32fast::hash(json.as_bytes()));
            assert!(Record::parse(line.as_bytes()).is_ok(), "{json}");
        }
    }
}
