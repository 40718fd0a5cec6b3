//! Where a client connects: what a URL says about it.

use url::Url;

use super::dial::Target;
use super::error::BuildError;

/// A URL, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) target: Target,
    /// The value of the header `Host`.
    pub(crate) host: Box<str>,
    /// The URL's path: the namespace.
    pub(crate) namespace: String,
    /// The URL's query, without `?`.
    pub(crate) query: Option<String>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Address, BuildError> {
        let wrong = |reason: &str| BuildError::Url {
            url: text.to_owned(),
            reason: reason.to_owned(),
        };
        if !text.contains("://") {
            return Err(wrong("it has no scheme: begin it with http:// or https://"));
        }
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let is_tls = match url.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(wrong("its scheme is none of http, https, ws and wss")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "a name and password in the URL are not sent: set the header Authorization instead",
            ));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| wrong("it has no host"))?;
        let port = url.port().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Address {
            host: match url.port() {
                Some(port) => format!("{host}:{port}").into(),
                None => host.into(),
            },
            target: Target {
                host: host.trim_matches(['[', ']']).to_owned(),
                port,
                is_tls,
            },
            // As the reference: the path as it was written, without an end of its own for `/`.
            namespace: match url.path() {
                "" => "/".to_owned(),
                path => percent_decoded(path),
            },
            query: url
                .query()
                .filter(|query| !query.is_empty())
                .map(str::to_owned),
        })
    }

    /// The scheme and host of polling requests.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.target.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host)
    }
}

/// Undoes what `Url` has encoded: a namespace is text.
fn percent_decoded(path: &str) -> String {
    let pair = format!("x={}", path.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    decoded.map_or_else(|| path.to_owned(), |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // C007, M35: the path of the URL is the namespace, not the path of the requests.
    #[test]
    fn the_parts_of_a_url_have_their_meanings() {
        let address = Address::parse("https://example.com/my-custom-path/?token=1").expect("valid");
        assert_eq!(address.namespace, "/my-custom-path/");
        assert_eq!(address.query.as_deref(), Some("token=1"));
        assert_eq!(address.origin(), "https://example.com");
        assert_eq!((address.target.port, address.target.is_tls), (443, true));
        let address = Address::parse("ws://127.0.0.1:3000").expect("valid");
        assert_eq!((&*address.namespace, address.query.as_deref()), ("/", None));
        assert_eq!(address.origin(), "http://127.0.0.1:3000");
        let address = Address::parse("http://[::1]:3000/a b+ü").expect("valid");
        assert_eq!(
            (&*address.target.host, &*address.host),
            ("::1", "[::1]:3000")
        );
        assert_eq!(address.namespace, "/a b+ü");
        assert_eq!(
            Address::parse("http://a:80/").expect("valid").origin(),
            "http://a"
        );
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named() {
        for (url, reason) in [
            (
                "localhost:3000",
                "it has no scheme: begin it with http:// or https://",
            ),
            ("ftp://a", "its scheme is none of http, https, ws and wss"),
            ("http://", "empty host"),
            ("http://a:99999", "invalid port number"),
        ] {
            let error = Address::parse(url).expect_err("wrong").to_string();
            assert_eq!(error, format!("the URL \"{url}\" cannot be used: {reason}"));
        }
        assert!(Address::parse("http://user:secret@a").is_err());
    }
}
