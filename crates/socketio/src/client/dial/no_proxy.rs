//! Which hosts need no proxy: the value of NO_PROXY, in the forms that curl, Go and JavaScript's clients
//! know.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Target;

/// The hosts that need no proxy.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// For this port alone.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    /// Names that end so.
    EndingWith(String),
    Net(IpNet),
    /// A name, and all below it.
    Under(String),
}

impl NoProxy {
    pub(super) fn parse(value: &str) -> NoProxy {
        let entries = value.split(|c: char| c == ',' || c.is_whitespace());
        NoProxy(entries.filter_map(Entry::parse).collect())
    }

    pub(super) fn contains(&self, target: &Target) -> bool {
        let host = plain(&target.host);
        let address: Option<IpAddr> = host.parse().ok();
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|port| port == target.port)
                && entry.hosts.contains(&host, address)
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Entry> {
        if let Some(hosts) = Hosts::parse(text) {
            return Some(Entry { hosts, port: None });
        }
        let (host, port) = text.rsplit_once(':')?;
        Some(Entry {
            hosts: Hosts::parse(host)?,
            port: Some(port.parse().ok()?),
        })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Hosts> {
        let text = plain(text);
        if text == "*" {
            return Some(Hosts::All);
        }
        let address = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let address = address.unwrap_or(&text);
        if let Ok(net) = address.parse() {
            return Some(Hosts::Net(net));
        }
        if let Ok(address) = address.parse::<IpAddr>() {
            return Some(Hosts::Net(address.into()));
        }
        // Names have no colon: what follows it is a port.
        if text.contains(':') {
            return None;
        }
        let below = text.strip_prefix('*').unwrap_or(&text);
        match below.strip_prefix('.').unwrap_or(below) {
            "" => None,
            name if text.starts_with('*') && !below.starts_with('.') => {
                Some(Hosts::EndingWith(name.to_owned()))
            }
            name => Some(Hosts::Under(name.to_owned())),
        }
    }

    fn contains(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Hosts::All => true,
            Hosts::Net(net) => address.is_some_and(|address| net.contains(&address)),
            // The end of an address is no domain.
            Hosts::EndingWith(_) | Hosts::Under(_) if address.is_some() => false,
            Hosts::EndingWith(end) => host.ends_with(end.as_str()),
            Hosts::Under(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        }
    }
}

/// A host as it is compared: with the dot at its end, a name is the same.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(value: &str, host: &str) -> bool {
        let target = Target {
            host: host.to_owned(),
            port: 3000,
            is_tls: false,
        };
        NoProxy::parse(value).contains(&target)
    }

    #[test]
    fn all_forms_are_known() {
        for (value, host) in [
            ("*", "a.test"),
            ("*", "10.0.0.1"),
            ("*", "::1"),
            ("*.", "a.test"),
            ("b.test,*", "a.test"),
            ("a.test", "a.test"),
            ("a.test", "A.test."),
            ("A.TEST.", "a.test"),
            ("test", "a.test"),
            (".test", "a.test"),
            ("*.test", "a.test"),
            ("*test", "atest"),
            ("a.test:3000", "a.test"),
            (".test:3000", "a.test"),
            ("*:3000", "a.test"),
            ("b.test a.test", "a.test"),
            (" b.test ,\ta.test ", "a.test"),
            (",,a.test,", "a.test"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1:3000", "10.0.0.1"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[::1]:3000", "::1"),
            ("0:0::1", "::1"),
            ("fd00::/8", "fd12::1"),
        ] {
            assert!(is_direct(value, host), "{value:?} and {host}");
        }
    }

    #[test]
    fn nothing_else_is_meant() {
        for (value, host) in [
            ("", "a.test"),
            (",", "a.test"),
            (".", "a.test"),
            ("*.0.1", "10.0.0.1"),
            ("a.test", "ba.test"),
            ("a.test", "test"),
            ("*.test", "atest"),
            ("a.test:3001", "a.test"),
            ("a.test:", "a.test"),
            ("a.test:x", "a.test"),
            ("a.test:99999", "a.test"),
            ("10.0.0.1", "10.0.0.10"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.*", "10.0.0.1"),
            ("0.1", "10.0.0.1"),
            ("[::1]:3001", "::1"),
            ("http://a.test", "a.test"),
        ] {
            assert!(!is_direct(value, host), "{value:?} and {host}");
        }
    }
}
