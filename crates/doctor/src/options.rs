//! What is to be examined, and how.
//!
//! What comes from a user and goes into a request is parsed here, so that no header can smuggle a line.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use socketio_proto::engine::Transport;
use thiserror::Error;
use url::Url;

use crate::compatibility;
use crate::target::Target;

/// Which server is examined, and how.
///
/// `auth` and the values of headers, cookies and the URL's query appear in no report, unless they have
/// fewer than 4 bytes: those are not looked for.
///
/// # Examples
///
/// ```
/// use socketio_doctor::Options;
///
/// # fn example() -> Result<Options, socketio_doctor::InvalidOption> {
/// let mut options = Options::new("https://example.com/chat");
/// options.origin = Some("https://app.example.com".parse()?);
/// options.headers.push("X-Tenant: 7".parse()?);
/// # Ok(options)
/// # }
/// # assert!(example().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// What is given to `io()`: where the server is; the path is the namespace.
    pub url: String,
    /// The path of the Socket.IO requests. Default: `/socket.io/`.
    pub path: String,
    /// The namespace, instead of the URL's path.
    pub namespace: Option<String>,
    /// What the server's middlewares get: a JSON object.
    pub auth: Option<Value>,
    /// The origin of the page from which a browser connects: checks CORS.
    pub origin: Option<Origin>,
    /// Headers of all requests.
    pub headers: Vec<Header>,
    /// Cookies of all requests.
    pub cookies: Vec<Cookie>,
    /// Goes on although the server's certificate is wrong.
    pub insecure: bool,
    /// Authorities that are trusted besides those of the platform.
    pub authorities: Vec<Authority>,
    /// The client that fails.
    pub client: Option<Client>,
    /// The only transport that the client uses.
    pub transport: Option<Transport>,
    /// What the proxy passes requests on to: the same checks are made there, so that the proxy can be
    /// blamed or cleared.
    pub backend: Option<Backend>,
    /// Emits an event, and waits for its acknowledgement.
    pub emit: Option<Emit>,
    /// Sends a message of this size that the server ignores.
    pub payload: Option<PayloadSize>,
    /// Keeps connections open for so long, within [`SOAK`](Options::SOAK), and looks whether something
    /// cuts them.
    pub soak: Option<Duration>,
    /// How long the examination may take, without `backend`, `emit`, `payload` and `soak`, within
    /// [`TIMEOUT`](Options::TIMEOUT). Default: 9.5 s.
    pub timeout: Duration,
}

/// Certificates (PEM) of authorities that are trusted.
#[derive(Clone)]
pub enum Authority {
    /// In this file.
    File(PathBuf),
    /// In this text.
    Pem(Vec<u8>),
}

/// The address of what a proxy passes requests on to, such as `http://10.0.0.5:3000`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend(pub(crate) Url);

/// A client of some language, such as `js@2`, `java@1`, `swift@15` or `python@4`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its language, as in the examples.
    pub name: String,
    /// Its major version.
    pub major: u32,
    /// The revision of Engine.IO that it speaks: 3 or 4.
    pub revision: u8,
}

/// A cookie, parsed from `NAME=VALUE`.
#[derive(Clone, Eq, PartialEq)]
pub struct Cookie(pub(crate) String);

/// An event to be emitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Emit {
    /// Its name.
    pub event: String,
    /// Its argument, if it has one.
    pub argument: Option<Value>,
}

/// A header, parsed from `NAME: VALUE`.
#[derive(Clone, Eq, PartialEq)]
pub struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The scheme, host and port of a page, such as `https://app.example.com`, or `null`. A path is cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin(pub(crate) String);

/// The size of a message that is sent to see whether it passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PayloadSize {
    /// So many bytes, within [`Options::PAYLOAD`].
    Bytes(u64),
    /// As many bytes as the server says it takes.
    Limit,
}

/// Why a server cannot be examined: what is wrong with an option.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct InvalidOption(pub(crate) String);

impl Options {
    /// What [`PayloadSize::Bytes`] may be.
    pub const PAYLOAD: RangeInclusive<u64> = 1..=100_000_000;

    /// What `soak` may be.
    pub const SOAK: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

    /// What `timeout` may be.
    pub const TIMEOUT: RangeInclusive<Duration> =
        Duration::from_millis(500)..=Duration::from_secs(600);

    /// The options for a URL, with what is asked for expressly left out.
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            path: "/socket.io/".to_owned(),
            namespace: None,
            auth: None,
            origin: None,
            headers: Vec::new(),
            cookies: Vec::new(),
            insecure: false,
            authorities: Vec::new(),
            client: None,
            transport: None,
            backend: None,
            emit: None,
            payload: None,
            soak: None,
            timeout: Duration::from_millis(9500),
        }
    }

    /// Says whether sizes and times are within their bounds.
    pub(crate) fn check(&self) -> Result<(), InvalidOption> {
        let is_size = match self.payload {
            Some(PayloadSize::Bytes(size)) => Options::PAYLOAD.contains(&size),
            Some(PayloadSize::Limit) | None => true,
        };
        let wrong = match () {
            () if !is_size => "the size of the payload",
            () if self.soak.is_some_and(|time| !Options::SOAK.contains(&time)) => "the soak time",
            () if !Options::TIMEOUT.contains(&self.timeout) => "the timeout",
            () => return Ok(()),
        };
        Err(InvalidOption(format!("{wrong} is out of bounds")))
    }

    /// The origin of the page, for advice.
    pub(crate) fn page(&self) -> String {
        match &self.origin {
            Some(Origin(origin)) => origin.clone(),
            None => "https://app.example.com".to_owned(),
        }
    }
}

impl Header {
    /// A header.
    ///
    /// # Errors
    ///
    /// When no header can have this name or value.
    pub fn new(name: &str, value: &str) -> Result<Header, InvalidOption> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(invalid("this is no name of a header"));
        }
        printable(value)?;
        Ok(Header {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl FromStr for Backend {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Backend, InvalidOption> {
        Target::parse(text, "/", None).map_err(InvalidOption)?;
        let url = Url::parse(text).map_err(|error| InvalidOption(error.to_string()))?;
        Ok(Backend(url))
    }
}

impl FromStr for Client {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Client, InvalidOption> {
        const EXAMPLE: &str = "it must be like js@2, java@1, swift@15 or python@4";
        let (name, version) = text.split_once('@').ok_or_else(|| invalid(EXAMPLE))?;
        let mut numbers = version.split('.').map(|number| number.parse().ok());
        let major = numbers.next().flatten().ok_or_else(|| invalid(EXAMPLE))?;
        // `4.x` is its first version.
        let [minor, patch] = [(); 2].map(|()| numbers.next().flatten().unwrap_or(0));
        let row = compatibility::client(name, [major, minor, patch])
            .ok_or_else(|| InvalidOption(format!("{name} is not known; {EXAMPLE}")))?;
        Ok(Client {
            name: name.to_owned(),
            major,
            revision: row.revision,
        })
    }
}

impl FromStr for Cookie {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Cookie, InvalidOption> {
        printable(text)?;
        match text.contains('=') {
            true => Ok(Cookie(text.to_owned())),
            false => Err(invalid("it must be NAME=VALUE")),
        }
    }
}

impl FromStr for Header {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Header, InvalidOption> {
        let (name, value) = text
            .split_once(':')
            .ok_or_else(|| invalid("a colon is missing"))?;
        Header::new(name.trim(), value.trim())
    }
}

impl FromStr for Origin {
    type Err = InvalidOption;

    fn from_str(text: &str) -> Result<Origin, InvalidOption> {
        if text == "null" {
            return Ok(Origin(text.to_owned()));
        }
        let url = Url::parse(text).map_err(|error| InvalidOption(error.to_string()))?;
        match url.origin() {
            origin @ url::Origin::Tuple(..) => Ok(Origin(origin.ascii_serialization())),
            url::Origin::Opaque(_) => Err(invalid("it must be like https://app.example.com")),
        }
    }
}

/// Without the URL's query, `auth`, and the values of headers and cookies, which are mostly secrets.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        f.debug_struct("Options")
            .field("url", &url)
            .field("path", &self.path)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::File(path) => f.debug_tuple("File").field(path).finish(),
            Authority::Pem(_) => f.write_str("Pem(..)"),
        }
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({}: ..)", self.name)
    }
}

fn invalid(reason: &str) -> InvalidOption {
    InvalidOption(reason.to_owned())
}

fn printable(text: &str) -> Result<(), InvalidOption> {
    match text.chars().any(char::is_control) {
        true => Err(invalid("it has a control character")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_version_tells_the_revision_it_speaks() {
        for (text, revision) in [
            ("js@2", 3),
            ("js@4.8.1", 4),
            ("java@1", 3),
            ("java@2", 4),
            ("swift@15", 3),
            ("swift@16", 4),
            ("python@4", 3),
            ("python@5", 4),
            ("csharp@2", 3),
            ("csharp@2.2.4", 4),
            ("csharp@3", 4),
            ("cpp@1.6.1", 3),
            ("dart@3.x", 4),
        ] {
            assert_eq!(text.parse::<Client>().unwrap().revision, revision, "{text}");
        }
        assert!("js".parse::<Client>().is_err());
        assert!("perl@1".parse::<Client>().is_err());
    }

    #[test]
    fn an_origin_has_no_path() {
        let origin = |text: &str| text.parse().map(|Origin(origin)| origin);
        assert_eq!(
            origin("https://a.example:443/x/").unwrap(),
            "https://a.example"
        );
        assert_eq!(
            origin("http://localhost:5173").unwrap(),
            "http://localhost:5173"
        );
        assert!(origin("a.example").is_err());
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        assert!("x: a\r\ny: b".parse::<Header>().is_err());
        assert!("x y: a".parse::<Header>().is_err());
        assert!("a=b\r\ny: b".parse::<Cookie>().is_err());
        assert_eq!("X-Key: a:b".parse(), Header::new("X-Key", "a:b"));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let mut options = Options::new("http://localhost");
        assert!(options.check().is_ok());
        options.payload = Some(PayloadSize::Bytes(0));
        assert!(options.check().is_err());
        options.payload = None;
        options.timeout = Duration::MAX;
        assert!(options.check().is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut options = Options::new("http://localhost/?token=secret");
        options.auth = Some("secret".into());
        options.headers.push("X-Key: secret".parse().unwrap());
        options.cookies.push("a=secret".parse().unwrap());
        let printed = format!("{options:?} {:?} {:?}", options.headers, options.cookies);
        assert!(!printed.contains("secret"), "{printed}");
    }
}
