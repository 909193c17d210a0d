//! Who made a context, told by its name.
//!
//! Several sidecars may work on one host, and one may have died and left contexts behind. The
//! name of a context carries the process that made it, as number and start time, so that a living
//! sidecar's contexts are never taken for anybody else's, and a dead one's are nobody's.

use crate::undo::Task;
#[cfg(target_os = "linux")]
use crate::undo::knob;

/// The part of a name that says who made the context: `PIDtSTART`.
pub fn tag(maker: Task) -> String {
    format!("{}t{}", maker.pid, maker.start)
}

/// Who made the context of that name, if it says so.
pub fn of(name: &str) -> Option<Task> {
    name.split('-').find_map(|part| {
        let (pid, start) = part.split_once('t')?;
        Some(Task { pid: pid.parse().ok()?, tid: 0, start: start.parse().ok()? })
    })
}

/// The living process other than this one that made a context on the way to `path`.
#[cfg(target_os = "linux")]
pub fn another(path: &str) -> Option<u32> {
    let makers = path.split('/').filter(|name| name.starts_with("outrigger-")).filter_map(of);
    let mut others = makers.filter(|maker| maker.pid != std::process::id());
    others.find(|maker| knob::is_alive(*maker)).map(|maker| maker.pid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_maker_is_read_off_the_name() {
        let maker = Task { pid: 4711, tid: 0, start: 83_721 };
        assert_eq!(tag(maker), "4711t83721");
        assert_eq!(of("outrigger-run-4711t83721-app"), Some(maker));
        for name in ["outrigger-run-4711-app", "outrigger-t-batch", "outrigger-4711t-x", "x"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_living_others_hold_what_they_made() {
        let parent = knob::identify(std::os::unix::process::parent_id()).unwrap();
        let own = knob::identify(std::process::id()).unwrap();
        let path = |maker| format!("/a/outrigger-daemon-{}-jobs/inner", tag(maker));
        assert_eq!(another(&path(parent)), Some(parent.pid));
        assert_eq!(another(&path(Task { start: parent.start + 1, ..parent })), None);
        assert_eq!(another(&path(own)), None);
        assert_eq!(another("/"), None);
    }
}
