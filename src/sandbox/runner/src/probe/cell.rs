//! What a backend gives at one level, in short: what it promises, and which attempts came out otherwise than they should.
//! Tests keep it in files, so that a change of it shows in a review.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Expect, Outcome, Report};
use crate::protocol::{Guarantee, Ready};

/// One place in the matrix of backends, levels and versions of Landlock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    pub promised: BTreeSet<Guarantee>,
    pub missing: BTreeSet<Guarantee>,
    /// Attempts that came out otherwise than expected, by name, and how.
    pub otherwise: BTreeMap<String, Outcome>,
}

impl Cell {
    /// What a session said and what was tried in it. A program that is not installed shows nothing.
    pub fn of(ready: &Ready, reports: &[Report]) -> Self {
        let shows = |report: &&Report| report.expect == Expect::Denied || report.outcome != Outcome::Absent;
        let otherwise = reports.iter().filter(|report| !report.good()).filter(shows);
        Self {
            promised: ready.guarantees.keys().copied().collect(),
            missing: ready.missing.keys().copied().collect(),
            otherwise: otherwise.map(|report| (report.name.clone(), report.outcome)).collect(),
        }
    }

    /// Why the promises are not to be believed, after these attempts; empty if they are. `known` are attempts that a
    /// promise is made without.
    pub fn doubts(&self, reports: &[Report], known: &[&str]) -> Vec<String> {
        let mut doubts = Vec::new();
        for guarantee in Guarantee::ALL {
            if self.promised.contains(&guarantee) == self.missing.contains(&guarantee) {
                doubts.push(format!("{guarantee:?} is either promised or missing"));
            }
            let tried = |report: &Report| report.guarantee == Some(guarantee) && report.outcome == Outcome::Denied;
            if self.promised.contains(&guarantee) && !reports.iter().any(tried) {
                doubts.push(format!("{guarantee:?} is promised, and nothing was tried"));
            }
        }
        for report in reports.iter().filter(|report| self.otherwise.contains_key(&report.name)) {
            let promised = report.guarantee.is_none_or(|guarantee| self.promised.contains(&guarantee));
            if promised && !known.contains(&report.name.as_str()) {
                doubts.push(format!("{report:?}"));
            }
        }
        doubts
    }

    /// Holds it against the one of this name in `file`: the same promises, and nothing otherwise that is not there. With
    /// `bless` the file is written instead.
    pub fn hold(&self, file: &Path, name: &str, bless: bool) -> io::Result<Result<(), String>> {
        if bless {
            return self.write(file, name).map(Ok);
        }
        let mut cells: BTreeMap<String, Self> = serde_json::from_str(&fs::read_to_string(file)?)?;
        let Some(written) = cells.remove(name) else { return Ok(Err(format!("{name}: not in {}", file.display()))) };
        // What is there on one machine may be missing on another, such as a service to connect to.
        let new: Vec<_> =
            self.otherwise.iter().filter(|(probe, outcome)| written.otherwise.get(*probe) != Some(outcome)).collect();
        let same = (&self.promised, &self.missing) == (&written.promised, &written.missing);
        Ok(if same && new.is_empty() {
            Ok(())
        } else {
            Err(format!("{name}: {self:?}\nnew: {new:?}\nwas: {written:?}"))
        })
    }

    fn write(&self, file: &Path, name: &str) -> io::Result<()> {
        let lock = File::options().create(true).append(true).open(file)?;
        lock.lock()?; // tests run at the same time
        let text = fs::read_to_string(file)?;
        let mut cells: BTreeMap<String, Self> =
            if text.is_empty() { BTreeMap::new() } else { serde_json::from_str(&text)? };
        cells.insert(name.to_owned(), self.clone());
        fs::write(file, serde_json::to_string_pretty(&cells)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Net, VERSION};

    fn report(name: &str, guarantee: Option<Guarantee>, expect: Expect, outcome: Outcome) -> Report {
        Report { name: name.to_owned(), guarantee, expect, outcome, detail: String::new() }
    }

    fn ready(missing: &[Guarantee]) -> Ready {
        let (missing, promised): (Vec<_>, Vec<_>) =
            Guarantee::ALL.into_iter().partition(|guarantee| missing.contains(guarantee));
        let said = |these: Vec<Guarantee>| these.into_iter().map(|guarantee| (guarantee, String::new())).collect();
        let (guarantees, missing) = (said(promised), said(missing));
        Ready {
            version: VERSION,
            guarantees,
            missing,
            landlock_abi: 7,
            workspace: None,
            protect: Vec::new(),
            limits: None,
            net: Net::default(),
            pid: None,
        }
    }

    fn all_denied() -> Vec<Report> {
        let denied = |guarantee| report("denied", Some(guarantee), Expect::Denied, Outcome::Denied);
        Guarantee::ALL.into_iter().map(denied).collect()
    }

    #[test]
    fn a_promise_is_believed_when_it_was_tried_and_held() {
        let reports = all_denied();
        assert_eq!(Cell::of(&ready(&[]), &reports).doubts(&reports, &[]), Vec::<String>::new());
        let fewer = &reports[1..];
        let doubts = Cell::of(&ready(&[]), fewer).doubts(fewer, &[]);
        assert!(doubts.len() == 1 && doubts[0].contains("Read is promised, and nothing was tried"), "{doubts:?}");
        assert!(Cell::of(&ready(&[Guarantee::Read]), fewer).doubts(fewer, &[]).is_empty(), "nor was it promised");
        for (outcome, expect) in [
            (Outcome::Allowed, Expect::Denied),
            (Outcome::Absent, Expect::Denied),
            (Outcome::Hung, Expect::Denied),
            (Outcome::Failed, Expect::Works),
        ] {
            let mut reports = all_denied();
            reports.push(report("x", Some(Guarantee::Write), expect, outcome));
            assert_eq!(Cell::of(&ready(&[]), &reports).doubts(&reports, &[]).len(), 1, "{outcome:?}");
            assert!(Cell::of(&ready(&[Guarantee::Write]), &reports).doubts(&reports, &[]).is_empty());
            assert!(Cell::of(&ready(&[]), &reports).doubts(&reports, &["x"]).is_empty());
        }
        let mut reports = all_denied();
        reports.push(report("node", None, Expect::Works, Outcome::Absent));
        assert!(Cell::of(&ready(&[]), &reports).otherwise.is_empty(), "it is not installed");
    }

    #[test]
    fn what_is_written_down_holds() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cells.json");
        let mut reports = all_denied();
        let cell = Cell::of(&ready(&[]), &reports);
        cell.hold(&file, "a", true).unwrap().unwrap();
        cell.hold(&file, "a", false).unwrap().unwrap();
        cell.hold(&file, "b", false).unwrap().unwrap_err();
        Cell::of(&ready(&[Guarantee::Ipc]), &reports).hold(&file, "a", false).unwrap().unwrap_err();
        reports.push(report("x", Some(Guarantee::Write), Expect::Denied, Outcome::Allowed));
        let worse = Cell::of(&ready(&[]), &reports);
        worse.hold(&file, "a", false).unwrap().unwrap_err();
        worse.hold(&file, "b", true).unwrap().unwrap();
        worse.hold(&file, "b", false).unwrap().unwrap();
        cell.hold(&file, "a", false).unwrap().unwrap();
        cell.hold(&file, "b", false).unwrap().unwrap();
    }
}
