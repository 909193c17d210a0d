//! Lists of CPUs as the kernel writes them: `0-3,8`.

/// A list that is not of the kernel's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of CPUs such as 0-3,8")]
pub struct CpuListError(String);

/// Highest CPU number taken; the kernel's own limit (`CONFIG_NR_CPUS`) is 8192.
pub const MAX_CPU: u32 = 8191;

/// CPUs of a list, ascending and without repetition. The empty list is empty text.
///
/// # Errors
/// Not a list, a range that runs backwards, or a number above [`MAX_CPU`].
pub fn parse(text: &str) -> Result<Vec<u32>, CpuListError> {
    let wrong = || CpuListError(text.to_owned());
    let number = |part: &str| -> Result<u32, CpuListError> {
        let number = part.trim().parse().map_err(|_| wrong())?;
        if number <= MAX_CPU { Ok(number) } else { Err(wrong()) }
    };
    let mut cpus = Vec::new();
    if text.trim().is_empty() {
        return Ok(cpus);
    }
    for part in text.trim().split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(wrong());
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// The canonical form of a set of CPUs, in any order.
pub fn format(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut text = String::new();
    let mut rest = sorted.as_slice();
    while let [first, ..] = rest {
        let length =
            rest.iter().zip(*first..).take_while(|(cpu, expected)| *cpu == expected).count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if length > 1 {
            text.push('-');
            text.push_str(&rest[length - 1].to_string());
        }
        rest = &rest[length..];
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{format, parse};
    use proptest::prelude::*;

    #[test]
    fn canonical_form_joins_neighbours_and_drops_repetitions() {
        assert_eq!(format(&parse("3,8,0,1-2,2").unwrap()), "0-3,8");
        assert_eq!(format(&parse("").unwrap()), "");
        assert_eq!(format(&parse("0-1").unwrap()), "0-1");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "1-", "-1", "3-1", "0,,1", "8192", "0-99999999"] {
            assert!(parse(text).is_err(), "{text} was taken");
        }
    }

    proptest! {
        #[test]
        fn parsing_what_was_formatted_gives_the_same_set(cpus in prop::collection::btree_set(0u32..8192, 0..64)) {
            let cpus: Vec<u32> = cpus.into_iter().collect();
            prop_assert_eq!(parse(&format(&cpus)).unwrap(), cpus);
        }
    }
}
