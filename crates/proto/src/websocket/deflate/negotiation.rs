//! The parameters of permessage-deflate and how both ends agree on them. RFC 7692, sections 5 and 7.1.

use std::fmt;
use std::mem;
use std::ops::RangeInclusive;

use super::super::decode::Role;

pub(super) const NAME: &str = "permessage-deflate";
pub(super) const CLIENT_BITS: &str = "client_max_window_bits";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";
pub(super) const SERVER_BITS: &str = "server_max_window_bits";
pub(super) const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";

/// What zlib can compress with; the specification also knows 8.
const WINDOW_BITS: RangeInclusive<u8> = 9..=15;

/// What a server offers to do about compression.
///
/// The defaults keep no state between the messages of a connection. Each thread that compresses
/// has one compressor (371 KiB), each that inflates one inflater (47 KiB), whatever the number of
/// connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// Whether the server compresses each message by itself. Default: true.
    ///
    /// If not, messages that resemble those before become smaller, often by half, and each
    /// connection that has been sent a compressed message keeps a compressor: 248,960 bytes and
    /// four times the window (380,032 bytes at 15 bits). A broadcast is compressed for each
    /// connection or makes it forget what it has learnt. A client that asks for no context takeover
    /// gets its way.
    #[doc(alias = "serverNoContextTakeover")]
    pub server_no_context_takeover: bool,
    /// Whether clients must compress each message by itself. Default: true.
    ///
    /// If not, each connection that has sent a compressed message keeps an inflater of 47,552 bytes.
    #[doc(alias = "clientNoContextTakeover")]
    pub client_no_context_takeover: bool,
    /// The largest window of the server's compressor, as a power of two, 9 to 15. Default: 15.
    ///
    /// A value outside is taken for the nearest one inside. A smaller window finds fewer repetitions
    /// and saves four times its size of the compressor's memory: 12 bits save 112 KiB. A client can
    /// ask for less, but not for 8, which zlib cannot do.
    #[doc(alias = "serverMaxWindowBits")]
    pub server_max_window_bits: u8,
    /// The largest window of clients' compressors, as a power of two, 9 to 15. Default: 15.
    ///
    /// A value outside is taken for the nearest one inside. A smaller window spares the client some
    /// memory, not the server: its inflater has a window of 32,768 bytes in any case. Clients that
    /// cannot be told get no compression if this is below 15.
    #[doc(alias = "clientMaxWindowBits")]
    pub client_max_window_bits: u8,
    /// How hard the compressor tries, 0 (not at all) to 9; more is taken for 9. Default: 6.
    ///
    /// A higher level makes messages a little smaller and takes more time. It does not change the
    /// memory.
    pub level: u32,
}

impl Default for DeflateConfig {
    fn default() -> DeflateConfig {
        DeflateConfig {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: *WINDOW_BITS.end(),
            client_max_window_bits: *WINDOW_BITS.end(),
            level: 6,
        }
    }
}

/// What both ends of a connection have agreed on.
///
/// What the server sends depends on its own two parameters only, so that connections that agree in
/// these can share a compressed frame, see [`compress`](super::compress).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Negotiated {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: u8,
    pub(super) client_max_window_bits: u8,
}

impl Negotiated {
    /// Says whether the server compresses each message by itself.
    pub fn server_no_context_takeover(&self) -> bool {
        self.server_no_context_takeover
    }

    /// Says whether the client compresses each message by itself.
    pub fn client_no_context_takeover(&self) -> bool {
        self.client_no_context_takeover
    }

    /// Returns the server's largest window as a power of two: 9 to 15, or 8 as well if a server that
    /// is not this one has said so.
    pub fn server_max_window_bits(&self) -> u8 {
        self.server_max_window_bits
    }

    /// Returns the client's largest window as a power of two, 8 to 15.
    pub fn client_max_window_bits(&self) -> u8 {
        self.client_max_window_bits
    }

    /// Says whether what this end sends refers to earlier messages, and the bits of its window.
    pub(super) fn sending(&self, role: Role) -> (bool, u8) {
        let (no_context_takeover, max_window_bits) = match role {
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
        };
        // zlib never refers to the last 262 bytes of its window, so that one of 9 bits reaches no
        // further back than 250 bytes, which is within one of 8.
        let window_bits = max_window_bits.max(*WINDOW_BITS.start());
        (!no_context_takeover, window_bits)
    }

    /// Says whether what this end receives refers to earlier messages.
    pub(super) fn receives_context(&self, role: Role) -> bool {
        match role {
            Role::Client => !self.server_no_context_takeover,
            Role::Server => !self.client_no_context_takeover,
        }
    }
}

/// Takes the first acceptable of the client's offers, from the values of all its
/// `Sec-WebSocket-Extensions` headers, and gives that of the answer.
///
/// An offer with a parameter that is unknown, invalid or there twice is passed over. `None` means
/// that the connection goes without compression, and that the answer says nothing.
pub fn negotiate<'a>(
    config: &DeflateConfig,
    header_values: impl Iterator<Item = &'a [u8]>,
) -> Option<(Negotiated, String)> {
    header_values
        .flat_map(|value| split_unquoted(value, b','))
        .find_map(|offer| Parameters::parse(offer)?.accept(config))
}

/// What is said about the extension, in an offer or in an answer.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) server_no_context_takeover: bool,
    pub(super) client_no_context_takeover: bool,
    pub(super) server_max_window_bits: Option<u8>,
    /// Without a value, which is for offers only, it says that the client can be told one.
    pub(super) client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` means another extension, or a parameter that is unknown, invalid or there twice.
    pub(super) fn parse(text: &[u8]) -> Option<Parameters> {
        let mut parts = split_unquoted(text, b';').map(<[u8]>::trim_ascii);
        if parts.next()? != NAME.as_bytes() {
            return None;
        }
        let mut parsed = Parameters::default();
        for part in parts {
            let (name, value) = match memchr::memchr(b'=', part) {
                Some(at) => (&part[..at], Some(window_bits(&part[at + 1..])?)),
                None => (part, None),
            };
            let is_first = match (std::str::from_utf8(name).ok()?, value) {
                (SERVER_NO_CONTEXT, None) => {
                    !mem::replace(&mut parsed.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT, None) => {
                    !mem::replace(&mut parsed.client_no_context_takeover, true)
                }
                (SERVER_BITS, Some(bits)) => parsed.server_max_window_bits.replace(bits).is_none(),
                (CLIENT_BITS, bits) => parsed.client_max_window_bits.replace(bits).is_none(),
                _ => false,
            };
            if !is_first {
                return None;
            }
        }
        Some(parsed)
    }

    fn accept(&self, config: &DeflateConfig) -> Option<(Negotiated, String)> {
        let (lowest, highest) = WINDOW_BITS.into_inner();
        let server_limit = config.server_max_window_bits.clamp(lowest, highest);
        let client_limit = config.client_max_window_bits.clamp(lowest, highest);
        // What is asked for is confirmed, what is wanted here is announced.
        let server_bits = match self.server_max_window_bits {
            Some(offered) if offered < lowest => return None,
            Some(offered) => Some(offered.min(server_limit)),
            None if server_limit < highest => Some(server_limit),
            None => None,
        };
        let client_bits = match self.client_max_window_bits {
            Some(Some(offered)) => Some(offered.min(client_limit)),
            Some(None) if client_limit < highest => Some(client_limit),
            None if client_limit < highest => return None,
            Some(None) | None => None,
        };
        let negotiated = Negotiated {
            server_no_context_takeover: config.server_no_context_takeover
                || self.server_no_context_takeover,
            client_no_context_takeover: config.client_no_context_takeover
                || self.client_no_context_takeover,
            server_max_window_bits: server_bits.unwrap_or(highest),
            client_max_window_bits: client_bits.unwrap_or(highest),
        };
        let answer = Parameters {
            server_no_context_takeover: negotiated.server_no_context_takeover,
            client_no_context_takeover: negotiated.client_no_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits.map(Some),
        };
        Some((negotiated, answer.to_string()))
    }
}

/// Writes the name of the extension and the parameters as the headers have them.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        for (name, is_on) in [
            (SERVER_NO_CONTEXT, self.server_no_context_takeover),
            (CLIENT_NO_CONTEXT, self.client_no_context_takeover),
        ] {
            if is_on {
                write!(f, "; {name}")?;
            }
        }
        for (name, bits) in [
            (SERVER_BITS, self.server_max_window_bits.map(Some)),
            (CLIENT_BITS, self.client_max_window_bits),
        ] {
            match bits {
                Some(Some(bits)) => write!(f, "; {name}={bits}")?,
                Some(None) => write!(f, "; {name}")?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Reads the only kind of value there is: 8 to 15, with or without quotes. Nothing in it needs a
/// backslash, so that a value with one is invalid.
fn window_bits(value: &[u8]) -> Option<u8> {
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        bare => bare,
    };
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Splits where the separator is not inside quotes.
pub(super) fn split_unquoted(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    bytes.split(move |&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        byte == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(config: &DeflateConfig, headers: &[&str]) -> Option<String> {
        let values = headers.iter().map(|value| value.as_bytes());
        negotiate(config, values).map(|(_, answer)| answer)
    }

    /// A server that lets everything be kept.
    fn keeping() -> DeflateConfig {
        DeflateConfig {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            ..DeflateConfig::default()
        }
    }

    // E064.
    #[test]
    fn offers_get_their_answers() {
        let cases = [
            // Each parameter.
            ("permessage-deflate", Some("")),
            (
                "permessage-deflate; server_no_context_takeover",
                Some("; server_no_context_takeover"),
            ),
            (
                "permessage-deflate; client_no_context_takeover",
                Some("; client_no_context_takeover"),
            ),
            (
                "permessage-deflate; server_max_window_bits=10",
                Some("; server_max_window_bits=10"),
            ),
            ("permessage-deflate; client_max_window_bits", Some("")),
            (
                "permessage-deflate; client_max_window_bits=8",
                Some("; client_max_window_bits=8"),
            ),
            (
                "permessage-deflate ;\tserver_max_window_bits=\"15\" ; client_max_window_bits=\"9\"",
                Some("; server_max_window_bits=15; client_max_window_bits=9"),
            ),
            // Invalid ones.
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=010", None),
            ("permessage-deflate; server_max_window_bits=", None),
            ("permessage-deflate; server_max_window_bits=\"", None),
            ("permessage-deflate; server_max_window_bits= 10", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits=x", None),
            ("permessage-deflate; server_no_context_takeover=10", None),
            ("permessage-deflate; client_no_context_takeover=true", None),
            ("permessage-deflate; server_max_bits=10", None),
            ("permessage-deflate; unknown", None),
            ("permessage-deflate; unknown=\"a,permessage-deflate\"", None),
            ("permessage-deflate;", None),
            ("PERMESSAGE-DEFLATE", None),
            ("x-webkit-deflate-frame", None),
            ("", None),
            // Twice the same.
            (
                "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
                None,
            ),
            (
                "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
                None,
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                None,
            ),
            (
                "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
                None,
            ),
            // The first acceptable one of several.
            (
                "permessage-deflate; server_max_window_bits=8, x; y=\"\\\",\", \
                 permessage-deflate; server_max_window_bits=9, permessage-deflate",
                Some("; server_max_window_bits=9"),
            ),
        ];
        for (offer, expected) in cases {
            let expected = expected.map(|parameters| format!("permessage-deflate{parameters}"));
            assert_eq!(answer(&keeping(), &[offer]), expected, "{offer}");
        }
    }

    #[test]
    fn the_default_keeps_no_context_whatever_is_offered() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
        ] {
            let (negotiated, answer) =
                negotiate(&DeflateConfig::default(), [offer.as_bytes()].into_iter())
                    .expect("acceptable");
            assert_eq!(
                answer,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            );
            let expected = Negotiated {
                server_no_context_takeover: true,
                client_no_context_takeover: true,
                server_max_window_bits: 15,
                client_max_window_bits: 15,
            };
            assert_eq!(negotiated, expected);
        }
    }

    #[test]
    fn offers_in_several_headers_are_taken_in_order() {
        let headers = [
            "foo, permessage-deflate; bar",
            "permessage-deflate; server_max_window_bits=11",
            "permessage-deflate",
        ];
        assert_eq!(
            answer(&keeping(), &headers).as_deref(),
            Some("permessage-deflate; server_max_window_bits=11")
        );
    }

    #[test]
    fn the_smaller_window_is_taken() {
        let config = DeflateConfig {
            server_max_window_bits: 12,
            client_max_window_bits: 11,
            ..keeping()
        };
        for (offer, expected) in [
            ("permessage-deflate", None),
            ("permessage-deflate; client_max_window_bits", Some((12, 11))),
            (
                "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10",
                Some((10, 9)),
            ),
            (
                "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15",
                Some((12, 11)),
            ),
        ] {
            let expected = expected.map(|(server, client)| {
                format!(
                    "permessage-deflate; server_max_window_bits={server}; \
                     client_max_window_bits={client}"
                )
            });
            assert_eq!(answer(&config, &[offer]), expected, "{offer}");
        }
    }

    #[test]
    fn a_window_out_of_range_in_the_settings_is_the_nearest_one() {
        let config = DeflateConfig {
            server_max_window_bits: 8,
            client_max_window_bits: 200,
            ..keeping()
        };
        assert_eq!(
            answer(&config, &["permessage-deflate"]).as_deref(),
            Some("permessage-deflate; server_max_window_bits=9")
        );
    }

    #[test]
    fn what_was_agreed_on_is_small() {
        assert_eq!(size_of::<Negotiated>(), 4);
    }
}
