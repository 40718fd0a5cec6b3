//! The table of limits in docs/operations.md says what the sources do: each limit stands in it, with its
//! default, a counter that there is, and a test that there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const GUIDE: &str = include_str!("../../../../docs/operations.md");

/// Where the options of a server are.
const OPTIONS: [&str; 5] = [
    include_str!("../../src/server/config.rs"),
    include_str!("../../src/server/handlers.rs"),
    include_str!("../../src/server/listen.rs"),
    include_str!("../../src/server/recovery/mod.rs"),
    include_str!("../../src/server/routing/mod.rs"),
];

const COUNTERS: &str = include_str!("../../src/server/counters.rs");

/// Options that bound something and are not named so.
const MORE_LIMITS: [&str; 4] = [
    "ipv6_prefix",
    "keep_empty_child_namespaces",
    "rate_limit",
    "proxy_protocol",
];

/// Counters that no limit has.
const NO_LIMITS: [&str; 17] = [
    "cluster_refused",
    "cluster_rejected",
    "deadline_restarts",
    "dropped_after_leaving",
    "dropped_volatile",
    "events_after_leaving",
    "expired",
    "failed_emits",
    "forwarded",
    "malformed_handshakes",
    "not_recovered_unknown",
    "opened",
    "recovered",
    "refused_draining",
    "undecodable_events",
    "unhandled_events",
    "upgraded",
];

struct Row {
    limit: String,
    default: String,
    counter: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let table = GUIDE.split("\n## Limits\n").nth(1).expect("the chapter");
    let table = table.split("\n## ").next().expect("its text");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [limit, default, _, counter, test] = &cells[..] else {
            panic!("five cells: {line}");
        };
        Row {
            limit: (*limit).to_owned(),
            default: (*default).to_owned(),
            counter: (*counter).to_owned(),
            test: (*test).to_owned(),
        }
    })
    .collect()
}

/// The words in a text that stand in backticks, without arguments and paths.
fn names(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let plain = |name: &str| {
        let name = name.split('(').next().unwrap_or_default();
        name.rsplit("::").next().unwrap_or_default().to_owned()
    };
    quoted.map(plain).collect()
}

/// The options in the sources, each with its documentation.
fn options() -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut documentation = String::new();
    for line in OPTIONS.iter().flat_map(|source| source.lines()) {
        if let Some(text) = line.trim_start().strip_prefix("///") {
            documentation.push_str(text);
        } else if let Some(rest) = line.strip_prefix("    pub fn ") {
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let name = &rest[..end.expect("arguments")];
            options.push((name.to_owned(), std::mem::take(&mut documentation)));
        } else if !line.trim_start().starts_with('#') {
            documentation.clear();
        }
    }
    options
}

fn is_limit(name: &str) -> bool {
    (name.starts_with("max_") && name != "max_disconnection")
        || name.ends_with("_timeout")
        || MORE_LIMITS.contains(&name)
}

#[test]
fn each_limit_stands_in_the_table_with_its_default() {
    let rows = rows();
    for (name, documentation) in options().iter().filter(|(name, _)| is_limit(name)) {
        let row = rows.iter().find(|row| names(&row.limit).contains(name));
        let row = row.unwrap_or_else(|| panic!("`{name}` does not stand in the table"));
        let said = documentation.split("Default: ").nth(1);
        let Some(said) = said else { continue };
        let said = said.split(". ").next().expect("a sentence");
        // A number with its unit has to stand there as it is; that there is none is said in any words.
        let number: String = said
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .collect();
        let number = number.trim_end_matches(',');
        match number {
            "" if said.starts_with("no limit") => {
                assert!(row.default.starts_with("none"), "{name}: {}", row.default);
            }
            "" => {}
            number => {
                let is_said = row
                    .default
                    .split([' ', ',', ';'])
                    .any(|word| word == number)
                    || row.default.contains(number);
                assert!(is_said, "{name}: {said}, and in the table: {}", row.default);
            }
        }
    }
}

#[test]
fn what_the_table_names_is_there() {
    let known: BTreeSet<_> = options().into_iter().map(|(name, _)| name).collect();
    let counters = counters();
    for row in rows() {
        for name in names(&row.limit) {
            let is_known = known.contains(&name) || name.starts_with("ulimit");
            assert!(is_known, "there is no option `{name}`: {}", row.limit);
        }
        assert!(
            !row.counter.is_empty(),
            "no counter, and no \"none\": {}",
            row.limit
        );
        for name in names(&row.counter) {
            let is_known = counters.contains(&name) || METRICS.contains(&&*name);
            assert!(is_known, "there is no counter `{name}`: {}", row.limit);
        }
    }
}

/// What `Metrics` has beside plain counters.
const METRICS: [&str; 5] = [
    "disconnects",
    "held_bytes",
    "dynamic_namespaces",
    "recovery_bytes",
    "long_queue_bytes",
];

fn counters() -> BTreeSet<String> {
    let list = COUNTERS.split("\ncounters! {\n").nth(1).expect("the list");
    let list = list.split("\n}\n").next().expect("its end");
    let names = list
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','));
    let names = names.filter(|name| name.chars().all(|c| c == '_' || c.is_ascii_lowercase()));
    names.map(str::to_owned).collect()
}

#[test]
fn each_counter_is_that_of_a_limit_or_is_known_to_be_none() {
    let told: BTreeSet<_> = rows().iter().flat_map(|row| names(&row.counter)).collect();
    for name in counters() {
        let is_told = told.contains(&name);
        let is_none = NO_LIMITS.contains(&&*name);
        assert!(
            is_told != is_none,
            "`{name}`: {is_told} in the table, {is_none} in the list"
        );
    }
}

#[test]
fn each_limit_has_a_test() {
    let mut sources = Vec::new();
    for directory in ["crates", "interop/test", "fuzz/tests"] {
        read(&root().join(directory), &mut sources);
    }
    for row in rows() {
        let names = names(&row.test);
        assert!(!names.is_empty(), "no test: {}", row.limit);
        for name in names {
            let definition = format!("fn {name}(");
            let is_there = sources.iter().any(|source| source.contains(&definition));
            assert!(is_there, "there is no test `{name}`: {}", row.limit);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads all sources in a directory.
fn read(directory: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            sources.push(fs::read_to_string(&path).expect("a source"));
        }
    }
}
