//! On which subjects the messages of a namespace travel.

use socketio_proto::cluster::Uid;

/// The subjects of a namespace: `PREFIX.NAMESPACE.all` for all servers, `PREFIX.NAMESPACE.to.UID` for
/// answers to one.
#[derive(Clone, Debug)]
pub(super) struct Subjects(String);

/// So long a part of a subject is at most. NATS ends a connection on which a line has 4 KiB.
///
/// Longer names share their subjects with those that begin alike: messages name their namespace, and
/// those of others are ignored.
const MAX_TOKEN: usize = 120;

impl Subjects {
    pub(super) fn new(prefix: &str, nsp: &str) -> Subjects {
        let parts = prefix.split('.').chain([nsp]).map(token);
        Subjects(parts.collect::<Vec<_>>().join("."))
    }

    pub(super) fn all(&self) -> String {
        format!("{}.all", self.0)
    }

    pub(super) fn response_to(&self, uid: &Uid) -> String {
        format!("{}.to.{}", self.0, token(uid.as_str()))
    }
}

/// A name as a part of a subject, where dots, stars, spaces and ends of lines have a meaning: all but
/// letters, digits, `-` and `_` becomes `=` and two hexadecimal digits.
fn token(name: &str) -> String {
    let mut token = String::new();
    for byte in name.bytes() {
        if token.len() + 3 > MAX_TOKEN {
            break;
        }
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => token.push(byte.into()),
            _ => token.push_str(&format!("={byte:02X}")),
        }
    }
    // No part may be empty.
    if token.is_empty() {
        token.push('=');
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parts_of_subjects() {
        for (prefix, nsp, expected) in [
            ("socketio", "/", "socketio.=2F.all"),
            ("app.one", "/chat-1_A", "app.one.=2Fchat-1_A.all"),
            ("", "/a.b", "=.=2Fa=2Eb.all"),
            ("a b", "/*>\r\nPUB x", "a=20b.=2F=2A=3E=0D=0APUB=20x.all"),
            ("p", "/ü", "p.=2F=C3=BC.all"),
        ] {
            assert_eq!(Subjects::new(prefix, nsp).all(), expected);
        }
        let subjects = Subjects::new("p", "/");
        assert_eq!(subjects.response_to(&Uid::new("1f")), "p.=2F.to.1f");
        assert_eq!(
            subjects.response_to(&Uid::new("a\r\nb")),
            "p.=2F.to.a=0D=0Ab"
        );
    }

    #[test]
    fn no_name_makes_a_subject_too_long() {
        let long = "é".repeat(10_000);
        let subjects = Subjects::new("p", &long);
        assert!(subjects.response_to(&Uid::new(long)).len() < 300);
    }
}
