//! A client's offer of permessage-deflate and how it reads the answer. RFC 7692, sections 5 and 7.1.

use thiserror::Error;

use super::negotiation::{
    CLIENT_BITS, NAME, Negotiated, Parameters, SERVER_BITS, SERVER_NO_CONTEXT, split_unquoted,
};

/// What a client offers to do about compression.
///
/// The defaults are those of the reference's library: both ends may keep what they have seen of
/// earlier messages, and the server may ask for a smaller window. An end that keeps it has a
/// compressor (up to 371 KiB) and an inflater (47 KiB) for the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DeflateOffer {
    /// Whether the server must compress each message by itself. Default: false.
    ///
    /// If so, this end keeps no inflater, and messages that resemble those before are larger.
    #[doc(alias = "serverNoContextTakeover")]
    pub server_no_context_takeover: bool,
    /// Whether this end compresses each message by itself. Default: false.
    ///
    /// If so, it does, and keeps no compressor, whatever the server says. A server may ask for it
    /// without an offer.
    #[doc(alias = "clientNoContextTakeover")]
    pub client_no_context_takeover: bool,
    /// The largest window of the server's compressor, as a power of two, 8 to 15. Default: `None`,
    /// which leaves it to the server.
    ///
    /// A value outside is taken for the nearest one inside. It spares the server some memory, not
    /// this end. Many servers decline 8.
    #[doc(alias = "serverMaxWindowBits")]
    pub server_max_window_bits: Option<u8>,
    /// The largest window of this end's compressor, as a power of two, 8 to 15. Default: 15, of which
    /// the header gives no value.
    ///
    /// A value outside is taken for the nearest one inside. The server may ask for a smaller window;
    /// with `None` it may not, and the window is that of 15. Instead of 8 bits zlib uses 9, and not
    /// more of it than fits.
    #[doc(alias = "clientMaxWindowBits")]
    pub client_max_window_bits: Option<u8>,
}

impl Default for DeflateOffer {
    fn default() -> DeflateOffer {
        DeflateOffer {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: Some(LARGEST),
        }
    }
}

impl DeflateOffer {
    /// Gives the value of `Sec-WebSocket-Extensions` in the request.
    pub fn to_header(&self) -> String {
        let parameters = Parameters {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_limit(),
            client_max_window_bits: self
                .client_limit()
                .map(|bits| (bits < LARGEST).then_some(bits)),
        };
        parameters.to_string()
    }

    /// Reads `Sec-WebSocket-Extensions` of the response; several of them are one, joined by commas.
    /// `None` means that the connection goes without compression.
    ///
    /// # Errors
    ///
    /// When the answer is not one to this offer: the client then has to fail the connection.
    pub fn accept(&self, header: Option<&[u8]>) -> Result<Option<Negotiated>, ExtensionError> {
        let Some(header) = header else {
            return Ok(None);
        };
        let mut extensions = split_unquoted(header, b',');
        let (Some(answer), None) = (extensions.next(), extensions.next()) else {
            return Err(ExtensionError::NotOffered);
        };
        let name = split_unquoted(answer, b';').next();
        if name.map(<[u8]>::trim_ascii) != Some(NAME.as_bytes()) {
            return Err(ExtensionError::NotOffered);
        }
        let parameters = Parameters::parse(answer).ok_or(ExtensionError::Malformed)?;
        self.agree(&parameters).map(Some)
    }

    fn agree(&self, answer: &Parameters) -> Result<Negotiated, ExtensionError> {
        // What is asked of the server must be confirmed. RFC 7692, sections 7.1.1.1 and 7.1.2.1.
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(ExtensionError::Mismatch(SERVER_NO_CONTEXT));
        }
        let server_bits = answer.server_max_window_bits.unwrap_or(LARGEST);
        if server_bits > self.server_limit().unwrap_or(LARGEST) {
            return Err(ExtensionError::Mismatch(SERVER_BITS));
        }
        // What is said about this end is a hint, which the server may ignore and this end follows
        // all the same. RFC 7692, sections 7.1.1.2 and 7.1.2.2.
        let client_bits = match (answer.client_max_window_bits, self.client_limit()) {
            (None, limit) => limit.unwrap_or(LARGEST),
            (Some(Some(bits)), Some(limit)) if bits <= limit => bits,
            (Some(None), _) => return Err(ExtensionError::Malformed),
            (Some(Some(_)), _) => return Err(ExtensionError::Mismatch(CLIENT_BITS)),
        };
        Ok(Negotiated {
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || answer.client_no_context_takeover,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        })
    }

    fn server_limit(&self) -> Option<u8> {
        self.server_max_window_bits.map(clamped)
    }

    fn client_limit(&self) -> Option<u8> {
        self.client_max_window_bits.map(clamped)
    }
}

/// How an answer breaks the rules; the connection has to be failed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A parameter of permessage-deflate is unknown, invalid, there twice or for offers only.
    #[error("the answer has malformed parameters of permessage-deflate")]
    Malformed,
    /// A parameter of permessage-deflate is missing, too large or not allowed after this offer.
    ///
    /// The server cannot do what was asked for: another offer, or none, helps.
    #[error("{0} of the answer does not agree with the offer")]
    Mismatch(&'static str),
    /// There is an extension besides permessage-deflate or instead of it, or this was not offered.
    #[error("the answer has an extension that was not offered")]
    NotOffered,
}

fn clamped(bits: u8) -> u8 {
    bits.clamp(8, LARGEST)
}

/// The bits of the window of those who say nothing.
const LARGEST: u8 = 15;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::super::{Decoder, Item, Opcode, Role, compressed_header};
    use super::super::super::{header, masked_compressed_frame, masked_frame};
    use super::super::{DeflateConfig, Deflater, compress, negotiate};
    use super::*;

    fn accept(offer: &DeflateOffer, answer: &str) -> Result<Negotiated, ExtensionError> {
        let negotiated = offer.accept(Some(answer.as_bytes()))?;
        Ok(negotiated.expect("there is a header"))
    }

    fn negotiated(takeovers: [bool; 2], bits: [u8; 2]) -> Negotiated {
        Negotiated {
            server_no_context_takeover: !takeovers[0],
            client_no_context_takeover: !takeovers[1],
            server_max_window_bits: bits[0],
            client_max_window_bits: bits[1],
        }
    }

    /// An offer of everything.
    const FULL: DeflateOffer = DeflateOffer {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(10),
        client_max_window_bits: Some(11),
    };

    /// An offer without parameters.
    const BARE: DeflateOffer = DeflateOffer {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: None,
    };

    #[test]
    fn an_offer_names_what_differs_from_no_parameters() {
        assert_eq!(
            DeflateOffer::default().to_header(),
            "permessage-deflate; client_max_window_bits"
        );
        assert_eq!(BARE.to_header(), "permessage-deflate");
        assert_eq!(
            FULL.to_header(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11"
        );
        let out_of_range = DeflateOffer {
            server_max_window_bits: Some(16),
            client_max_window_bits: Some(0),
            ..BARE
        };
        assert_eq!(
            out_of_range.to_header(),
            "permessage-deflate; server_max_window_bits=15; client_max_window_bits=8"
        );
    }

    #[test]
    fn no_header_is_no_compression() {
        assert_eq!(FULL.accept(None), Ok(None));
    }

    #[test]
    fn answers_to_the_default_offer_are_understood() {
        let cases = [
            ("permessage-deflate", [true, true], [15, 15]),
            (
                "permessage-deflate; server_no_context_takeover",
                [false, true],
                [15, 15],
            ),
            (
                "permessage-deflate;client_no_context_takeover",
                [true, false],
                [15, 15],
            ),
            (
                " permessage-deflate ;\tserver_max_window_bits=8 ; client_max_window_bits=\"9\" ",
                [true, true],
                [8, 9],
            ),
        ];
        for (answer, takeovers, bits) in cases {
            let expected = negotiated(takeovers, bits);
            let agreed = accept(&DeflateOffer::default(), answer);
            assert_eq!(agreed, Ok(expected), "{answer}");
        }
    }

    #[test]
    fn malformed_answers_are_refused() {
        for parameters in [
            "",
            "unknown",
            "server_no_context_takeover=1",
            "client_no_context_takeover=\"\"",
            "Server_No_Context_Takeover",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=\"10",
            "server_max_window_bits=\"1\\0\"",
            "server_max_window_bits=10 11",
            "client_max_window_bits",
            "client_max_window_bits=",
            "client_max_window_bits=-9",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=10; client_max_window_bits=10",
            "server_max_window_bits=\"10, permessage-deflate",
        ] {
            let answer = format!("permessage-deflate; {parameters}");
            let agreed = accept(&DeflateOffer::default(), &answer);
            assert_eq!(agreed, Err(ExtensionError::Malformed), "{answer}");
        }
    }

    #[test]
    fn other_extensions_and_more_than_one_are_refused() {
        for answer in [
            "",
            ",",
            ";",
            "x-webkit-deflate-frame",
            "PERMESSAGE-DEFLATE",
            "permessage-bzip2; server_no_context_takeover",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, foo",
            "foo, permessage-deflate",
            "permessage-deflate,",
            "\"permessage-deflate\"",
            "permessage-deflate\0",
        ] {
            let agreed = accept(&DeflateOffer::default(), answer);
            assert_eq!(agreed, Err(ExtensionError::NotOffered), "{answer}");
        }
        let not_text = DeflateOffer::default().accept(Some(b"\xff\xfe"));
        assert_eq!(not_text, Err(ExtensionError::NotOffered));
    }

    #[test]
    fn what_is_asked_of_the_server_must_be_confirmed() {
        let cases = [
            (
                "permessage-deflate; server_max_window_bits=10",
                Err(ExtensionError::Mismatch("server_no_context_takeover")),
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                Err(ExtensionError::Mismatch("server_max_window_bits")),
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
                Err(ExtensionError::Mismatch("server_max_window_bits")),
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
                Ok(negotiated([false, false], [9, 11])),
            ),
        ];
        for (answer, expected) in cases {
            assert_eq!(accept(&FULL, answer), expected, "{answer}");
        }
    }

    #[test]
    fn this_end_s_window_is_only_set_within_the_offer() {
        let answer = |bits| format!("permessage-deflate; client_max_window_bits={bits}");
        let mismatch = Err(ExtensionError::Mismatch("client_max_window_bits"));
        let eleven = DeflateOffer {
            client_max_window_bits: Some(11),
            ..BARE
        };
        assert_eq!(accept(&BARE, &answer(15)), mismatch);
        assert_eq!(accept(&eleven, &answer(12)), mismatch);
        for bits in [8, 11] {
            let expected = negotiated([true, true], [15, bits]);
            assert_eq!(accept(&eleven, &answer(bits)), Ok(expected));
        }
        // The server need not repeat what this end wants of itself.
        let expected = negotiated([true, true], [15, 11]);
        assert_eq!(accept(&eleven, "permessage-deflate"), Ok(expected));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (error, text) in [
            (
                ExtensionError::Malformed,
                "the answer has malformed parameters of permessage-deflate",
            ),
            (
                ExtensionError::Mismatch("server_max_window_bits"),
                "server_max_window_bits of the answer does not agree with the offer",
            ),
            (
                ExtensionError::NotOffered,
                "the answer has an extension that was not offered",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    /// Every combination of what a client offers and a server wants that leads to an agreement:
    /// what the server and what the client understand.
    fn agreements() -> Vec<(Negotiated, Negotiated)> {
        let flags = || [false, true].into_iter();
        let mut agreements = Vec::new();
        for (offered_server, offered_client) in flags().flat_map(|a| flags().map(move |b| (a, b))) {
            for (wanted_server, wanted_client) in flags().flat_map(|a| flags().map(move |b| (a, b)))
            {
                for bits in [None, Some(8), Some(9), Some(10), Some(15)] {
                    for limit in [9, 12, 15] {
                        let offer = DeflateOffer {
                            server_no_context_takeover: offered_server,
                            client_no_context_takeover: offered_client,
                            server_max_window_bits: bits.filter(|&bits| bits > 8),
                            client_max_window_bits: bits,
                        };
                        let config = DeflateConfig {
                            server_no_context_takeover: wanted_server,
                            client_no_context_takeover: wanted_client,
                            server_max_window_bits: limit,
                            client_max_window_bits: limit,
                            ..DeflateConfig::default()
                        };
                        let offered = offer.to_header();
                        let offers = [offered.as_bytes()].into_iter();
                        if let Some((server, answer)) = negotiate(&config, offers) {
                            let client = accept(&offer, &answer).expect("an answer to the offer");
                            agreements.push((server, client));
                        }
                    }
                }
            }
        }
        agreements
    }

    #[test]
    fn both_ends_understand_the_same() {
        let agreements = agreements();
        // All but those whose client cannot be told the window that the server wants.
        assert_eq!(agreements.len(), 16 * (5 * 3 - 2));
        for (server, client) in agreements {
            assert_eq!(server, client);
        }
    }

    /// Messages that resemble each other, with repetitions near and far.
    fn messages() -> Vec<Vec<u8>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let alphabets = [2, 16, 256];
        let mut messages = vec![Vec::new()];
        for i in 0..24 {
            let length = (random() % 1500) as usize;
            let alphabet = alphabets[i % 3];
            let mut message: Vec<u8> = (0..length).map(|_| (random() % alphabet) as u8).collect();
            let earlier = &messages[random() as usize % messages.len()];
            message.extend_from_slice(earlier);
            messages.push(message);
        }
        messages
    }

    fn decoded(decoder: &mut Decoder, mut frame: Vec<u8>) -> Vec<u8> {
        let decoded = decoder
            .decode(&mut frame)
            .expect("valid")
            .expect("complete");
        match decoded.item {
            Item::Binary(bytes) => bytes.into_owned(),
            other => panic!("{other:?} was not sent"),
        }
    }

    #[test]
    fn what_one_end_compresses_the_other_inflates() {
        let messages = messages();
        let different: HashSet<_> = agreements().into_iter().collect();
        for (server, client) in different {
            let mut to_server = Deflater::new(Role::Client, &client, 6);
            let mut at_server = Decoder::with_deflate(Role::Server, 1 << 20, &server);
            let mut to_client = Deflater::new(Role::Server, &server, 6);
            let mut at_client = Decoder::with_deflate(Role::Client, 1 << 20, &client);
            for (i, message) in messages.iter().enumerate() {
                let (mut frame, mask) = (Vec::new(), [i as u8, 1, 2, 3]);
                match i % 5 {
                    4 => masked_frame(&mut frame, Opcode::Binary, message, mask),
                    _ => {
                        let compressed = to_server.compress(message);
                        masked_compressed_frame(&mut frame, Opcode::Binary, &compressed, mask);
                    }
                }
                assert_eq!(&decoded(&mut at_server, frame), message);

                let mut frame = Vec::new();
                let payload = match i % 5 {
                    3 => message.clone(),
                    4 => {
                        to_client.forget();
                        compress(message, &server, 6)
                    }
                    _ => to_client.compress(message),
                };
                match i % 5 {
                    3 => header(&mut frame, Opcode::Binary, payload.len()),
                    _ => compressed_header(&mut frame, Opcode::Binary, payload.len()),
                }
                frame.extend_from_slice(&payload);
                assert_eq!(&decoded(&mut at_client, frame), message);
            }
        }
    }

    #[test]
    fn a_client_keeps_to_its_own_window_and_not_to_the_server_s() {
        let payload: Vec<u8> = (0..600_u32).map(|i| (i * i / 7 + i * 31) as u8).collect();
        let twice_sent = |agreed: &Negotiated, role| {
            let mut deflater = Deflater::new(role, agreed, 6);
            [0, 1].map(|_| deflater.compress(&payload).len())
        };
        let answer = "permessage-deflate; client_max_window_bits=9";
        let narrow = accept(&DeflateOffer::default(), answer).unwrap();
        let [first, second] = twice_sent(&narrow, Role::Client);
        assert!(second > first / 2, "{first} {second}");
        let [first, second] = twice_sent(&narrow, Role::Server);
        assert!(second < first / 2, "{first} {second}");
    }

    #[test]
    fn a_server_s_window_of_eight_bits_does_no_harm() {
        let answer = "permessage-deflate; server_max_window_bits=8";
        let tiny = accept(&DeflateOffer::default(), answer).unwrap();
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(compress(b"Hello", &tiny, 6), hello);
        let compressed = Deflater::new(Role::Server, &tiny, 6).compress(b"Hello");
        assert_eq!(compressed, hello);
    }
}
