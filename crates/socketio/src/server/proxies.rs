//! Proxies in front: whose word is taken for the client's address.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use super::config::ConfigError;

/// The header in which proxies say whose request they pass on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded`, as in RFC 7239, with its `for` and `proto`.
    Forwarded,
}

/// Networks, and single addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    pub(crate) fn parse<'a>(
        networks: impl IntoIterator<Item = &'a str>,
    ) -> Result<Networks, ConfigError> {
        let parse = |text: &str| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address
                .or_else(|_| text.parse())
                .map_err(|_| ConfigError::Proxy(text.to_owned()))
        };
        let networks = networks.into_iter().map(parse);
        Ok(Networks(networks.collect::<Result<_, _>>()?))
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Networks whose word is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies {
    networks: Networks,
    header: ForwardedHeader,
}

impl TrustedProxies {
    pub(crate) fn parse(
        networks: &[String],
        header: ForwardedHeader,
    ) -> Result<TrustedProxies, ConfigError> {
        let networks = Networks::parse(networks.iter().map(String::as_str))?;
        Ok(TrustedProxies { networks, header })
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contains(address)
    }

    /// The client's address, and whether it speaks TLS, as the peer says if that is a trusted proxy.
    pub(crate) fn client(
        &self,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
    ) -> (Option<SocketAddr>, Option<bool>) {
        let Some(peer) = peer.filter(|peer| self.trusts(peer.ip())) else {
            return (peer, None);
        };
        let is_https = |protocol: &[u8]| protocol.eq_ignore_ascii_case(b"https");
        let (name, mut secure) = match self.header {
            ForwardedHeader::XForwardedFor => {
                let protocol = headers.get("x-forwarded-proto");
                let secure = protocol.map(|protocol| is_https(protocol.as_bytes()));
                ("x-forwarded-for", secure)
            }
            ForwardedHeader::Forwarded => ("forwarded", None),
        };
        // Each proxy appends who has called it: from the right, the first that is none of ours. What
        // stands left of it, or of what is no address, anybody may have written.
        let mut client = peer;
        let lines = headers.get_all(name).iter().rev();
        for hop in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            let address = match self.header {
                ForwardedHeader::XForwardedFor => hop_address(hop),
                ForwardedHeader::Forwarded => forwarded(hop).map(|(address, protocol)| {
                    secure = protocol.map(is_https).or(secure);
                    address
                }),
            };
            let Some(address) = address else { break };
            client = address;
            if !self.trusts(address.ip()) {
                break;
            }
        }
        (Some(client), secure)
    }
}

/// Reads an address with or without a port; brackets are for IPv6 with one.
fn hop_address(hop: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(hop.trim_ascii()).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, 0)),
        Err(_) => text.parse().ok(),
    }
}

/// Reads the address and the protocol of one element of `Forwarded`.
///
/// Elements are split at each comma. Of a quoted text with a comma the right part has a quote too many
/// and is refused here, so that nobody's host name passes for an element.
///
/// Spec: RFC 7239, sections 4 and 6.
fn forwarded(element: &[u8]) -> Option<(SocketAddr, Option<&[u8]>)> {
    let (mut address, mut protocol) = (None, None);
    for pair in element.split(|byte| *byte == b';') {
        let pair = pair.trim_ascii();
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        let value = &value[1..];
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        let value = quoted.unwrap_or(value);
        if value.iter().any(|byte| matches!(byte, b'"' | b'\\')) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") {
            if address.is_some() {
                return None;
            }
            address = Some(hop_address(value)?);
        } else if name.eq_ignore_ascii_case(b"proto") {
            protocol = Some(value);
        }
    }
    Some((address?, protocol))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let networks = ["10.0.0.0/8".to_owned(), "::1".to_owned()];
        let proxies = TrustedProxies::parse(&networks, ForwardedHeader::default()).unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 7);
        proxies.client(Some(peer), &headers).0.unwrap().to_string()
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
        assert_eq!(client("10.1.1.1", &["1.2.3.4"]), "1.2.3.4:0");
        assert_eq!(
            client("10.1.1.1", &["6.6.6.6, 1.2.3.4, 10.2.2.2"]),
            "1.2.3.4:0"
        );
        assert_eq!(client("10.1.1.1", &["6.6.6.6", "1.2.3.4:99"]), "1.2.3.4:99");
        assert_eq!(client("::1", &["[2001:db8::1]:5"]), "[2001:db8::1]:5");
        assert_eq!(
            client("::ffff:10.1.1.1", &["2001:db8::1"]),
            "[2001:db8::1]:0"
        );
        assert_eq!(client("10.1.1.1", &["10.9.9.9"]), "10.9.9.9:0");
        assert_eq!(client("10.1.1.1", &["1.2.3.4, unknown"]), "10.1.1.1:7");
        assert_eq!(client("10.1.1.1", &[]), "10.1.1.1:7");
    }

    #[test]
    fn the_word_of_others_counts_for_nothing() {
        assert_eq!(client("1.1.1.1", &["1.2.3.4"]), "1.1.1.1:7");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = TrustedProxies::parse(&["10.0.0.0/33".to_owned()], ForwardedHeader::default())
            .unwrap_err();
        assert!(error.to_string().contains("\"10.0.0.0/33\""), "{error}");
    }

    /// A generator that gives the same numbers in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % n as u64) as usize
        }

        fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
            &of[self.below(of.len())]
        }
    }

    const OURS: &[&str] = &[
        "10.0.0.1",
        "10.255.9.9",
        "::1",
        "fd00::7",
        "::ffff:10.1.1.1",
    ];
    const OTHERS: &[&str] = &["1.2.3.4", "11.0.0.1", "2001:db8::1", "::ffff:1.2.3.4"];
    const NO_ADDRESS: &[&[u8]] = &[
        b"",
        b" ",
        b"unknown",
        b"_hidden",
        b"caf\xe9",
        b"\xff",
        b"1.2.3.4\xff",
        b"1.2.3",
        b"1.2.3.4:99999",
        b"1.2.3.4:_port",
        b"[::1",
        b"::1]",
        b"[::1]:x",
        b"fe80::1%eth0",
        b"\"1.2.3.4",
        b"for",
        b"1.2.3.4 6.6.6.6",
    ];

    /// An address as the header has it, and as it is to be understood.
    fn written(numbers: &mut Numbers, header: ForwardedHeader, ip: IpAddr) -> (Vec<u8>, String) {
        let port = *numbers.one(&[0, 1, 65535]);
        let is_bare = port == 0;
        let text = match (ip, is_bare) {
            (IpAddr::V6(_), true) => match header {
                ForwardedHeader::XForwardedFor if numbers.below(2) == 0 => ip.to_string(),
                _ => format!("[{ip}]"),
            },
            (_, true) => ip.to_string(),
            (_, false) => SocketAddr::new(ip, port).to_string(),
        };
        let text = match header {
            ForwardedHeader::XForwardedFor => text,
            ForwardedHeader::Forwarded => match numbers.below(3) {
                0 => format!("for=\"{text}\""),
                1 => format!("proto=http;For=\"{text}\";host=\"a.b:1\""),
                _ => format!("by=_us; FOR={text}"),
            },
        };
        (text.into_bytes(), SocketAddr::new(ip, port).to_string())
    }

    #[test]
    fn chains_of_all_kinds_end_at_the_last_good_hop() {
        let networks = ["10.0.0.0/8", "::1", "fd00::/8"].map(str::to_owned);
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        for round in 0..20_000 {
            let header =
                *numbers.one(&[ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded]);
            let (name, other) = match header {
                ForwardedHeader::XForwardedFor => ("x-forwarded-for", "forwarded"),
                ForwardedHeader::Forwarded => ("forwarded", "x-forwarded-for"),
            };
            let proxies = TrustedProxies::parse(&networks, header).unwrap();
            let mut expected = "10.0.0.9:7".to_owned();
            let mut is_over = false;
            // From the right to the left, as the search goes.
            let mut hops = Vec::new();
            for _ in 0..numbers.below(6) {
                let kind = numbers.below(4);
                if kind == 0 {
                    hops.push(numbers.one(NO_ADDRESS).to_vec());
                    is_over = true;
                    continue;
                }
                let of = if kind == 1 { OTHERS } else { OURS };
                let ip = numbers.one(of).parse().unwrap();
                let (hop, address) = written(&mut numbers, header, ip);
                hops.push(hop);
                if !is_over {
                    expected = address;
                }
                is_over |= kind == 1;
            }
            let mut lines = vec![Vec::new()];
            for (i, hop) in hops.iter().rev().enumerate() {
                match numbers.below(3) {
                    0 if i > 0 => lines.push(hop.clone()),
                    more => {
                        let line = lines.last_mut().unwrap();
                        if i > 0 {
                            line.extend_from_slice([&b","[..], b", ", b" ,\t"][more]);
                        }
                        line.extend_from_slice(hop);
                    }
                }
            }
            let mut headers = HeaderMap::new();
            headers.append(other, HeaderValue::from_static("for=6.6.6.6"));
            headers.append(other, HeaderValue::from_static("6.6.6.6"));
            for line in &lines {
                headers.append(name, HeaderValue::from_bytes(line).unwrap());
            }
            let peer = "10.0.0.9:7".parse().unwrap();
            let client = proxies.client(Some(peer), &headers).0.unwrap();
            assert_eq!(client.to_string(), expected, "round {round}: {headers:?}");
        }
    }

    #[test]
    fn quoted_text_is_no_element_and_the_protocol_is_that_of_the_client_s_hop() {
        let networks = ["10.0.0.0/8".to_owned()];
        let proxies = TrustedProxies::parse(&networks, ForwardedHeader::Forwarded).unwrap();
        for (value, client, secure) in [
            (
                "for=1.2.3.4;proto=https, for=10.1.1.1;proto=http",
                "1.2.3.4:0",
                Some(true),
            ),
            (
                "for=1.2.3.4;proto=HTTPS, for=10.1.1.1",
                "1.2.3.4:0",
                Some(true),
            ),
            (
                "for=6.6.6.6;proto=https, for=1.2.3.4;proto=http",
                "1.2.3.4:0",
                Some(false),
            ),
            ("for=\", for=1.2.3.4", "1.2.3.4:0", None),
            ("for=1.2.3.4;host=\"x, for=6.6.6.6\"", "10.0.0.9:7", None),
            ("for=1.2.3.4;host=\"x, for=6.6.6.6;a=\"", "10.0.0.9:7", None),
            (
                "for=1.2.3.4;host=\"x, for=6.6.6.6;a=\\\"\"",
                "10.0.0.9:7",
                None,
            ),
            ("for=1.2.3.4;host=\"x;for=6.6.6.6\"", "10.0.0.9:7", None),
            ("for=1.2.3.4;for=6.6.6.6", "10.0.0.9:7", None),
            ("host=a", "10.0.0.9:7", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("forwarded", HeaderValue::from_static(value));
            headers.append("x-forwarded-proto", HeaderValue::from_static("https"));
            let peer = "10.0.0.9:7".parse().unwrap();
            let told = proxies.client(Some(peer), &headers);
            assert_eq!(told, (Some(client.parse().unwrap()), secure), "{value}");
        }
    }
}
