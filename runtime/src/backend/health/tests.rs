use super::*;

fn fault() -> Event {
    Event::Fault { reason: "panicked".into() }
}
fn late() -> Event {
    Event::Late { reason: "slow".into() }
}
fn active() -> Machine {
    let mut machine = Machine::default();
    for event in [Event::Created, Event::Probed, Event::Answered] {
        machine.event(event, 0);
    }
    assert_eq!(*machine.state(), State::Active);
    machine
}
fn until(machine: &Machine) -> u64 {
    match machine.state() {
        State::Quarantined { until_ns, .. } => *until_ns,
        other => panic!("not quarantined but {other:?}"),
    }
}

#[test]
fn it_goes_through_the_states_in_order() {
    let mut machine = Machine::default();
    let mut names = vec![machine.state().name()];
    for event in [Event::Created, Event::Probed, Event::Answered] {
        machine.event(event, 0);
        names.push(machine.state().name());
    }
    assert_eq!(names, ["discovered", "checked", "probed", "active"]);
}

#[test]
fn a_fault_quarantines_at_once_each_time_twice_as_long_up_to_a_bound() {
    let mut machine = active();
    let mut now = 1000;
    let mut length = FIRST_QUARANTINE;
    for _ in 0..20 {
        machine.event(fault(), now);
        assert_eq!(until(&machine) - now, length);
        now = until(&machine);
        machine.event(Event::Answered, now);
        assert_eq!(machine.state().name(), "degraded");
        length = (length * 2).min(LONGEST_QUARANTINE);
    }
    now += FORGET_AFTER;
    machine.event(Event::Answered, now);
    assert_eq!(machine.state().name(), "active");
    machine.event(fault(), now);
    assert_eq!(until(&machine) - now, FIRST_QUARANTINE);
}

#[test]
fn one_late_answer_degrades_and_the_third_in_a_minute_quarantines() {
    let mut machine = active();
    machine.event(late(), SECOND);
    assert_eq!(machine.state().name(), "degraded");
    machine.event(late(), 2 * SECOND);
    assert_eq!(machine.state().name(), "degraded");
    machine.event(late(), 3 * SECOND);
    assert_eq!(until(&machine), 4 * SECOND);
    let mut machine = active();
    for minute in 0..10 {
        machine.event(late(), minute * LATE_WINDOW);
        assert_eq!(machine.state().name(), "degraded");
    }
    machine.event(Event::Answered, 11 * LATE_WINDOW);
    assert_eq!(machine.state().name(), "active");
}

#[test]
fn an_answer_within_the_quarantine_does_not_end_it_and_a_late_trial_prolongs_it() {
    let mut machine = active();
    machine.event(fault(), 0);
    machine.event(Event::Answered, FIRST_QUARANTINE / 2);
    assert_eq!(until(&machine), FIRST_QUARANTINE);
    machine.event(late(), FIRST_QUARANTINE);
    assert_eq!(until(&machine), 3 * FIRST_QUARANTINE);
}

#[test]
fn a_lane_that_ended_is_never_asked_again() {
    let health = Health::new("test".into());
    health.event(Event::Ended { reason: "panic".into() }, 5);
    health.event(fault(), 6);
    assert!(!health.is_trusted() && !health.admits(u64::MAX - 1));
}

#[test]
fn what_the_os_refuses_is_not_the_plugins_fault() {
    use outrigger_sdk::Error;
    let refused: Result<(), _> = Err(Error::new(ErrorCode::PRIVILEGE, "x", "not root"));
    assert_eq!(Event::of(&refused), Event::Answered);
    let nonsense: Result<(), _> = Err(Error::new(ErrorCode::NONSENSE, "x", "what"));
    assert!(matches!(Event::of(&nonsense), Event::Fault { .. }));
}
