//! What `--explain` tells of a check: what it does, and all lines to paste.

use serde_json::{Map, Value, json};

use crate::doctor::args::DoctorArgs;
use crate::doctor::check::Id;
use crate::doctor::target::Target;
use crate::doctor::texts::{Advice, Seen, Texts};

pub(in crate::doctor) fn explain(id: Id, args: &DoctorArgs, texts: &dyn Texts) -> String {
    let url = args.url.as_deref().unwrap_or("https://example.com");
    let target = Target::parse(url, &args.path, None).ok();
    let seen = Seen {
        path: args.path.clone(),
        origin: args.page(),
        url: target.map_or_else(|| url.to_owned(), |target| target.origin()),
        ..Seen::default()
    };
    let advice = Advice::of_check(id);
    if args.json {
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
        return format!("{value:#}\n");
    }
    let mut out = format!(
        "{} {}\n\n{}\n",
        id.as_str(),
        texts.name(id),
        texts.explain(id)
    );
    for advice in &advice {
        out += &format!("\n{}\n", texts.advice(advice));
        for snippet in advice.all(&seen) {
            let lines = snippet.text.replace('\n', "\n    ");
            out += &format!("\n  {}:\n    {lines}\n", texts.tool(snippet.tool));
        }
    }
    out
}
