//! Who has a part in whose waiting.

use crate::flow::message::{Assessment, Assessments, Contention, Name};
use std::collections::BTreeMap;

/// A contention, and whether the culprits that could be named account for it.
pub(super) struct Charge<'a> {
    contention: &'a Contention,
    explained: bool,
}

/// The worst contention a workload has a part in: it is named, or it used as much as counts, or
/// the culprits could not be named (they did not live long enough) and it used something.
pub(super) fn blamed<'a>(
    assessment: &Assessment,
    charges: &[Charge<'a>],
    others: f64,
) -> Option<&'a Contention> {
    let part = |charge: &&Charge<'a>| {
        let culprits = &charge.contention.culprits;
        culprits.iter().any(|culprit| culprit.workload.as_ref() == Some(&assessment.workload))
            || assessment.millicores >= others
            || (!charge.explained && assessment.millicores > 0.0)
    };
    let worst = |a: &&Contention, b: &&Contention| a.wait_ms_per_s.total_cmp(&b.wait_ms_per_s);
    charges.iter().filter(part).map(|charge| charge.contention).max_by(worst)
}

/// Culprits that used less than half of what others used do not account for it.
pub(super) fn charges<'a>(assessments: &'a Assessments) -> Vec<Charge<'a>> {
    let protected = assessments.workloads.iter().filter(|a| a.class.is_protected());
    let own: BTreeMap<&Name, f64> = protected.map(|a| (&a.workload, a.millicores)).collect();
    let charge = |contention: &'a Contention| {
        let Contention { victim, culprits, .. } = contention;
        let named: f64 = culprits.iter().map(|culprit| culprit.millicores).sum();
        let others =
            assessments.used_millicores.map_or(0.0, |used| used - own.get(victim).unwrap_or(&0.0));
        Charge { contention, explained: !culprits.is_empty() && named * 2.0 >= others }
    };
    assessments.contention.iter().map(charge).collect()
}
