//! Proxies: HTTP ones by CONNECT, since a WebSocket needs a tunnel, and SOCKS 5.
//!
//! Which proxy a target needs is the business of hyper-util's `Matcher`. Its handshakes are not
//! used: they do not tell why a proxy refused, and resolve names on the runtime's thread.

use std::env;
use std::fmt;
use std::sync::atomic::Ordering;

use http::{HeaderValue, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::no_proxy::NoProxy;
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
pub(super) struct Proxies {
    matcher: Option<Matcher>,
    /// Hosts that need none.
    direct: NoProxy,
    /// Variables whose values are no proxy's URL, with these; [`UNUSABLE`] stands for them.
    unusable: Vec<(&'static str, String)>,
}

/// The proxy for one target.
#[derive(Debug)]
pub(super) enum Proxy {
    Usable(Intercept),
    /// What the environment names is none: its variable and value.
    Unusable(&'static str, String),
}

/// Why there is no tunnel.
enum Failure {
    Other(String),
    /// The proxy has answered so.
    Refused(u16, String),
}

/// How a proxy is asked for the resources of a target, instead of for a tunnel to it: squid allows
/// tunnels to port 443 only.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    /// What the proxy alone is told.
    pub(crate) authorization: Option<HeaderValue>,
    /// Its URL, without credentials.
    proxy: String,
}

impl Forwarding {
    /// Names the proxy as what has not answered.
    pub(crate) fn failed(&self, what: &dyn fmt::Display) -> DialError {
        DialError::Proxy {
            proxy: self.proxy.clone(),
            what: format!("it refuses tunnels, and what it is to forward: {what}"),
        }
    }
}

/// The host that stands for what a variable should name, and its place among those that do not.
const UNUSABLE: &str = "unusable-proxy.invalid";

impl From<String> for Failure {
    fn from(what: String) -> Failure {
        Failure::Other(what)
    }
}

impl Failure {
    fn into_text(self) -> String {
        match self {
            Failure::Other(what) => what,
            Failure::Refused(_, what) => format!("the proxy refused: {what}"),
        }
    }
}

impl Proxies {
    pub(super) fn new(choice: &ProxyChoice) -> Result<Proxies, TlsError> {
        match choice {
            ProxyChoice::None => Ok(Proxies::none()),
            ProxyChoice::Environment => Ok(Proxies::from_variables(|name| env::var(name).ok())),
            ProxyChoice::Url(url) if is_usable(url) => Ok(Proxies {
                matcher: Some(Matcher::builder().all(url.as_str()).build()),
                ..Proxies::none()
            }),
            ProxyChoice::Url(url) => Err(TlsError::Proxy(without_credentials(url).to_owned())),
        }
    }

    fn none() -> Proxies {
        Proxies {
            matcher: None,
            direct: NoProxy::default(),
            unusable: Vec::new(),
        }
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Proxies {
        // A CGI script's HTTP_PROXY is a header of whoever has sent the request: CVE-2016-5385.
        if variable("REQUEST_METHOD").is_some() {
            return Proxies::none();
        }
        let first = |names: [&'static str; 2]| {
            let value = |name| variable(name).filter(|value| !value.is_empty());
            names
                .into_iter()
                .find_map(|name| Some((name, value(name)?)))
        };
        let mut unusable = Vec::new();
        let mut proxy = |names: [&'static str; 2]| {
            let Some((name, url)) = first(names) else {
                return String::new();
            };
            if is_usable(&url) {
                return url;
            }
            // An error where it would be used: what was to go through a proxy must not go without.
            unusable.push((name, without_credentials(&url).to_owned()));
            format!("http://{UNUSABLE}:{}", unusable.len())
        };
        // As for curl, Python and JavaScript's clients, the name in small letters goes first.
        let matcher = Matcher::builder()
            .all(proxy(["all_proxy", "ALL_PROXY"]))
            .http(proxy(["http_proxy", "HTTP_PROXY"]))
            .https(proxy(["https_proxy", "HTTPS_PROXY"]))
            .build();
        let direct = first(["no_proxy", "NO_PROXY"]);
        Proxies {
            matcher: Some(matcher),
            direct: direct.map_or_else(NoProxy::default, |(_, hosts)| NoProxy::parse(&hosts)),
            unusable,
        }
    }

    pub(super) fn of(&self, target: &Target) -> Option<Proxy> {
        let matcher = self.matcher.as_ref()?;
        if self.direct.contains(target) {
            return None;
        }
        // With the dot at its end, a name is the same.
        let host = target.host.trim_end_matches('.');
        let uri = Uri::builder()
            .scheme(if target.is_tls { "https" } else { "http" })
            .authority(authority(host, target.port))
            .path_and_query("/");
        let proxy = matcher.intercept(&uri.build().ok()?)?;
        if proxy.uri().host() == Some(UNUSABLE) {
            let at = usize::from(proxy.uri().port_u16()?) - 1;
            let (variable, url) = self.unusable.get(at)?;
            return Some(Proxy::Unusable(variable, url.clone()));
        }
        Some(Proxy::Usable(proxy))
    }
}

impl Proxy {
    /// Connects to a target through the proxy; may end with a connection to the proxy itself, which
    /// is to forward requests.
    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
        target: &Target,
        may_forward: bool,
    ) -> Result<(Stream, Option<Forwarding>), DialError> {
        let failed = |what| DialError::Proxy {
            proxy: self.url(),
            what,
        };
        let connecting = async {
            match self {
                Proxy::Unusable(variable, _) => Err(failed(format!(
                    "what {variable} says is no URL of a proxy: it has to begin with http://, https://, socks5:// or socks5h://, and its port, if there is one, to be a number from 1 to 65535"
                ))),
                Proxy::Usable(proxy) => match self.scheme() {
                    "http" | "https" => self.tunnel(proxy, dialer, target, may_forward).await,
                    "socks5" | "socks5h" => self.socks(dialer, target).await?.map(|s| (s, None)),
                    other => Err(format!("its kind, {other}, is not supported")),
                }
                .map_err(failed),
            }
        };
        match dialer.0.proxy_patience {
            None => connecting.await,
            Some(patience) => match timeout(patience, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(failed(format!(
                    "it has not connected to {} within {patience:?}",
                    authority(&target.host, target.port)
                ))),
            },
        }
    }

    async fn tunnel(
        &self,
        proxy: &Intercept,
        dialer: &Dialer,
        target: &Target,
        may_forward: bool,
    ) -> Result<(Stream, Option<Forwarding>), String> {
        if may_forward && dialer.0.forwards.load(Ordering::Relaxed) {
            return Ok((self.reach(dialer).await?, self.forwarding()));
        }
        let mut stream = self.reach(dialer).await?;
        let authority = authority(&target.host, target.port);
        match connect(&mut stream, &authority, proxy.basic_auth()).await {
            Ok(()) => Ok((stream, None)),
            Err(Failure::Refused(403 | 405, _)) if may_forward => {
                dialer.0.forwards.store(true, Ordering::Relaxed);
                Ok((self.reach(dialer).await?, self.forwarding()))
            }
            Err(failure) => Err(failure.into_text()),
        }
    }

    /// What requests have that the proxy forwards.
    pub(super) fn forwarding(&self) -> Option<Forwarding> {
        match self {
            Proxy::Usable(proxy) => Some(Forwarding {
                authorization: proxy.basic_auth().cloned(),
                proxy: self.url(),
            }),
            Proxy::Unusable(..) => None,
        }
    }

    /// Connects to an HTTP proxy, by TLS if its URL says so.
    async fn reach(&self, dialer: &Dialer) -> Result<Stream, String> {
        let (is_tls, port) = match self.scheme() {
            "https" => (true, 443),
            _ => (false, 80),
        };
        let stream = self.open(dialer, port).await?;
        if !is_tls {
            return Ok(stream);
        }
        let encrypted = dialer.0.tls.wrap(self.host(), stream, true).await;
        encrypted.map_err(|unwrapped| unwrapped.error.to_string())
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
        let credentials = match self {
            Proxy::Usable(proxy) => proxy.raw_auth(),
            Proxy::Unusable(..) => None,
        };
        let mut refused = "the host has no addresses".to_owned();
        for host in hosts {
            let mut stream = self.open(dialer, 1080).await?;
            match socks::connect(&mut stream, host, port, credentials).await {
                Ok(()) => return Ok(stream),
                Err(error @ SocksError::Refused(_)) => refused = error.to_string(),
                Err(error @ SocksError::Failed(_)) => return Err(error.to_string()),
            }
        }
        Err(refused)
    }

    /// Connects to the proxy itself.
    async fn open(&self, dialer: &Dialer, default_port: u16) -> Result<Stream, String> {
        let port = self.uri().and_then(Uri::port_u16).unwrap_or(default_port);
        match dialer.tcp(self.host(), port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Without credentials.
    pub(super) fn url(&self) -> String {
        match self {
            Proxy::Usable(proxy) => proxy.uri().to_string().trim_end_matches('/').to_owned(),
            Proxy::Unusable(_, url) => url.clone(),
        }
    }

    fn uri(&self) -> Option<&Uri> {
        match self {
            Proxy::Usable(proxy) => Some(proxy.uri()),
            Proxy::Unusable(..) => None,
        }
    }

    fn host(&self) -> &str {
        let host = self.uri().and_then(Uri::host).unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    fn scheme(&self) -> &str {
        self.uri().and_then(Uri::scheme_str).unwrap_or_default()
    }
}

/// Asks an HTTP proxy for a tunnel.
///
/// Spec: RFC 9110, section 9.3.6.
async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), Failure> {
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
        return Err(Failure::Refused(head.status, refusal));
    }
    // A server of HTTP or TLS does not speak first: this is a body that must not be there.
    match exchange.into_parts() {
        (_, rest) if rest.is_empty() => Ok(()),
        _ => Err("it sent more than the head of its answer".to_owned().into()),
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
        matches!(scheme, Some("http" | "https" | "socks5" | "socks5h")) && has_port(proxy.uri())
    })
}

/// Says whether what stands in the place of a port, if anything does, is one.
fn has_port(proxy: &Uri) -> bool {
    let authority = proxy.authority().map_or("", |authority| authority.as_str());
    let host = without_credentials(authority);
    let port = host.rsplit_once(':').map(|(_, port)| port);
    port.is_none_or(|port| port.ends_with(']') || port.parse::<u16>().is_ok_and(|port| port > 0))
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
