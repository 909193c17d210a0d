//! The datagrams of process events: `struct proc_event` behind two headers.

/// `CN_IDX_PROC` and `CN_VAL_PROC` in `include/uapi/linux/connector.h`.
pub(super) const CHANNEL: u32 = 1;
/// Bytes of `struct nlmsghdr` and, behind it, of `struct cn_msg`.
pub(super) const NETLINK_HEADER: usize = 16;
pub(super) const CONNECTOR_HEADER: usize = 20;
/// Offset of `event_data` in a datagram: both headers, then `what`, `cpu` and a timestamp.
const DATA_AT: usize = NETLINK_HEADER + CONNECTOR_HEADER + 16;

/// Something that happened to a process or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Born; a thread if the two differ.
    Fork { pid: u32, tid: u32 },
    /// Runs another program.
    Exec { pid: u32 },
    /// Has another name, user or session.
    Changed { pid: u32, tid: u32 },
    /// A thread ended; the leader if the two are equal.
    Exit { pid: u32, tid: u32 },
}

/// One datagram; `None` for events that do not matter here and for anything malformed.
pub(super) fn parse(datagram: &[u8]) -> Option<Event> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at + 4)?;
        Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if word(NETLINK_HEADER)? != CHANNEL || word(NETLINK_HEADER + 4)? != CHANNEL {
        return None;
    }
    let (first, second) = (word(DATA_AT)?, word(DATA_AT + 4)?);
    // `enum proc_cn_event`; most carry thread and process, a fork carries the parent's first.
    match word(NETLINK_HEADER + CONNECTOR_HEADER)? {
        0x1 => Some(Event::Fork { tid: word(DATA_AT + 8)?, pid: word(DATA_AT + 12)? }),
        0x2 => Some(Event::Exec { pid: second }),
        // User, session, name.
        0x4 | 0x80 | 0x200 => Some(Event::Changed { tid: first, pid: second }),
        0x8000_0000 => Some(Event::Exit { tid: first, pid: second }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn datagram(what: u32, data: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; NETLINK_HEADER];
        for word in [CHANNEL, CHANNEL, 0, 0, 0, what, 0, 0, 0].iter().chain(data) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn each_kind_of_event() {
        let parsed = |what, data: &[u32]| parse(&datagram(what, data));
        assert_eq!(parsed(1, &[1, 1, 12, 10]), Some(Event::Fork { pid: 10, tid: 12 }));
        assert_eq!(parsed(2, &[12, 10]), Some(Event::Exec { pid: 10 }));
        assert_eq!(parsed(0x200, &[12, 10, 0, 0]), Some(Event::Changed { pid: 10, tid: 12 }));
        assert_eq!(parsed(0x8000_0000, &[10, 10, 0, 9]), Some(Event::Exit { pid: 10, tid: 10 }));
        assert_eq!(parsed(0x4000_0000, &[10, 10]), None);
    }

    #[test]
    fn cut_and_foreign_datagrams_are_ignored() {
        let whole = datagram(1, &[1, 1, 12, 10]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
        let mut foreign = whole;
        foreign[NETLINK_HEADER] = 7;
        assert_eq!(parse(&foreign), None);
    }
}
