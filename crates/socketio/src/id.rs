//! The ids: of a session (Engine.IO), of a socket (Socket.IO), and the private one for recovery.
//!
//! They are 20 characters of `[A-Za-z0-9_-]`, made from 120 random bits, and fit into 24 bytes
//! without an allocation. Ids from elsewhere (another server, a custom generator, `server/routing`) may be any
//! text.
//! This module does not know which ids exist.
//! Specification: Engine.IO v4, "Handshake" (`sid`); Socket.IO v5, "Connection to a namespace".

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Serialize, Serializer};

/// The id of a session, which only its client and the server know.
///
/// Who knows it can speak for the client, so its `Debug` output does not show it.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(Id);

/// The id of a socket, which others may see.
#[doc(alias = "socket.id")]
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(Id);

/// The private id of a client in a namespace, by which it proves who it is when it comes back.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Pid(Id);

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid(..)")
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketId").field(&self.as_str()).finish()
    }
}

macro_rules! id_newtype {
    ($visibility:vis $name:ident) => {
        impl $name {
            /// Makes an id that nobody can guess.
            $visibility fn generate() -> $name {
                $name(Id::generate())
            }

            /// Gives the id as text.
            $visibility fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// Gives the id as bytes, which costs less than the text.
            #[allow(dead_code, reason = "all ids have the same methods")]
            pub(crate) fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(Id::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> $name {
                $name(Id::from(text))
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self == **other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

id_newtype!(pub SessionId);
id_newtype!(pub SocketId);
id_newtype!(pub(crate) Pid);

/// A text that is nearly always as long as a generated id.
///
/// Every text has exactly one representation, so comparing the variants compares the texts.
#[derive(Clone, Eq, PartialEq)]
enum Id {
    /// Only ASCII.
    Inline([u8; LEN]),
    Boxed(Box<str>),
}

impl Id {
    fn generate() -> Id {
        let random: [u8; RANDOM_BYTES] = rand::random();
        let mut text = [0; LEN];
        for (three, four) in random.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            four[0] = ALPHABET[(bits >> 18) as usize];
            four[1] = ALPHABET[(bits >> 12 & 63) as usize];
            four[2] = ALPHABET[(bits >> 6 & 63) as usize];
            four[3] = ALPHABET[(bits & 63) as usize];
        }
        Id::Inline(text)
    }

    fn inline(text: &str) -> Option<Id> {
        let bytes: [u8; LEN] = text.as_bytes().try_into().ok()?;
        bytes.is_ascii().then_some(Id::Inline(bytes))
    }

    fn as_str(&self) -> &str {
        match self {
            Id::Inline(bytes) => str::from_utf8(bytes).expect("only ASCII is stored inline"),
            Id::Boxed(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Id::Inline(bytes) => bytes,
            Id::Boxed(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Id {
        Id::inline(text).unwrap_or_else(|| Id::Boxed(text.into()))
    }
}

impl From<String> for Id {
    fn from(text: String) -> Id {
        Id::inline(&text).unwrap_or_else(|| Id::Boxed(text.into()))
    }
}

impl Hash for Id {
    /// Hashes as `str` does, so that maps with ids as keys can be asked for a `&str`.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Id) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Bytes of randomness, and characters that they make in base64.
const RANDOM_BYTES: usize = 15;
const LEN: usize = RANDOM_BYTES / 3 * 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    // E003
    #[test]
    fn generated_ids_are_unique_and_have_20_characters_of_the_alphabet() {
        let ids: HashSet<SessionId> = (0..100_000).map(|_| SessionId::generate()).collect();
        assert_eq!(ids.len(), 100_000);
        for id in &ids {
            assert_eq!(id.as_str().len(), 20);
            assert!(
                id.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            );
        }
        let used: HashSet<u8> = ids.iter().flat_map(|id| id.as_bytes().to_vec()).collect();
        assert_eq!(used.len(), 64);
    }

    #[test]
    fn id_takes_24_bytes() {
        assert_eq!(size_of::<SocketId>(), 24);
        assert_eq!(size_of::<Option<SessionId>>(), 24);
    }

    #[test]
    fn any_text_survives() {
        // 20 bytes of ASCII, 20 bytes that are not ASCII, other lengths.
        for text in [
            "aaaaaaaaaabbbbbbbbbb",
            "éééééééééé",
            "",
            "a",
            "aaaaaaaaaabbbbbbbbbbc",
        ] {
            assert_eq!(SocketId::from(text).as_str(), text);
            assert_eq!(SocketId::from(text.to_owned()), SocketId::from(text));
            assert_eq!(SocketId::from(text), text);
            assert_eq!(SocketId::from(text).to_string(), text);
        }
        assert_ne!(SocketId::from("a"), SocketId::from("b"));
    }

    #[test]
    fn ids_are_ordered_as_their_texts() {
        let mut ids = ["b", "aaaaaaaaaabbbbbbbbbb", "", "éééééééééé"].map(SocketId::from);
        ids.sort();
        assert_eq!(
            ids,
            ["", "aaaaaaaaaabbbbbbbbbb", "b", "éééééééééé"].map(SocketId::from)
        );
    }

    #[test]
    fn maps_of_ids_can_be_asked_for_text() {
        let texts = ["aaaaaaaaaabbbbbbbbbb", "éééééééééé", "short"];
        let map: HashMap<SessionId, usize> =
            texts.map(SessionId::from).into_iter().zip(0..).collect();
        for (i, text) in texts.into_iter().enumerate() {
            assert_eq!(map.get(text), Some(&i));
        }
        assert_eq!(map.get("other"), None);
    }

    #[test]
    fn debug_hides_the_secret_of_a_session_only() {
        assert_eq!(format!("{:?}", SessionId::from("secret")), "SessionId(..)");
        assert_eq!(
            format!("{:?}", SocketId::from("public")),
            r#"SocketId("public")"#
        );
    }

    #[test]
    fn id_is_serialized_as_text() {
        assert_eq!(
            serde_json::to_string(&SocketId::from("abc")).unwrap(),
            r#""abc""#
        );
    }
}
