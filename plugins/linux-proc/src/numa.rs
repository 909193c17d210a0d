//! Memory nodes and their CPUs, from `/sys/devices/system/node`.
//!
//! Only what is there is told: one node is one node, and a kernel without NUMA has none. Nothing
//! here pins anything.

use outrigger_sdk::undo::knob::cpu_list;
use std::path::Path;

/// A memory node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub number: u32,
    /// CPUs of it; empty for a node of memory alone.
    pub cpus: Vec<u32>,
    /// Memory of it, bytes; absent if the kernel does not say.
    pub memory_bytes: Option<u64>,
}

/// Where the kernel tells about its nodes.
pub const ROOT: &str = "/sys/devices/system/node";

/// Reads the nodes that are online, in the order of their numbers.
///
/// # Errors
/// There is no such directory (a kernel without NUMA, or no sysfs), or it cannot be read.
pub fn nodes(root: &Path) -> std::io::Result<Vec<Node>> {
    let online = std::fs::read_to_string(root.join("online"))?;
    let online = cpu_list::parse(&online).map_err(|_| std::io::ErrorKind::InvalidData)?;
    online
        .into_iter()
        .map(|number| {
            let place = root.join(format!("node{number}"));
            let cpus = std::fs::read_to_string(place.join("cpulist"))?;
            let memory = std::fs::read_to_string(place.join("meminfo")).ok();
            Ok(Node {
                number,
                cpus: cpu_list::parse(&cpus).map_err(|_| std::io::ErrorKind::InvalidData)?,
                memory_bytes: memory.and_then(|text| total_bytes(&text)),
            })
        })
        .collect()
}

/// `Node 0 MemTotal:  24 kB`.
fn total_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("MemTotal:"))?.1;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(root: &Path, number: u32, cpus: &str, memory: &str) {
        let place = root.join(format!("node{number}"));
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("cpulist"), cpus).unwrap();
        std::fs::write(place.join("meminfo"), memory).unwrap();
    }

    #[test]
    fn two_nodes_one_without_cpus() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("online"), "0,2\n").unwrap();
        node(root.path(), 0, "0-1\n", "Node 0 MemTotal:       24 kB\nNode 0 MemFree: 1 kB\n");
        node(root.path(), 2, "\n", "");
        let expected = [
            Node { number: 0, cpus: vec![0, 1], memory_bytes: Some(24 * 1024) },
            Node { number: 2, cpus: vec![], memory_bytes: None },
        ];
        assert_eq!(nodes(root.path()).unwrap(), expected);
    }

    #[test]
    fn no_directory_is_an_error_not_one_node() {
        let root = tempfile::tempdir().unwrap();
        assert!(nodes(&root.path().join("absent")).is_err());
    }
}
