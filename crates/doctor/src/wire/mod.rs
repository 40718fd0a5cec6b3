//! Requests and WebSockets as a browser makes them, each with all that was seen of it.
//!
//! This is not the client library, which hides what a diagnosis needs: the answer's raw head and
//! body, whether the connection was closed without a byte, what came instead of HTTP.
//! Each request has a TCP connection of its own, unless it is made on a [`Line`].

mod dial;
mod http;
mod tls;
mod websocket;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::budget::Budget;
use super::options::{Cookie, Header, Options};
use super::target::Target;

pub(super) use dial::TcpFault;
pub(crate) use http::read_answer;
pub(super) use http::{Answer, Fault};
pub(super) use tls::{CertificateFault, Tls, TlsFault, TlsSeen};
pub(super) use websocket::{Direction, Frame, Message, Transcript, WebSocket};

/// What all requests have in common.
pub(super) struct Wire {
    pub(super) target: Target,
    pub(super) budget: Budget,
    /// The address that has answered.
    address: OnceLock<SocketAddr>,
    tls: OnceLock<Tls>,
    headers: Vec<(String, String)>,
    cookies: Vec<String>,
    /// All that was asked so far.
    log: Mutex<Vec<Exchange>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// The path and query.
    pub(super) target: String,
    pub(super) body: Option<Arc<str>>,
    /// Further headers.
    pub(super) headers: Vec<(String, String)>,
    /// Further cookies.
    pub(super) cookies: Vec<String>,
}

/// One request and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) method: &'static str,
    /// The scheme and host.
    pub(super) origin: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) sent_body: Option<Arc<str>>,
    pub(super) got: Result<Answer, Fault>,
    /// When it began.
    pub(super) started: jiff::Timestamp,
    pub(super) took: Duration,
    /// What was said on the WebSocket, if one was asked for.
    pub(super) transcript: Option<Transcript>,
}

/// A TCP connection that stays for several requests.
pub(super) struct Line(Box<dyn Stream>);

/// What bytes go through.
trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Wire {
    pub(super) fn new(target: Target, options: &Options) -> Wire {
        let header = |header: &Header| (header.name.clone(), header.value.clone());
        Wire {
            target,
            budget: Budget::new(options.timeout),
            address: OnceLock::new(),
            tls: OnceLock::new(),
            headers: options.headers.iter().map(header).collect(),
            cookies: options
                .cookies
                .iter()
                .map(|Cookie(pair)| pair.clone())
                .collect(),
            log: Mutex::default(),
        }
    }

    /// All that was asked so far.
    pub(super) fn log(&self) -> Vec<Exchange> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// From here on requests go to this address.
    pub(super) fn set_address(&self, address: SocketAddr) {
        let _ = self.address.set(address);
    }

    /// The address to which requests go.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address.get().copied()
    }

    /// From here on requests are encrypted so.
    pub(super) fn set_tls(&self, tls: Tls) {
        let _ = self.tls.set(tls);
    }

    /// The names of the headers that the user has given.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// Says whether the requests carry cookies of the user.
    pub(super) fn has_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// Opens a connection to the server.
    pub(super) async fn line(&self) -> Result<Line, Fault> {
        let address = *self.address.get().ok_or(Fault::Spent)?;
        let tcp = dial::connect(address, self.budget.answer()).await;
        let tcp = tcp.map_err(Fault::Unreachable)?;
        match self.tls.get() {
            None => Ok(Line(Box::new(tcp))),
            Some(tls) => {
                let wrapped = wrap(tls, &self.target.host, address, tcp, self.budget.answer());
                let (stream, _) = wrapped
                    .await
                    .map_err(|fault| Fault::Tls(fault.to_string()))?;
                Ok(Line(stream))
            }
        }
    }

    /// Makes a request on a connection of its own.
    pub(super) async fn ask(&self, ask: Ask) -> Exchange {
        self.ask_for(ask, self.budget.answer()).await
    }

    /// Makes a request on a connection of its own, and waits so long for the answer.
    pub(super) async fn ask_for(&self, ask: Ask, wait: Duration) -> Exchange {
        let start = Instant::now();
        let headers = self.headers(&ask, None);
        let got = match self.budget.request().await {
            None => Err(Fault::Spent),
            Some(_slot) => match self.line().await {
                Err(fault) => Err(fault),
                Ok(mut line) => http::exchange(&mut *line.0, &ask, &headers, wait).await,
            },
        };
        self.exchange(ask, headers, None, got, start)
    }

    /// Makes a request without the user's headers and cookies, as a browser does that asks for
    /// permission.
    pub(super) async fn ask_bare(&self, ask: Ask) -> Exchange {
        let start = Instant::now();
        let headers = self.with(&[], &[], &ask, None);
        let got = match self.budget.request().await {
            None => Err(Fault::Spent),
            Some(_slot) => match self.line().await {
                Err(fault) => Err(fault),
                Ok(mut line) => {
                    let wait = self.budget.answer();
                    http::exchange(&mut *line.0, &ask, &headers, wait).await
                }
            },
        };
        self.exchange(ask, headers, None, got, start)
    }

    /// Makes a request on a connection that stays.
    pub(super) async fn ask_on(&self, line: &mut Line, ask: Ask) -> Exchange {
        let start = Instant::now();
        let headers = self.headers(&ask, None);
        let got = match self.budget.request().await {
            None => Err(Fault::Spent),
            Some(_slot) => http::exchange(&mut *line.0, &ask, &headers, self.budget.answer()).await,
        };
        self.exchange(ask, headers, None, got, start)
    }

    /// Asks for a WebSocket. The place among those that are made at once is free when it is open.
    pub(super) async fn websocket(&self, ask: Ask) -> (Exchange, Option<WebSocket>) {
        let start = Instant::now();
        let origin = self.target.origin();
        let headers = self.headers(&ask, Some(&origin));
        let transcript = Transcript::default();
        let opened = match self.budget.request().await {
            None => Err(Fault::Spent),
            Some(_slot) => match self.line().await {
                Err(fault) => Err(fault),
                Ok(line) => {
                    let wait = self.budget.answer();
                    WebSocket::open(line.0, &ask, &headers, wait, transcript.clone()).await
                }
            },
        };
        let (got, websocket) = match opened {
            Ok((answer, websocket)) => (Ok(answer), websocket),
            Err(fault) => (Err(fault), None),
        };
        let exchange = self.exchange(ask, headers, Some(transcript), got, start);
        (exchange, websocket)
    }

    fn exchange(
        &self,
        ask: Ask,
        headers: Vec<(String, String)>,
        transcript: Option<Transcript>,
        got: Result<Answer, Fault>,
        start: Instant,
    ) -> Exchange {
        let took = start.elapsed();
        let now = jiff::Timestamp::now();
        let exchange = Exchange {
            method: ask.method,
            origin: self.target.origin(),
            target: ask.target,
            headers,
            sent_body: ask.body,
            transcript,
            got,
            started: now.checked_sub(took).unwrap_or(now),
            took,
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(exchange.clone());
        exchange
    }

    /// The headers of a request, in a browser's order: first those that each has.
    fn headers(&self, ask: &Ask, origin: Option<&str>) -> Vec<(String, String)> {
        self.with(&self.headers, &self.cookies, ask, origin)
    }

    fn with(
        &self,
        own: &[(String, String)],
        cookies: &[String],
        ask: &Ask,
        origin: Option<&str>,
    ) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        add("Host", &self.target.authority);
        add(
            "User-Agent",
            concat!(
                "Mozilla/5.0 (compatible; sio-doctor/",
                env!("CARGO_PKG_VERSION"),
                ")"
            ),
        );
        add("Accept", "*/*");
        let own = own.iter().chain(&ask.headers);
        for (name, value) in own.clone() {
            add(name, value);
        }
        // A browser names the page with each WebSocket, and other requests to its own server not.
        let has = |wanted: &str| {
            own.clone()
                .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        if let Some(origin) = origin
            && !has("Origin")
        {
            add("Origin", origin);
        }
        let cookies: Vec<&str> = cookies
            .iter()
            .chain(&ask.cookies)
            .map(String::as_str)
            .collect();
        if !cookies.is_empty() {
            add("Cookie", &cookies.join("; "));
        }
        if let Some(body) = &ask.body {
            add("Content-Type", "text/plain;charset=UTF-8");
            add("Content-Length", &body.len().to_string());
        }
        headers
    }
}

/// Host, User-Agent and Accept.
const BASE_HEADERS: usize = 3;

impl Ask {
    pub(super) fn get(target: String) -> Ask {
        Ask {
            method: "GET",
            target,
            body: None,
            headers: Vec::new(),
            cookies: Vec::new(),
        }
    }

    pub(super) fn post(target: String, body: impl Into<Arc<str>>) -> Ask {
        Ask {
            method: "POST",
            body: Some(body.into()),
            ..Ask::get(target)
        }
    }

    pub(super) fn with_header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn with_cookies(mut self, cookies: &[String]) -> Ask {
        self.cookies = cookies.to_vec();
        self
    }
}

impl Exchange {
    /// The headers without those that every request has.
    pub(super) fn own_headers(&self) -> &[(String, String)] {
        self.headers.get(BASE_HEADERS..).unwrap_or_default()
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.transcript.is_some()
    }

    /// The answer, if one came.
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.got.as_ref().ok()
    }

    /// The status of the answer, if one came.
    pub(super) fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }
}

/// Tries each address; gives the fault of those that cannot be reached.
pub(super) async fn reach(
    addresses: &[SocketAddr],
    wait: Duration,
) -> Vec<(SocketAddr, Result<Duration, TcpFault>)> {
    let attempts = addresses.iter().map(async |address| {
        let start = Instant::now();
        let reached = dial::connect(*address, wait).await;
        (*address, reached.map(|_| start.elapsed()))
    });
    futures_util::future::join_all(attempts).await
}

/// Tries TLS with an address.
pub(super) async fn try_tls(
    tls: &Tls,
    host: &str,
    address: SocketAddr,
    wait: Duration,
) -> Result<TlsSeen, TlsFault> {
    let tcp = dial::connect(address, wait).await;
    let tcp = tcp.map_err(|fault| TlsFault::Other(fault.to_string()))?;
    let wrapped = wrap(tls, host, address, tcp, wait).await;
    wrapped.map(|(_, seen)| seen)
}

/// Speaks TLS over a connection; over another one without an offer of protocols, if it is that which the
/// server refuses.
async fn wrap(
    tls: &Tls,
    host: &str,
    address: SocketAddr,
    tcp: TcpStream,
    wait: Duration,
) -> Result<(Box<dyn Stream>, TlsSeen), TlsFault> {
    let start = Instant::now();
    match tls.wrap(host, tcp, wait, true).await {
        Err(TlsFault::NoProtocol) => {
            let wait = wait.saturating_sub(start.elapsed());
            let tcp = dial::connect(address, wait).await;
            let tcp = tcp.map_err(|fault| TlsFault::Other(fault.to_string()))?;
            tls.wrap(host, tcp, wait, false).await
        }
        wrapped => wrapped,
    }
}
