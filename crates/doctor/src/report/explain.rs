//! What `--explain` tells of a check: what it does, and all lines to paste.

use serde_json::{Map, Value, json};

use crate::check::Id;
use crate::options::Options;
use crate::target::Target;
use crate::texts::{Advice, Language, Seen};

/// What a check does, with lines to paste for all proxies, servers and clients that are known. The URL,
/// path and origin of the options stand in them.
pub fn explain(id: Id, options: &Options, language: Language) -> String {
    let (texts, seen) = (language.texts(), seen(options));
    let mut out = format!(
        "{} {}\n\n{}\n",
        id.as_str(),
        texts.name(id),
        texts.explain(id)
    );
    for advice in &Advice::of_check(id) {
        out += &format!("\n{}\n", texts.advice(advice));
        for snippet in advice.all(&seen) {
            let lines = snippet.text.replace('\n', "\n    ");
            out += &format!("\n  {}:\n    {lines}\n", texts.tool(snippet.tool));
        }
    }
    out
}

/// The same as [`explain`], as one JSON object.
pub fn explain_json(id: Id, options: &Options, language: Language) -> String {
    let (texts, seen) = (language.texts(), seen(options));
    let advice = Advice::of_check(id);
    let fixes = advice.iter().map(|advice| {
        let snippets: Map<String, Value> = advice
            .all(&seen)
            .into_iter()
            .map(|snippet| (snippet.tool.to_owned(), snippet.text.into()))
            .collect();
        json!({ "text": texts.advice(advice), "snippets": snippets })
    });
    let value = json!({
        "schema": 1,
        "id": id.as_str(),
        "name": texts.name(id),
        "text": texts.explain(id),
        "fixes": fixes.collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn seen(options: &Options) -> Seen {
    let target = Target::parse(&options.url, &options.path, None).ok();
    Seen {
        path: options.path.clone(),
        origin: options.page(),
        url: target.map_or_else(|| options.url.clone(), |target| target.origin()),
        ..Seen::default()
    }
}
