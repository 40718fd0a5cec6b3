//! Proxies: HTTP ones by CONNECT, since a WebSocket needs a tunnel, and SOCKS 5.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::tls::TlsError;
use super::{DialError, Dialer, Stream, Target};

/// Which proxy is used.
#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyChoice {
    /// What HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say.
    #[default]
    Environment,
    None,
    Url(String),
}

pub(super) struct Proxies(Option<Matcher>);

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies(..)")
    }
}

/// The proxy for one target.
pub(super) struct Proxy(Intercept);

impl Proxies {
    pub(super) fn new(choice: &ProxyChoice) -> Result<Proxies, TlsError> {
        Ok(Proxies(match choice {
            ProxyChoice::None => None,
            ProxyChoice::Environment => Some(Matcher::from_env()),
            ProxyChoice::Url(url) => {
                let matcher = Matcher::builder().all(url.as_str()).build();
                let any = Uri::from_static("http://example.com");
                let proxy = matcher.intercept(&any).map(Proxy);
                if !proxy.is_some_and(|proxy| proxy.is_supported()) {
                    // Without what may be a password.
                    let shown = url.rsplit_once('@').map_or(&**url, |(_, host)| host);
                    return Err(TlsError::Proxy(shown.to_owned()));
                }
                Some(matcher)
            }
        }))
    }

    pub(super) fn of(&self, target: &Target) -> Option<Proxy> {
        let uri = uri(if target.is_tls { "https" } else { "http" }, target)?;
        self.0.as_ref()?.intercept(&uri).map(Proxy)
    }
}

fn uri(scheme: &str, target: &Target) -> Option<Uri> {
    let authority = match target.host.contains(':') {
        true => format!("[{}]:{}", target.host, target.port),
        false => format!("{}:{}", target.host, target.port),
    };
    let uri = Uri::builder().scheme(scheme).authority(authority);
    uri.path_and_query("/").build().ok()
}

impl Proxy {
    fn scheme(&self) -> &str {
        self.0.uri().scheme_str().unwrap_or_default()
    }

    fn is_supported(&self) -> bool {
        matches!(self.scheme(), "http" | "socks5" | "socks5h")
    }

    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
        target: &Target,
    ) -> Result<Stream, DialError> {
        let proxy = self.0.uri();
        let failed = |what: String| DialError::Proxy {
            proxy: proxy.to_string(),
            what,
        };
        let destination =
            uri("https", target).ok_or_else(|| failed(format!("{} is no host", target.host)))?;
        let tcp = Tcp(dialer.clone());
        let stream = match self.scheme() {
            "http" => {
                let mut tunnel = Tunnel::new(proxy.clone(), tcp);
                if let Some(auth) = self.0.basic_auth() {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let connected = tunnel.call(destination).await;
                connected.map_err(|error| failed(chain(&error)))?
            }
            "socks5" | "socks5h" => {
                let mut socks =
                    SocksV5::new(proxy.clone(), tcp).local_dns(self.scheme() == "socks5");
                if let Some((user, password)) = self.0.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                let connected = socks.call(destination).await;
                connected.map_err(|error| failed(chain(&error)))?
            }
            other => return Err(failed(format!("its kind, {other}, is not supported"))),
        };
        Ok(stream.into_inner())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Connects to the proxy itself.
#[derive(Clone)]
struct Tcp(Dialer);

impl Service<Uri> for Tcp {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move {
            let host = proxy.host().unwrap_or_default().trim_matches(['[', ']']);
            let default = if proxy.scheme_str() == Some("http") {
                80
            } else {
                1080
            };
            let stream = dialer
                .tcp(host, proxy.port_u16().unwrap_or(default))
                .await?;
            Ok(TokioIo::new(Box::new(stream) as Stream))
        })
    }
}
