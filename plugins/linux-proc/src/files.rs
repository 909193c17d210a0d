//! What the files of `/proc` say, as pure functions of their contents.
//!
//! A file that does not parse answers `None`: the caller treats it as unreadable, never as zero.

use outrigger_sdk::ContextId;

/// Bytes of a name: 15 for a process, more for a kernel worker (`WQ_NAME_LEN` and friends).
const NAME_MAX: usize = 64;

/// A short name, held in place so that reading one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    bytes: [u8; NAME_MAX],
    length: u8,
}

impl Name {
    pub(crate) fn new(name: &[u8]) -> Self {
        let length = name.len().min(NAME_MAX);
        let mut bytes = [0; NAME_MAX];
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length: length as u8 }
    }
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
    pub(crate) fn to_text(self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }
}

/// `/proc/PID/stat` or `/proc/PID/task/TID/stat` (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 2.
    pub name: Name,
    /// Field 3: `R`, `S`, `Z` ...
    pub state: u8,
    /// Field 4.
    pub parent: u32,
    /// Field 6.
    pub session: u32,
    /// Field 9, `PF_...`.
    pub flags: u32,
    /// Field 20.
    pub threads: u32,
    /// Field 22, clock ticks since boot.
    pub start: u64,
    /// Field 26: moves with every exec thanks to address randomisation; 0 or 1 if not ours to see.
    pub code: u64,
    /// Field 39: the CPU it last ran on.
    pub processor: u32,
}

/// `PF_KTHREAD` in `include/linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;

impl Stat {
    /// Parses the line. The name may hold anything, parentheses too, so its end is the last one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let name = Name::new(text.get(open + 1..close)?);
        // From here on, `skip(n)` jumps over n fields; the first answer is field 3.
        let mut fields = text.get(close + 2..)?.split(|&byte| byte == b' ');
        let state = *fields.next()?.first()?;
        let parent = number(fields.next()?)? as u32;
        let session = number(fields.nth(1)?)? as u32;
        let flags = number(fields.nth(2)?)? as u32;
        let threads = number(fields.nth(10)?)? as u32;
        let start = number(fields.nth(1)?)?;
        let code = number(fields.nth(3)?)?;
        let processor = number(fields.nth(12)?)? as u32;
        Some(Self { name, state, parent, session, flags, threads, start, code, processor })
    }

    /// Whether this is a thread of the kernel.
    pub(crate) const fn kernel(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }
    /// Whether the leader is dead: the whole process if no other thread is left.
    pub(crate) const fn dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
    /// Whether it has ended altogether and merely waits to be reaped.
    pub(crate) const fn ended(&self) -> bool {
        self.dead() && self.threads <= 1
    }
    /// Running, or waiting for a CPU; the kernel does not tell the two apart.
    pub(crate) const fn runnable(&self) -> bool {
        self.state == b'R'
    }
}

/// `schedstat` of one thread: time on a CPU and time spent waiting for one, both ns
/// (`Documentation/scheduler/sched-stats.rst`).
pub(crate) fn schedstat(text: &[u8]) -> Option<(u64, u64)> {
    let mut fields = text.split(|&byte| byte == b' ');
    Some((number(fields.next()?)?, number(fields.next()?)?))
}

/// Resident pages in `statm` (field 2).
pub(crate) fn resident_pages(text: &[u8]) -> Option<u64> {
    number(text.split(|&byte| byte == b' ').nth(1)?)
}

/// `read_bytes` and `write_bytes` of `io`: what really went to and from storage.
pub(crate) fn storage_bytes(text: &[u8]) -> Option<(u64, u64)> {
    Some((field(text, b"read_bytes: ")?, field(text, b"write_bytes: ")?))
}

/// Real and effective user in `status`.
pub(crate) fn users(text: &[u8]) -> Option<(u32, u32)> {
    let mut ids = line(text, b"Uid:")?.split(|&byte| byte == b'\t').filter(|id| !id.is_empty());
    Some((number(ids.next()?)? as u32, number(ids.next()?)? as u32))
}

/// `some` total of a pressure file, us.
pub(crate) fn pressure_total(text: &[u8]) -> Option<u64> {
    let some = line(text, b"some ")?;
    number(some.split(|&byte| byte == b' ').find_map(|word| word.strip_prefix(b"total="))?)
}

/// Ticks all CPUs together have worked, from the first line of `/proc/stat`: everything but idle
/// and waiting for I/O, and without the time a hypervisor took. Guests are part of `user`.
pub(crate) fn busy_ticks(text: &[u8]) -> Option<u64> {
    let all = line(text, b"cpu ")?;
    let words = all.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let counts: Vec<u64> = words.map_while(number).take(7).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq] = counts[..] else { return None };
    Some(user + nice + system + irq + softirq)
}

/// The contexts in `cgroup`: one per controller (`cpu,cpuacct` are two spaces with the same
/// path), `systemd` for the hierarchy of that name, `unified` for version 2.
pub(crate) fn contexts(text: &[u8]) -> Vec<ContextId> {
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(spaces), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if spaces.is_empty() {
            found.push(ContextId::new("unified", path));
            continue;
        }
        found.extend(
            spaces
                .split(',')
                .map(|space| ContextId::new(space.strip_prefix("name=").unwrap_or(space), path)),
        );
    }
    found
}

/// Arguments in `cmdline`. A program that writes its own title may leave no final NUL.
pub(crate) fn arguments(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let none = text.is_empty();
    text.split(|&byte| byte == 0)
        .filter(move |_| !none)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
}

/// The decimal number a text begins with.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        // Ids of a parent or session outside the namespace, and priorities, can be negative.
        return (text.first() == Some(&b'-')).then_some(0);
    }
    text[..digits]
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

fn line<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(start))
}

fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    number(line(text, name)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const STAT: &[u8] = b"812 (a) b (c)) R 12 34 56 0 -1 4194304 98 0 0 0 7 8 0 0 20 0 3 0 153888 \
        3133440 380 18446744073709551615 94121192226816 94121192246697 140723335946368 0 0 0 0 0 \
        0 0 0 0 17 1 0 0 0 0 0 94121192262704 94121192264320 94121864286208 0 0 0 0 0\n";

    #[test]
    fn stat_with_a_hostile_name() {
        let stat = Stat::parse(STAT).unwrap();
        assert_eq!(stat.name.to_text(), "a) b (c)");
        assert_eq!((stat.state, stat.parent, stat.session), (b'R', 12, 56));
        assert_eq!((stat.threads, stat.start, stat.code), (3, 153888, 94121192226816));
        assert_eq!(stat.processor, 1);
        assert!(stat.runnable() && !stat.kernel() && !stat.ended());
    }

    #[test]
    fn a_dead_leader_is_not_a_dead_process() {
        let text = String::from_utf8_lossy(STAT).replace(") R ", ") Z ");
        let leader = Stat::parse(text.as_bytes()).unwrap();
        assert!(leader.dead() && !leader.ended());
        let text = text.replace(" 20 0 3 0 ", " 20 0 1 0 ");
        assert!(Stat::parse(text.as_bytes()).unwrap().ended());
    }

    #[test]
    fn cut_or_empty_files_are_unreadable() {
        for length in [0, 3, 8, 20, 60, 120] {
            assert_eq!(Stat::parse(&STAT[..length]), None, "{length} bytes");
        }
        assert_eq!(schedstat(b""), None);
        assert_eq!(resident_pages(b"12"), None);
        assert_eq!(storage_bytes(b"rchar: 1\n"), None);
        assert_eq!(users(b"Name:\tx\n"), None);
        assert_eq!(pressure_total(b"full avg10=0.00 total=9\n"), None);
        let stat = b"cpu  612453 24995 70392 427690 2087 1 309 848 7 0\ncpu0 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(612_453 + 24_995 + 70_392 + 1 + 309));
        assert_eq!(busy_ticks(b"cpu  1 2 3\n"), None);
    }

    #[test]
    fn the_small_files() {
        assert_eq!(schedstat(b"100 200 3\n"), Some((100, 200)));
        assert_eq!(resident_pages(b"765 380 1 1 0 2 0\n"), Some(380));
        let io = b"rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 50\nwrite_bytes: 60\n\
            cancelled_write_bytes: 0\n";
        assert_eq!(storage_bytes(io), Some((50, 60)));
        assert_eq!(users(b"Name:\tx\nUid:\t1\t2\t3\t4\n"), Some((1, 2)));
        let pressure =
            b"some avg10=4.49 avg60=2.81 avg300=1.30 total=18859970\nfull avg10=0 total=7\n";
        assert_eq!(pressure_total(pressure), Some(18_859_970));
    }

    #[test]
    fn contexts_of_both_versions() {
        let found = contexts(b"9:name=systemd:/s\n4:cpu,cpuacct:/a:b/c\n0::/u\n");
        let expected =
            [("systemd", "/s"), ("cpu", "/a:b/c"), ("cpuacct", "/a:b/c"), ("unified", "/u")];
        assert_eq!(found, expected.map(|(space, path)| ContextId::new(space, path)));
    }

    #[test]
    fn arguments_keep_empty_ones() {
        let all = |text| arguments(text).collect::<Vec<_>>();
        assert_eq!(all(b"sh\0-c\0\0"), ["sh", "-c", ""]);
        assert_eq!(all(b"nginx: worker"), ["nginx: worker"]);
        assert!(all(b"").is_empty());
    }
}
