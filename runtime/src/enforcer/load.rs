//! What a process weighs among tasks, by its nice value and class. Pure.
//!
//! Whoever is put into a context gives up its own weight among the others for the context's.
//! Holding back must not be a gift, so [`super::want`] compares the two.

/// Load weight of nice 0, and of a context with weight 100 (`NICE_0_LOAD`, `kernel/sched/sched.h`).
pub const NICE_0: u32 = 1024;

/// Load weight in the idle class (`WEIGHT_IDLEPRIO`, `kernel/sched/sched.h`).
pub const IDLE: u32 = 3;

/// `sched_prio_to_weight` of `kernel/sched/core.c`, from nice -20 to 19.
const OF_NICE: [u32; 40] = [
    88_761, 71_755, 56_483, 46_273, 36_291, 29_154, 23_254, 18_705, 14_949, 11_916, 9_548, 7_620,
    6_100, 4_904, 3_906, 3_121, 2_501, 1_991, 1_586, 1_277, 1_024, 820, 655, 526, 423, 335, 272,
    215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
];

/// The load weight of a nice value; one that cannot be counts as 0.
pub fn of_nice(nice: i64) -> u32 {
    let at = usize::try_from(nice + 20).ok().and_then(|at| OF_NICE.get(at));
    at.copied().unwrap_or(NICE_0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_kernel_has_it() {
        assert_eq!([-20, 0, 10, 19].map(of_nice), [88_761, 1024, 110, 15]);
        assert_eq!([-21, 20, i64::MAX - 20].map(of_nice), [NICE_0; 3]);
    }
}
