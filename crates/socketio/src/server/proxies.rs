//! Proxies in front: whose word is taken for the client's address.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use super::config::ConfigError;

/// The networks of proxies that are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn parse(networks: &[String]) -> Result<TrustedProxies, ConfigError> {
        let parse = |text: &String| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            address
                .or_else(|_| text.parse())
                .map_err(|_| ConfigError::Proxy(text.clone()))
        };
        networks
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(TrustedProxies)
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
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
        let protocol = headers
            .get("x-forwarded-proto")
            .map(|value| value.as_bytes());
        let secure = protocol.map(|protocol| protocol.eq_ignore_ascii_case(b"https"));
        // Each proxy appends who has called it: from the right, the first that is none of ours.
        let mut client = peer;
        let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let hops = values.iter().rev().filter_map(|value| value.to_str().ok());
        for hop in hops.flat_map(|value| value.rsplit(',')) {
            let Some(address) = hop_address(hop.trim()) else {
                break;
            };
            client = address;
            if !self.trusts(address.ip()) {
                break;
            }
        }
        (Some(client), secure)
    }
}

/// Reads an address with or without a port; brackets are for IPv6 with one.
fn hop_address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, 0)),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let networks = ["10.0.0.0/8".to_owned(), "::1".to_owned()];
        let proxies = TrustedProxies::parse(&networks).unwrap();
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
        let error = TrustedProxies::parse(&["10.0.0.0/33".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("\"10.0.0.0/33\""), "{error}");
    }
}
