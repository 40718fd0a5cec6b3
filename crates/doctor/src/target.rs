//! Where the patient is: what the URL and the options say about it.

use url::Url;

/// A URL as `io()` takes it, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The name or address that is dialled.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of the header `Host`.
    pub(super) authority: String,
    pub(super) is_tls: bool,
    /// The path of the URL, which is a namespace, if there is one.
    pub(super) url_path: Option<String>,
    pub(super) namespace: String,
    /// The path of the requests.
    pub(super) path: String,
    /// The URL's query, which goes with each request.
    pub(super) query: Option<String>,
}

impl Target {
    /// Takes a URL apart; the error says what is wrong with it.
    pub(super) fn parse(text: &str, path: &str, namespace: Option<&str>) -> Result<Target, String> {
        if !text.contains("://") {
            return Err("it has no scheme: begin it with http:// or https://".to_owned());
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_tls = match url.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err("its scheme is none of http, https, ws and wss".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "a name and password in the URL are not sent: use --header 'Authorization: ..'"
                    .to_owned(),
            );
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("it has no host")?;
        let url_path = Some(url.path()).filter(|path| !matches!(*path, "" | "/"));
        let given = namespace.or(url_path).unwrap_or("/");
        // As the client does, unless `addTrailingSlash` is off.
        let path = match path.trim_matches('/') {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        if path.contains(|c: char| c.is_control() || c.is_whitespace() || c == '?' || c == '#') {
            return Err("--path has a character that no path has".to_owned());
        }
        Ok(Target {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            authority: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            is_tls,
            url_path: url_path.map(str::to_owned),
            namespace: format!("/{}", percent_decoded(given).trim_start_matches('/')),
            path,
            query: url
                .query()
                .filter(|query| !query.is_empty())
                .map(str::to_owned),
        })
    }

    /// The scheme and host of the requests, which is also the origin of a page of this server.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }

    /// The target of a request on a path of the server.
    pub(super) fn on(&self, path: &str, parameters: &str) -> String {
        match &self.query {
            Some(query) => format!("{path}?{query}&{parameters}"),
            None => format!("{path}?{parameters}"),
        }
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

    #[test]
    fn the_path_of_the_url_is_the_namespace() {
        let target = Target::parse("wss://a.example/chat?x=1", "api/socket.io", None).unwrap();
        assert_eq!(target.namespace, "/chat");
        assert_eq!(
            target.on(&target.path, "EIO=4"),
            "/api/socket.io/?x=1&EIO=4"
        );
        assert_eq!(target.origin(), "https://a.example");
        assert_eq!((target.port, &*target.authority), (443, "a.example"));
        let target = Target::parse("http://[::1]:3000/a", "/socket.io/", Some("b")).unwrap();
        assert_eq!((&*target.host, &*target.authority), ("::1", "[::1]:3000"));
        assert_eq!(target.namespace, "/b");
    }

    #[test]
    fn what_cannot_be_a_url_is_told() {
        let wrong = |url| Target::parse(url, "/socket.io/", None).unwrap_err();
        assert!(wrong("localhost:3000").contains("scheme"));
        assert!(wrong("ftp://a").contains("http"));
        assert!(wrong("http://u:p@a").contains("Authorization"));
        assert!(Target::parse("http://a", "/a b", None).is_err());
    }
}
