//! Keeps secrets out of reports: what the user gave, and ids that the server gave.

use serde_json::Value;

/// Replaces secrets.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    secrets: Vec<String>,
}

/// What stands for a secret.
pub(super) const REDACTED: &str = "…";

/// Shorter texts are not looked for: they would be found everywhere.
const MIN_SECRET: usize = 4;

impl Redactor {
    /// Notes a secret in each form in which it may come back.
    pub(super) fn add(&mut self, secret: &str) {
        let json = Value::from(secret).to_string();
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for form in [secret, json.trim_matches('"'), &encoded] {
            if form.len() >= MIN_SECRET && !self.secrets.iter().any(|known| known == form) {
                self.secrets.push(form.to_owned());
            }
        }
        // A secret that is part of another must not uncover the rest of it.
        self.secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Notes all texts and numbers in a value.
    pub(super) fn add_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text),
            Value::Array(items) => items.iter().for_each(|item| self.add_value(item)),
            Value::Object(map) => map.values().for_each(|item| self.add_value(item)),
            Value::Number(number) => self.add(&number.to_string()),
            Value::Bool(_) | Value::Null => {}
        }
    }

    /// Gives a text without secrets.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret) {
                text = text.replace(secret, REDACTED);
            }
        }
        for (key, end) in [
            ("sid=", &['&', ' ', '\'', '"', '\n'][..]),
            (r#""sid":""#, &['"']),
            (r#""pid":""#, &['"']),
        ] {
            text = cut(&text, key, end);
        }
        text
    }
}

/// Replaces what stands between a key and the end of its value.
fn cut(text: &str, key: &str, end: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        let (before, after) = rest.split_at(at + key.len());
        let length = after.find(end).unwrap_or(after.len());
        out += before;
        if length > 0 {
            out += REDACTED;
        }
        rest = &after[length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_in_every_form() {
        let mut redactor = Redactor::default();
        redactor.add_value(&json!({ "token": "se\"cret", "deep": ["other&one"] }));
        let text = r#"GET /?a=other%26one 40{"token":"se\"cret"} se"cret"#;
        assert_eq!(redactor.clean(text), r#"GET /?a=… 40{"token":"…"} …"#);
    }

    #[test]
    fn ids_of_sessions_are_secrets() {
        let redactor = Redactor::default();
        assert_eq!(
            redactor.clean(r#"/socket.io/?EIO=4&sid=abc&t=1 0{"sid":"abc","upgrades":[]}"#),
            r#"/socket.io/?EIO=4&sid=…&t=1 0{"sid":"…","upgrades":[]}"#
        );
        assert_eq!(
            redactor.clean(r#"40{"sid":"a","pid":"b"}"#),
            r#"40{"sid":"…","pid":"…"}"#
        );
        assert_eq!(
            redactor.clean("cut off: \"sid\":\"ab"),
            "cut off: \"sid\":\"…"
        );
    }
}
