//! What a cluster's secret is good for: ids that name their server, and requests that prove who
//! forwards them.
//!
//! An id is 15 random bytes and, encrypted and authenticated under a key that those make its own, the
//! server's address. So nobody learns the address from an id, nobody can make one that leads a server
//! elsewhere, and it is as hard to guess as any other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256, Tag};

use crate::id::SessionId;

/// The keys that are made of a secret, one for each use.
pub(crate) struct Keys {
    ids: hmac::Key,
    requests: hmac::Key,
    answers: hmac::Key,
}

/// As many random bytes as other ids have.
const RANDOM_BYTES: usize = 15;
/// An id of the longest address is shorter than this.
const MAX_ID: usize = 512;

impl Keys {
    pub(crate) fn new(secret: &[u8]) -> Keys {
        let root = hmac::Key::new(HMAC_SHA256, secret);
        let key = |purpose: &str| {
            let key = hmac::sign(&root, purpose.as_bytes());
            hmac::Key::new(HMAC_SHA256, key.as_ref())
        };
        Keys {
            ids: key("socketio session id"),
            requests: key("socketio forwarded request"),
            answers: key("socketio forwarded answer"),
        }
    }

    /// Makes an id that names a server.
    pub(crate) fn seal(&self, server: &str) -> SessionId {
        let random: [u8; RANDOM_BYTES] = rand::random();
        let mut sealed = server.as_bytes().to_vec();
        self.id_key(&random)
            .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
            .expect("an address is short");
        let id = [&random[..], &sealed].concat();
        SessionId::from(URL_SAFE_NO_PAD.encode(id))
    }

    /// Gives the server that an id names; `None` if the id was not made with this secret.
    pub(crate) fn open(&self, id: &str) -> Option<String> {
        if id.len() > MAX_ID {
            return None;
        }
        let id = URL_SAFE_NO_PAD.decode(id).ok()?;
        let (random, sealed) = id.split_at_checked(RANDOM_BYTES)?;
        let mut sealed = sealed.to_vec();
        let server = self
            .id_key(random)
            .open_in_place(nonce(), Aad::empty(), &mut sealed)
            .ok()?;
        str::from_utf8(server).map(str::to_owned).ok()
    }

    fn id_key(&self, random: &[u8]) -> LessSafeKey {
        let key = hmac::sign(&self.ids, random);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref());
        LessSafeKey::new(key.expect("both have 32 bytes"))
    }

    /// Proves that a server of the cluster forwards this request, and has it from this client.
    ///
    /// The id in the target makes it good for one session only, so there is nothing to gain from
    /// sending it again.
    pub(crate) fn prove(&self, method: &str, target: &str, client: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.request_tag(method, target, client))
    }

    /// Says whether such a proof holds.
    pub(crate) fn holds(&self, proof: &str, method: &str, target: &str, client: &str) -> bool {
        let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else {
            return false;
        };
        let request = request(method, target, client);
        hmac::verify(&self.requests, &request, &proof).is_ok()
    }

    fn request_tag(&self, method: &str, target: &str, client: &str) -> Tag {
        hmac::sign(&self.requests, &request(method, target, client))
    }

    /// Proves that a server of the cluster answers the request with this proof.
    pub(crate) fn prove_answer(&self, proof: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.answers, proof.as_bytes()))
    }

    /// Says whether an answer is one of the cluster's.
    pub(crate) fn answer_holds(&self, answer: &[u8], proof: &str) -> bool {
        let Ok(answer) = URL_SAFE_NO_PAD.decode(answer) else {
            return false;
        };
        hmac::verify(&self.answers, proof.as_bytes(), &answer).is_ok()
    }
}

/// The random bytes make a key of their own for each id, so the nonce may be the same for all.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// What is proved. No line break can stand in any of the three.
fn request(method: &str, target: &str, client: &str) -> Vec<u8> {
    [method, target, client].join("\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";

    #[test]
    fn an_id_names_its_server_to_those_who_know_the_secret_only() {
        let keys = Keys::new(SECRET);
        let id = keys.seal("10.0.0.5:3000");
        assert_eq!(keys.open(id.as_str()).as_deref(), Some("10.0.0.5:3000"));
        assert_eq!(Keys::new(b"another").open(id.as_str()), None);
        let is_url_safe = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        assert!(id.as_str().bytes().all(is_url_safe));
        let bytes = URL_SAFE_NO_PAD.decode(id.as_str()).unwrap();
        assert!(!bytes.windows(4).any(|w| w == b"10.0"));
    }

    #[test]
    fn an_id_that_was_changed_anywhere_names_nobody() {
        let keys = Keys::new(SECRET);
        let id = URL_SAFE_NO_PAD.decode(keys.seal("a:1").as_str()).unwrap();
        for at in 0..id.len() {
            let mut forged = id.clone();
            forged[at] ^= 1;
            assert_eq!(keys.open(&URL_SAFE_NO_PAD.encode(forged)), None, "{at}");
        }
        for end in 0..id.len() {
            assert_eq!(keys.open(&URL_SAFE_NO_PAD.encode(&id[..end])), None);
        }
        for text in ["", "!", "aaaaaaaaaaaaaaaaaaaa", &"a".repeat(100_000)] {
            assert_eq!(keys.open(text), None);
        }
    }

    #[test]
    fn ids_of_one_server_have_nothing_in_common() {
        let keys = Keys::new(SECRET);
        let ids: Vec<_> = (0..1000).map(|_| keys.seal("10.0.0.5:3000")).collect();
        for at in [0, 19, 30, 50] {
            let chars: HashSet<u8> = ids.iter().map(|id| id.as_bytes()[at]).collect();
            assert!(chars.len() > 50, "{} at {at}", chars.len());
        }
    }

    #[test]
    fn a_proof_holds_for_one_request_only() {
        let keys = Keys::new(SECRET);
        let proof = keys.prove("GET", "/?sid=a", "1.2.3.4:5");
        assert!(keys.holds(&proof, "GET", "/?sid=a", "1.2.3.4:5"));
        assert!(!keys.holds(&proof, "POST", "/?sid=a", "1.2.3.4:5"));
        assert!(!keys.holds(&proof, "GET", "/?sid=b", "1.2.3.4:5"));
        assert!(!keys.holds(&proof, "GET", "/?sid=a", "1.2.3.4:6"));
        assert!(!Keys::new(b"another").holds(&proof, "GET", "/?sid=a", "1.2.3.4:5"));
        assert!(!keys.holds("", "GET", "/?sid=a", "1.2.3.4:5"));
        let answer = keys.prove_answer(&proof);
        assert!(keys.answer_holds(answer.as_bytes(), &proof));
        assert!(!keys.answer_holds(proof.as_bytes(), &proof));
        assert!(!keys.answer_holds(b"", &proof));
    }
}
