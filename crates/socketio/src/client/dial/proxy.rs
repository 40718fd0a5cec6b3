//! Proxies: HTTP ones by CONNECT, since a WebSocket needs a tunnel, and SOCKS 5.
//!
//! Which proxy a target needs is the business of hyper-util's `Matcher`. Its handshakes are not
//! used: they do not tell why a proxy refused, and resolve names on the runtime's thread.

use std::env;
use std::fmt;

use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncWrite};

use super::socks::{self, SocksError};
use super::tls::TlsError;
use super::{DialError, Dialer, Stream, Target, authority, resolve};
use crate::client::http::{Exchange, HttpError};

/// Which proxy is used.
#[derive(Clone, Default)]
pub(crate) enum ProxyChoice {
    /// What HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say.
    #[default]
    Environment,
    None,
    Url(String),
}

/// Which proxy each target needs.
pub(super) struct Proxies(Option<Matcher>);

/// The proxy for one target.
pub(super) struct Proxy(Intercept);

impl Proxies {
    pub(super) fn new(choice: &ProxyChoice) -> Result<Proxies, TlsError> {
        match choice {
            ProxyChoice::None => Ok(Proxies(None)),
            ProxyChoice::Environment => Ok(Proxies::from_variables(|name| env::var(name).ok())),
            ProxyChoice::Url(url) if is_usable(url) => {
                Ok(Proxies(Some(Matcher::builder().all(url.as_str()).build())))
            }
            ProxyChoice::Url(url) => Err(TlsError::Proxy(without_credentials(url).to_owned())),
        }
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        // A CGI script's HTTP_PROXY is a header of whoever has sent the request: CVE-2016-5385.
        if variable("REQUEST_METHOD").is_some() {
            return Proxies(None);
        }
        let first = |names: [&str; 2]| {
            let value = |name| variable(name).filter(|value| !value.is_empty());
            names.into_iter().find_map(value).unwrap_or_default()
        };
        let proxy = |names: [&str; 2]| {
            let url = first(names);
            if !url.is_empty() && !is_usable(&url) {
                let url = without_credentials(&url);
                tracing::warn!(
                    variable = names[0],
                    url,
                    "this is no proxy that can be used"
                );
            }
            url
        };
        let matcher = Matcher::builder()
            .all(proxy(["ALL_PROXY", "all_proxy"]))
            .http(proxy(["HTTP_PROXY", "http_proxy"]))
            .https(proxy(["HTTPS_PROXY", "https_proxy"]))
            .no(first(["NO_PROXY", "no_proxy"]));
        Proxies(Some(matcher.build()))
    }

    pub(super) fn of(&self, target: &Target) -> Option<Proxy> {
        let matcher = self.0.as_ref()?;
        let uri = Uri::builder()
            .scheme(if target.is_tls { "https" } else { "http" })
            .authority(authority(&target.host, target.port))
            .path_and_query("/");
        matcher.intercept(&uri.build().ok()?).map(Proxy)
    }
}

impl Proxy {
    /// Connects to a target through the proxy.
    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
        target: &Target,
    ) -> Result<Stream, DialError> {
        let connected = match self.scheme() {
            "http" | "https" => self.tunnel(dialer, target).await,
            "socks5" | "socks5h" => self.socks(dialer, target).await?,
            other => Err(format!("its kind, {other}, is not supported")),
        };
        connected.map_err(|what| DialError::Proxy {
            proxy: self.url(),
            what,
        })
    }

    async fn tunnel(&self, dialer: &Dialer, target: &Target) -> Result<Stream, String> {
        let (is_tls, port) = match self.scheme() {
            "https" => (true, 443),
            _ => (false, 80),
        };
        let mut stream = self.open(dialer, port).await?;
        if is_tls {
            let encrypted = dialer.0.tls.wrap(self.host(), stream, true).await;
            stream = encrypted.map_err(|unwrapped| unwrapped.error.to_string())?;
        }
        let authority = authority(&target.host, target.port);
        connect(&mut stream, &authority, self.0.basic_auth()).await?;
        Ok(stream)
    }

    /// Here, a target's name may be what cannot be resolved: then the proxy is not to blame.
    async fn socks(
        &self,
        dialer: &Dialer,
        target: &Target,
    ) -> Result<Result<Stream, String>, DialError> {
        let mut hosts = vec![target.host.clone()];
        if self.scheme() == "socks5" {
            let addresses = resolve(&target.host, target.port).await?;
            hosts = addresses.iter().map(|a| a.ip().to_string()).collect();
        }
        Ok(self.socks_to(dialer, &hosts, target.port).await)
    }

    /// Asks for one host after the other, until the proxy connects to one.
    pub(super) async fn socks_to(
        &self,
        dialer: &Dialer,
        hosts: &[String],
        port: u16,
    ) -> Result<Stream, String> {
        let mut refused = "the host has no addresses".to_owned();
        for host in hosts {
            let mut stream = self.open(dialer, 1080).await?;
            match socks::connect(&mut stream, host, port, self.0.raw_auth()).await {
                Ok(()) => return Ok(stream),
                Err(error @ SocksError::Refused(_)) => refused = error.to_string(),
                Err(error @ SocksError::Failed(_)) => return Err(error.to_string()),
            }
        }
        Err(refused)
    }

    /// Connects to the proxy itself.
    async fn open(&self, dialer: &Dialer, default_port: u16) -> Result<Stream, String> {
        let port = self.0.uri().port_u16().unwrap_or(default_port);
        match dialer.tcp(self.host(), port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Without credentials.
    pub(super) fn url(&self) -> String {
        let url = self.0.uri().to_string();
        url.trim_end_matches('/').to_owned()
    }

    fn host(&self) -> &str {
        let host = self.0.uri().host().unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    fn scheme(&self) -> &str {
        self.0.uri().scheme_str().unwrap_or_default()
    }
}

/// Asks an HTTP proxy for a tunnel.
///
/// Spec: RFC 9110, section 9.3.6.
async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), String> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let mut exchange = Exchange::new(stream, request);
    let head = exchange.head().await.map_err(|error| match error {
        HttpError::Closed => "it closed the connection without an answer".to_owned(),
        HttpError::NotHttp(begin) => format!("its answer is not HTTP: it begins with {begin}"),
        HttpError::Head(error) => format!("the head of its answer cannot be used: {error}"),
        error => error.to_string(),
    })?;
    if !(200..300).contains(&head.status) {
        // Its body, a page most of the time, is not waited for.
        let refusal = refusal(head.status, &head.reason);
        return Err(format!("the proxy refused: {refusal}"));
    }
    // A server of HTTP or TLS does not speak first: this is a body that must not be there.
    match exchange.into_parts() {
        (_, rest) if rest.is_empty() => Ok(()),
        _ => Err("it sent more than the head of its answer".to_owned()),
    }
}

/// `407 Proxy Authentication Required`.
fn refusal(code: u16, reason: &str) -> String {
    let usual = StatusCode::from_u16(code).ok();
    let usual = usual.and_then(|status| status.canonical_reason());
    match Some(reason).filter(|reason| !reason.is_empty()).or(usual) {
        Some(reason) => format!("{code} {reason}"),
        None => code.to_string(),
    }
}

/// Says whether a URL is that of a proxy of a kind known here.
fn is_usable(url: &str) -> bool {
    if is_cut_short(url) {
        return false;
    }
    let any = Uri::from_static("http://example.com");
    let proxy = Matcher::builder().all(url).build().intercept(&any);
    proxy.is_some_and(|proxy| {
        let scheme = proxy.uri().scheme_str();
        matches!(scheme, Some("http" | "https" | "socks5" | "socks5h"))
    })
}

/// Says whether an `@` follows what begins a path, a query or a fragment: a password with such a
/// character, a part of which would be taken for the proxy's port and be shown in errors.
fn is_cut_short(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let cut = rest.split_once(['/', '?', '#']);
    cut.is_some_and(|(_, rest)| rest.contains('@'))
}

fn without_credentials(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

/// Without what may be a password.
impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyChoice::Environment => f.write_str("Environment"),
            ProxyChoice::None => f.write_str("None"),
            ProxyChoice::Url(url) => f
                .debug_tuple("Url")
                .field(&without_credentials(url))
                .finish(),
        }
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies(..)")
    }
}
