//! That the probes can succeed: unconfined, most of what must fail inside does not fail.

use std::collections::BTreeSet;

use super::{Expect, all, files::lines, programs};
use crate::protocol::{Guarantee, Level};

#[test]
fn names_are_unique_and_there_are_enough() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|probe| probe.name).collect();
    assert_eq!(names.len(), all.len());
    let count = |expect| all.iter().filter(|probe| probe.rule.at(Level::Work) == expect).count();
    assert!(count(Expect::Denied) >= 70, "{}", count(Expect::Denied));
    assert!(count(Expect::Works) >= 30, "{}", count(Expect::Works));
}

#[test]
fn what_must_fail_shows_that_a_guarantee_holds_and_each_is_tried() {
    for level in [Level::Read, Level::Work, Level::WorkNet] {
        for probe in all() {
            let denied = probe.rule.at(level) == Expect::Denied;
            assert_eq!(probe.proves(level).is_some(), denied, "{} at {level:?}", probe.name);
        }
        let tried: BTreeSet<_> = all().iter().filter_map(|probe| probe.proves(level)).collect();
        assert_eq!(tried, Guarantee::ALL.into(), "at {level:?}");
    }
}

#[test]
fn every_line_of_the_programs_is_one() {
    let list = include_str!("lists/programs.txt");
    assert_eq!(programs::all().count(), lines(list).count());
}
