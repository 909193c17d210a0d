//! Whatever happens, in whatever order: a sweep that follows another with nothing in between
//! writes nothing, and in the end everything is as it was found.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Tier(u8),
    Idle(bool),
    Cap(Option<u32>),
    /// A hog is born in the root, a sibling, a cousin, the service's own context or a launched one.
    Born(usize),
    /// The hog of that number, modulo their count, ends.
    Dies(usize),
    /// It leaves the workload and lives on.
    Leaves(usize),
    /// Time passes.
    Sweeps(u64),
    /// The service is gone, or there again.
    Service(bool),
    /// A panic in the middle of a sweep: nothing remembered is relied on.
    Distrust,
}

const PLACES: [&str; 5] = ["/", "/hogs", "/user/deep/leaf", "/svc", "/svc/inner"];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0u8..4).prop_map(Event::Tier),
        any::<bool>().prop_map(Event::Idle),
        prop::option::of(10u32..2000).prop_map(Event::Cap),
        (0..PLACES.len()).prop_map(Event::Born),
        (0usize..8).prop_map(Event::Dies),
        (0usize..8).prop_map(Event::Leaves),
        (1u64..30).prop_map(Event::Sweeps),
        any::<bool>().prop_map(Event::Service),
        Just(Event::Distrust),
    ];
    prop::collection::vec(event, 1..25)
}

fn happen(bench: &mut Bench, origins: &mut Vec<(u32, String)>, event: &Event) {
    let host = bench.host.clone();
    match *event {
        Event::Tier(tier) => bench.tier = tier,
        Event::Idle(idle) => bench.idle = idle,
        Event::Cap(cap) => bench.cap = cap,
        Event::Born(place) => {
            let pid = 100 + origins.len() as u32;
            host.spawn(pid, PLACES[place], pid);
            bench.hogs.push(pid);
            origins.push((pid, PLACES[place].to_owned()));
        }
        Event::Dies(number) if !bench.hogs.is_empty() => {
            let pid = bench.hogs.remove(number % bench.hogs.len());
            host.world().processes.remove(&pid);
        }
        Event::Leaves(number) if !bench.hogs.is_empty() => {
            bench.hogs.remove(number % bench.hogs.len());
        }
        Event::Dies(_) | Event::Leaves(_) => {}
        Event::Sweeps(count) => drop(bench.sweeps(count)),
        Event::Service(alive) => bench.victims = if alive { vec![1] } else { Vec::new() },
        Event::Distrust => bench.worker.distrust(),
    }
}

/// Everything that is written somewhere, without files that hold what they held by default.
fn written(host: &Host) -> Vec<(String, String)> {
    let world = host.world();
    let default = |file: &str| Host::new().file(file);
    let changed = world.files.iter().filter(|(file, value)| **value != default(file));
    changed.map(|(file, value)| (file.clone(), value.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn settled_sweeps_write_nothing_and_the_end_is_the_beginning(events in events()) {
        let host = Host::new();
        host.spawn(1, "/svc", 1);
        host.spawn(11, "/hogs", 2);
        let mut bench = Bench::new(&host, &[1], &[11]);
        let mut origins = vec![(1, "/svc".to_owned()), (11, "/hogs".to_owned())];
        for event in &events {
            happen(&mut bench, &mut origins, event);
            // A stranger (who left the workload) is tolerated for some looks, and a lever that
            // does not help is given up after some sweeps: then nothing changes any more.
            bench.sweeps(12);
            host.take_writes();
            let again = bench.sweeps(2);
            let wrote = host.take_writes();
            prop_assert_eq!(wrote, 0, "after {:?}: {:?}", event, again);
        }
        bench.worker.restore();
        prop_assert_eq!(written(&host), Vec::new());
        let world = host.world();
        prop_assert!(!world.contexts.iter().any(|path| path.starts_with("/outrigger-")));
        for (pid, origin) in origins {
            let Some(process) = world.processes.get(&pid) else { continue };
            prop_assert_eq!(&process.path, &origin);
            prop_assert_eq!((process.nice, process.class, process.autogroup), (0, 0, 0));
        }
    }
}
