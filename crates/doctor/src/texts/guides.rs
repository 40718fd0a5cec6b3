//! The two guides to troubleshooting: the same entries, every check, and every hint where its check is.

use socketio_proto::Hint;

use super::hints::{sentence, spanish, tests::check};
use crate::check::Id;

const ENGLISH: &str = include_str!("../../../../docs/troubleshooting.md");
const SPANISH: &str = include_str!("../../../../docs/troubleshooting.es.md");

/// What an entry says that is not prose.
#[derive(Debug, Eq, PartialEq)]
struct Entry {
    /// What stands in backquotes in the heading.
    messages: Vec<String>,
    hints: Vec<Hint>,
    /// None for those that no check finds.
    checks: Vec<String>,
}

fn entries(guide: &str, found: &str, not_found: &str, say: fn(Hint) -> &'static str) -> Vec<Entry> {
    let entry = |text: &str| {
        let (heading, rest) = text.split_once('\n').expect("a heading");
        let messages = heading.split('`').skip(1).step_by(2).map(str::to_owned);
        let hint = |line: &str| {
            let known = Hint::ALL
                .into_iter()
                .find(|hint| sentence(say(*hint), "") == line);
            known.unwrap_or_else(|| panic!("no hint: {line}"))
        };
        let last = rest.trim_end().lines().next_back().unwrap_or_default();
        let checks = match last.strip_prefix(found) {
            Some(ids) => ids.trim_end_matches('.').split(", ").collect(),
            None if last.starts_with(not_found) => Vec::new(),
            None => panic!("{heading} does not say what finds it"),
        };
        Entry {
            messages: messages.collect(),
            hints: rest
                .lines()
                .filter_map(|line| line.strip_prefix("- "))
                .map(hint)
                .collect(),
            checks: checks.into_iter().map(str::to_owned).collect(),
        }
    };
    guide.split("\n## ").skip(1).map(entry).collect()
}

fn english() -> Vec<Entry> {
    entries(ENGLISH, "Found by: ", "No check finds it: ", Hint::as_str)
}

#[test]
fn both_guides_have_the_same_entries_in_the_same_order() {
    let none = "Ninguna comprobación lo encuentra: ";
    let translated = entries(SPANISH, "Lo encuentra: ", none, spanish);
    assert_eq!(english(), translated);
}

#[test]
fn the_guides_name_every_check_and_no_other() {
    let mut named: Vec<String> = english()
        .into_iter()
        .flat_map(|entry| entry.checks)
        .collect();
    named.sort_unstable();
    named.dedup();
    let all: Vec<&str> = Id::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(named, all);
}

#[test]
fn every_hint_has_a_check_and_stands_where_the_guides_name_it() {
    for hint in Hint::ALL {
        let entry = english()
            .into_iter()
            .find(|entry| entry.hints.contains(&hint))
            .unwrap_or_else(|| panic!("{hint:?} has no entry"));
        let id = check(hint);
        assert!(entry.checks.iter().any(|found| found == id.as_str()));
    }
}
