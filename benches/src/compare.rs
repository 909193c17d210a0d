//! Ratios of short calls that are measured in turn, so that whatever the machine does meanwhile
//! does it to all of them.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

/// Rounds; each measures every arm once. Many short ones: a median is then hard to move.
const ROUNDS: usize = 101;
/// Calls of one arm in one round.
const CALLS: u32 = 2000;

/// Something to be measured: a name, and the call.
pub struct Arm<'a> {
    name: &'static str,
    call: Box<dyn FnMut(u32) + 'a>,
    samples: Vec<f64>,
}

// === impl Arm ===

impl<'a> Arm<'a> {
    /// An arm. The loop round `call` is compiled into it, so that it costs each arm the same.
    pub fn new<T>(name: &'static str, mut call: impl FnMut() -> T + 'a) -> Self {
        let call = Box::new(move |count| (0..count).for_each(|_| drop(black_box(call()))));
        Self { name, call, samples: Vec::with_capacity(ROUNDS) }
    }

    fn measure(&mut self) {
        let begun = Instant::now();
        (self.call)(CALLS);
        self.samples.push(begun.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
}

impl fmt::Debug for Arm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arm").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Measures all arms in turn and prints the median cost of each, and of its ratio to the first
/// arm within the same round.
pub fn compare(title: &str, mut arms: Vec<Arm<'_>>) {
    // The first round pays for caches and page faults.
    for _ in 0..=ROUNDS {
        arms.iter_mut().for_each(Arm::measure);
    }
    println!("\n{title}: medians of {ROUNDS} rounds of {CALLS} calls in turn");
    let base = arms.first().map(|arm| arm.samples.clone()).unwrap_or_default();
    for arm in &arms {
        let ratios = arm.samples.iter().zip(&base).map(|(own, base)| own / base);
        let [low, middle, high] = quartiles(ratios.skip(1));
        let [_, ns, _] = quartiles(arm.samples.iter().copied().skip(1));
        println!("  {:<34} {ns:>9.1} ns   {middle:>6.3}x [{low:.3} to {high:.3}]", arm.name);
    }
    println!("  (ratio to the first; quartiles in brackets)\n");
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    #[test]
    fn quartiles_are_of_the_sorted_values() {
        let values = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];

        assert_eq!(super::quartiles(values.into_iter()), [3.0, 5.0, 7.0]);
    }
}
