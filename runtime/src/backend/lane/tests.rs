#![allow(clippy::unwrap_used)]
use super::*;
use outrigger_sdk::{CapabilityReport, Description, Error, Host};
use std::future::{Future as _, poll_fn};
use std::sync::mpsc::channel;
use std::task::Poll;

/// A backend that does nothing: these tests are about the thread around it.
struct Nothing;

impl Backend for Nothing {
    fn describe() -> Description {
        unreachable!("lanes do not describe")
    }
    fn create(_: Host, _: &str) -> Result<Self, Error> {
        Ok(Self)
    }
    fn probe(&mut self) -> Result<Vec<CapabilityReport>, Error> {
        Ok(Vec::new())
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

fn lane() -> Lane {
    Lane::open::<(), ()>("test", LONG, || Ok((Box::new(Nothing), ()))).unwrap().0
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Awaits an event that nobody announces.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn calls_run_in_order_on_the_lanes_own_thread() {
    let lane = lane();
    let name = lane.submit("a", LONG, |_| std::thread::current().name().map(str::to_owned), None);
    assert_eq!(name.unwrap().wait().unwrap().as_deref(), Some("lane-test"));
    let (order, seen) = channel();
    let pending: Vec<_> = (0..10)
        .map(|i| {
            let order = order.clone();
            lane.submit("b", LONG, move |_| order.send(i).unwrap(), None).unwrap()
        })
        .collect();
    for call in pending {
        runtime().block_on(call.finish()).unwrap();
    }
    drop(order);
    assert_eq!(seen.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_late_call_puts_the_lane_in_doubt_until_its_result_was_told() {
    let lane = lane();
    let (release, released) = channel::<()>();
    let (tell, told) = channel();
    let on_late: OnLate<u32> = Box::new(move |value, took| tell.send((value, took)).unwrap());
    let (begun, running) = channel();
    let call = move |_: &mut dyn Backend| {
        begun.send(()).unwrap();
        released.recv().unwrap();
        42
    };
    let pending = lane.submit("hang", SHORT, call, Some(on_late)).unwrap();
    running.recv().unwrap();
    assert!(matches!(pending.wait(), Err(LaneError::Late { step: "hang", .. })));
    assert!(matches!(lane.condition(), Condition::InDoubt { step: "hang", .. }));
    let refused = lane.submit("next", LONG, |_| (), None).err().unwrap();
    assert!(matches!(refused, LaneError::InDoubt { hanging: "hang", step: "next", .. }));
    assert!(refused.to_string().contains("`next` was not begun"), "{refused}");

    release.send(()).unwrap();
    let (value, took) = told.recv_timeout(LONG).unwrap();
    assert_eq!(value, Ok(42));
    assert!(took >= SHORT / 2, "{took:?}");
    until("the lane being ready", || lane.condition() == Condition::Ready);
    assert_eq!(lane.submit("next", LONG, |_| 7, None).unwrap().wait(), Ok(7));
}

#[test]
fn a_call_that_waited_too_long_in_the_queue_never_runs() {
    let lane = lane();
    let (release, released) = channel::<()>();
    let first = lane.submit("first", LONG, move |_| released.recv().unwrap(), None).unwrap();
    let (ran, runs) = channel();
    let second = lane.submit("second", SHORT, move |_| ran.send(()).unwrap(), None).unwrap();
    assert!(matches!(second.wait(), Err(LaneError::Busy { step: "second", .. })));
    assert_eq!(lane.condition(), Condition::Ready, "a withdrawn call leaves no doubt");
    release.send(()).unwrap();
    first.wait().unwrap();
    lane.submit("third", LONG, |_| (), None).unwrap().wait().unwrap();
    assert!(runs.try_recv().is_err(), "it ran although it was withdrawn");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let lane = lane();
    let (release, released) = channel::<()>();
    let (begun, running) = channel();
    let first = lane
        .submit(
            "first",
            LONG,
            move |_| {
                begun.send(()).unwrap();
                released.recv().unwrap();
            },
            None,
        )
        .unwrap();
    running.recv().unwrap();
    let queued: Vec<_> =
        (0..QUEUE).map(|_| lane.submit("more", LONG, |_| (), None).unwrap()).collect();
    assert!(matches!(lane.submit("over", LONG, |_| (), None), Err(LaneError::Busy { .. })));
    release.send(()).unwrap();
    first.wait().unwrap();
    for call in queued {
        call.wait().unwrap();
    }
}

#[test]
fn a_future_that_is_dropped_gives_its_call_up() {
    let lane = lane();
    let (release, released) = channel::<()>();
    let (tell, told) = channel();
    let (begun, running) = channel();
    let pending = lane
        .submit(
            "dropped",
            LONG,
            move |_| {
                begun.send(()).unwrap();
                released.recv().unwrap();
                "late"
            },
            Some(Box::new(move |value, _| tell.send(value).unwrap())),
        )
        .unwrap();
    running.recv().unwrap();
    runtime().block_on(async {
        let mut future = Box::pin(pending.finish());
        let once = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await;
        assert!(once);
    });
    assert!(matches!(lane.condition(), Condition::InDoubt { .. }));
    release.send(()).unwrap();
    assert_eq!(told.recv_timeout(LONG).unwrap(), Ok("late"));
}

#[test]
fn a_panic_ends_the_lane_and_everybody_who_waits_is_told() {
    let lane = lane();
    let (release, released) = channel::<()>();
    let first = lane
        .submit(
            "bad",
            LONG,
            move |_| {
                released.recv().unwrap();
                panic!("broken inside")
            },
            None,
        )
        .unwrap();
    let second = lane.submit("good", LONG, |_| 1, None).unwrap();
    release.send(()).unwrap();
    let error = first.wait().unwrap_err();
    assert!(error.to_string().contains("it panicked in `bad`: broken inside"), "{error}");
    assert!(matches!(second.wait(), Err(LaneError::Ended { .. })));
    let after = lane.submit("after", LONG, |_| (), None).err().unwrap();
    assert!(after.to_string().contains("broken inside"), "{after}");
}

#[test]
fn a_backend_that_is_not_made_in_time_is_refused() {
    let (release, released) = channel::<()>();
    let opened = Lane::open::<(), ()>("slow", SHORT, move || {
        released.recv().unwrap();
        Ok((Box::new(Nothing), ()))
    });
    assert!(matches!(opened, Err(OpenError::Lane(LaneError::Late { step: "create", .. }))));
    release.send(()).unwrap();
    let opened = Lane::open::<(), ()>("bad", LONG, || panic!("at birth"));
    let Err(OpenError::Lane(error)) = opened else { panic!("it was opened") };
    assert!(error.to_string().contains("at birth"), "{error}");
    let opened = Lane::open::<(), &str>("no", LONG, || Err("because"));
    assert!(matches!(opened, Err(OpenError::Refused("because"))));
}
