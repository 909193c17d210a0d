//! What the load generator says on the wire: requests without state, responses of one length.
//!
//! Just enough to ask the demo's own service and a real one the same way. It is no client library:
//! a response is told from an error, and its contents are not looked at.

use super::service;

/// A way to ask.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// The demo's service: the request's number, and the same back.
    #[default]
    Echo,
    /// Redis (RESP): `GET k`, where `k` must hold 8 bytes.
    Redis,
}

/// `GET k` as RESP has it: an array of two bulk strings.
const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
/// Beginning of a bulk string of 8 bytes; an error or a missing value begins otherwise.
const VALUE: &[u8] = b"$8\r\n";
const VALUE_BYTES: usize = 8;
const LINE_END: usize = 2;

// === impl Protocol ===

impl Protocol {
    /// Adds request `number` to what is to be sent.
    pub fn ask(self, number: u32, unsent: &mut Vec<u8>) {
        match self {
            Self::Echo => unsent.extend_from_slice(&u64::from(number).to_le_bytes()),
            Self::Redis => unsent.extend_from_slice(GET),
        }
    }

    /// Bytes of each response.
    pub const fn response(self) -> usize {
        match self {
            Self::Echo => service::FRAME,
            Self::Redis => VALUE.len() + VALUE_BYTES + LINE_END,
        }
    }

    /// Whether bytes that have come are, so far, a response to what was asked.
    pub fn is_response(self, bytes: &[u8]) -> bool {
        match self {
            Self::Echo => true,
            Self::Redis => bytes.iter().zip(VALUE).all(|(came, expected)| came == expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_response_and_an_error_is_none_from_its_first_byte_on() {
        let value = b"$8\r\n12345678\r\n";

        assert_eq!(value.len(), Protocol::Redis.response());
        assert!((0..=value.len()).all(|length| Protocol::Redis.is_response(&value[..length])));
        assert!(!Protocol::Redis.is_response(b"-"));
        assert!(!Protocol::Redis.is_response(b"$-1\r\n"));
    }
}
