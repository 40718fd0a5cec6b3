//! Whom the load is for: servers of one's own without further ado, others only with their owner's leave.

use std::io::{BufRead, IsTerminal, Write};
use std::net::{IpAddr, Ipv6Addr};

use super::args::BenchArgs;

/// Refuses an address outside of private networks, unless the user says that this is meant.
pub(crate) async fn allow(options: &BenchArgs) -> Result<(), String> {
    if options.yes_i_may {
        return Ok(());
    }
    let Some(warning) = warning(options).await? else {
        return Ok(());
    };
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(format!("{warning} If you may, say so with --yes-i-may."));
    }
    match confirmed(&warning) {
        true => Ok(()),
        false => Err("nothing was sent".to_owned()),
    }
}

/// What is to be said of an address outside of private networks.
async fn warning(options: &BenchArgs) -> Result<Option<String>, String> {
    let (host, port) = host_and_port(&options.url)?;
    let addresses = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(|error| format!("the address of {host} is not known: {error}"))?;
    let far = addresses
        .map(|address| address.ip())
        .find(|address| !is_near(*address));
    Ok(far.map(|address| {
        let count = options.connections;
        let named = match address.to_string() == host {
            true => String::new(),
            false => format!(" ({address})"),
        };
        format!(
            "{host}{named} is neither this machine nor in a private network. \
             {count} connections are a load that only its owner can agree to."
        )
    }))
}

fn confirmed(warning: &str) -> bool {
    eprint!("{warning}\nMay you do this? [y/N] ");
    let mut answer = String::new();
    let asked = std::io::stderr().flush().is_ok();
    let answered = std::io::stdin().lock().read_line(&mut answer).is_ok();
    asked && answered && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// The host and the port of a URL, for their address.
fn host_and_port(url: &str) -> Result<(String, u16), String> {
    let unfit =
        || format!("{url:?} is no address of a server; expected one such as http://localhost:3000");
    // Others may read these in another way than is done here.
    if url.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err(unfit());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let standard = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => return Err(unfit()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(unfit)?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| unfit())?,
        None => standard,
    };
    match host.is_empty() {
        true => Err(unfit()),
        false => Ok((host.to_owned(), port)),
    }
}

/// Says whether an address is this machine's or of a private network.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                // RFC 6598: shared within a provider's network or an overlay.
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address == Ipv6Addr::UNSPECIFIED
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn options(words: &[&str]) -> BenchArgs {
        Words::parse_from(["bench"].iter().chain(words)).bench
    }

    #[test]
    fn hosts_are_found_in_urls() {
        for (url, host, port) in [
            ("http://localhost:3000", "localhost", 3000),
            ("localhost:3000/chat?a=b:c", "localhost", 3000),
            ("https://example.com/a", "example.com", 443),
            ("ws://example.com?x=http://127.0.0.1", "example.com", 80),
            ("http://127.0.0.1@example.com", "example.com", 80),
            ("http://[::1]:8080/", "::1", 8080),
        ] {
            assert_eq!(host_and_port(url), Ok((host.to_owned(), port)), "{url}");
        }
        for url in [
            "",
            "ftp://x",
            "http://",
            "http://x:y",
            "http://[::1",
            "http://a\\@b",
        ] {
            assert!(host_and_port(url).is_err(), "{url}");
        }
    }

    #[test]
    fn near_is_this_machine_and_private_networks() {
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().expect("an address")), "{near}");
        }
        for far in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_near(far.parse().expect("an address")), "{far}");
        }
    }

    #[tokio::test]
    async fn public_addresses_are_refused_unless_the_user_may() {
        let warning = warning(&options(&["http://8.8.8.8"])).await;
        let text = warning.expect("an address").expect("a warning");
        assert!(
            text.starts_with("8.8.8.8 is neither this machine nor"),
            "{text}"
        );
        let allowed = allow(&options(&["http://8.8.8.8", "--yes-i-may"])).await;
        assert_eq!(allowed, Ok(()));
        assert_eq!(allow(&options(&["http://127.0.0.1:1"])).await, Ok(()));
    }
}
