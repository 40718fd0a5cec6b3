//! Where the sources let an application give a callback, so that none is missing in the table.

use std::fs;
use std::path::{Path, PathBuf};

/// Where applications find what they implement.
const ROOTS: [&str; 3] = ["src", "../adapters/src", "../proto/src/socket/parser.rs"];

/// The functions that take a function, and the traits, each as `file: name`.
pub(super) fn callbacks() -> Vec<String> {
    let mut found = Vec::new();
    for root in ROOTS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        for file in files(&root) {
            let text = fs::read_to_string(&file).expect("a source");
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
            let name = match root == file {
                true => file
                    .file_stem()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned(),
                false => {
                    let relative = file.strip_prefix(&root).expect("below it");
                    relative.with_extension("").to_string_lossy().into_owned()
                }
            };
            found.extend(in_text(text).iter().map(|item| format!("{name}: {item}")));
        }
    }
    found.sort();
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths.flat_map(|path| files(&path)).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files
}

fn in_text(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for marker in ["pub fn ", "pub async fn ", "pub trait "] {
        for (at, _) in text.match_indices(marker) {
            let item = &text[at + marker.len()..];
            let signature = &item[..item.find(['{', ';']).unwrap_or(item.len())];
            let name = signature.split(|c: char| !c.is_alphanumeric() && c != '_');
            let takes = [
                "Fn(",
                "FnMut(",
                "FnOnce(",
                "AsyncFn",
                "Handler<",
                "Middleware<",
            ];
            if marker == "pub trait " || takes.iter().any(|bound| signature.contains(bound)) {
                found.extend(name.take(1).map(str::to_owned));
            }
        }
    }
    found
}

/// The callbacks that the library itself tells apart.
pub(super) fn names() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/application.rs");
    let text = fs::read_to_string(path).expect("the source");
    let list = text.split("callbacks! {").nth(1).expect("the list");
    let list = list.split('}').next().expect("its end");
    list.lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn functions_with_bounds_and_traits_are_found() {
    let text = "
        pub fn one(&self, f: impl Fn(u8) -> u8 + Send) -> &Self {}
        pub fn two<F>(&self, f: F) where F: AsyncFnMut(u8) {}
        pub(crate) fn hidden(f: impl Fn()) {}
        pub fn none(&self, a: u8) {}
        pub async fn three<S>(self, handler: impl Handler<Socket, S>);
        pub trait Four: Send {}";
    assert_eq!(in_text(text), ["one", "two", "three", "Four"]);
}
