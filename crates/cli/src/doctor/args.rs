//! The options of `sio doctor`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;
use url::Url;

use super::check::Id;
use super::target::Target;

#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "sio doctor <URL> [OPTIONS]", after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// What is given to `io()`: where the server is; the path is the namespace.
    #[arg(required_unless_present_any = ["explain", "list"])]
    pub(super) url: Option<String>,

    /// The path of the Socket.IO requests.
    #[arg(long, default_value = "/socket.io/")]
    pub(super) path: String,

    /// The namespace, instead of the URL's path.
    #[arg(long)]
    pub(super) namespace: Option<String>,

    /// What the server's middlewares get: a JSON object, or @file to read it from one.
    #[arg(long, value_name = "JSON", value_parser = auth)]
    pub(super) auth: Option<Value>,

    /// The origin (scheme, host and port) of the page from which a browser connects: checks CORS.
    #[arg(long, value_parser = origin)]
    pub(super) origin: Option<String>,

    /// A header of the requests. Can be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,

    /// A cookie of the requests. Can be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = cookie)]
    pub(super) cookie: Vec<String>,

    /// Goes on although the server's certificate is wrong.
    #[arg(long)]
    pub(super) insecure: bool,

    /// A file with the certificates (PEM) of the authorities to be trusted.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// The client that fails and its major version, as in js@2, java@1, swift@15 or python@4.
    #[arg(long, value_name = "NAME@VERSION", value_parser = client)]
    pub(super) client: Option<Client>,

    /// The transports that the client is limited to.
    #[arg(long, value_enum)]
    pub(super) transport: Option<Only>,

    /// What the proxy passes requests on to: the same checks are made there, so that the proxy can be
    /// blamed or cleared.
    #[arg(long, value_name = "URL", value_parser = backend)]
    pub(super) backend: Option<Url>,

    /// Emits an event, with one JSON value if there is one, and waits for its acknowledgement.
    #[arg(long, value_name = "EVENT[=JSON]", value_parser = emit)]
    pub(super) emit: Option<Emit>,

    /// Sends a message of so many bytes that the server ignores. Default: the server's own limit.
    #[arg(long, value_name = "BYTES", num_args = 0..=1, value_parser = bytes)]
    pub(super) payload: Option<Option<u64>>,

    /// Keeps connections open for so long, and looks whether something cuts them.
    #[arg(long, value_name = "SECONDS", value_parser = soak)]
    pub(super) soak: Option<Duration>,

    /// How long the examination may take, without --backend, --emit, --payload and --soak.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "9.5")]
    pub(super) timeout: Duration,

    /// Prints one JSON object, for programs.
    #[arg(long)]
    pub(super) json: bool,

    /// Writes the report as Markdown, for an issue or a message, to a file (- for stdout).
    #[arg(long, value_name = "FILE")]
    pub(super) md: Option<PathBuf>,

    /// Writes the checks as JUnit's XML, for continuous integration, to a file (- for stdout).
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,

    /// Writes all requests and answers as HAR 1.2, which browsers read, to a file (- for stdout).
    #[arg(long, value_name = "FILE")]
    pub(super) har: Option<PathBuf>,

    /// Exits with 1 if there are warnings.
    #[arg(long)]
    pub(super) strict: bool,

    /// Tells what a check does, with lines to paste for all proxies, servers and clients that are known.
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(super) explain: Option<Id>,

    /// The language of the report: en or es. Default: that of the locale, else English.
    #[arg(long, value_name = "LANGUAGE", value_parser = ["en", "es"])]
    pub(super) lang: Option<String>,

    /// Lists the checks.
    #[arg(long)]
    pub(super) list: bool,
}

impl DoctorArgs {
    /// The origin of the page, for advice.
    pub(super) fn page(&self) -> String {
        let origin = self.origin.clone();
        origin.unwrap_or_else(|| "https://app.example.com".to_owned())
    }

    /// The locale of the report. As POSIX says, the first of these that is set counts.
    pub(super) fn locale(&self) -> String {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let variables = ["LC_ALL", "LC_MESSAGES", "LANG"];
        let by_environment = || variables.iter().find_map(set);
        self.lang
            .clone()
            .or_else(by_environment)
            .unwrap_or_default()
    }
}

/// The only transport that a client uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Only {
    Polling,
    Websocket,
}

/// An event to be emitted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Emit {
    pub(super) event: String,
    pub(super) argument: Option<Value>,
}

/// A client of some language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) major: u32,
    /// The revision of Engine.IO that it speaks.
    pub(super) revision: u8,
}

type BoxError = Box<dyn Error + Send + Sync>;

fn seconds(text: &str) -> Result<Duration, BoxError> {
    let duration = Duration::try_from_secs_f64(text.parse()?)?;
    match duration.as_secs_f64() {
        0.5..=600.0 => Ok(duration),
        _ => Err("it must be between 0.5 and 600".into()),
    }
}

fn soak(text: &str) -> Result<Duration, BoxError> {
    let duration = Duration::try_from_secs_f64(text.trim_end_matches('s').parse()?)?;
    match duration.as_secs() {
        1..=3600 => Ok(duration),
        _ => Err("it must be between 1 and 3600".into()),
    }
}

fn bytes(text: &str) -> Result<u64, BoxError> {
    match text.parse()? {
        size @ 1..=100_000_000 => Ok(size),
        _ => Err("it must be between 1 and 100000000".into()),
    }
}

fn backend(text: &str) -> Result<Url, BoxError> {
    Target::parse(text, "/", None)?;
    Ok(Url::parse(text)?)
}

fn emit(text: &str) -> Result<Emit, BoxError> {
    let (event, argument) = match text.split_once('=') {
        Some((event, json)) => {
            let argument = serde_json::from_str(json).map_err(|error| {
                format!(r#"what follows = is not JSON ({error}), as in 'say="hello"'"#)
            })?;
            (event, Some(argument))
        }
        None => (text, None),
    };
    match event {
        "" => Err("the event has no name".into()),
        event => Ok(Emit {
            event: event.to_owned(),
            argument,
        }),
    }
}

fn auth(text: &str) -> Result<Value, BoxError> {
    let json = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
        None => text.to_owned(),
    };
    match serde_json::from_str(&json) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(r#"it must be a JSON object, as in '{"token":"secret"}'"#.into()),
        Err(error) => Err(format!("it is not JSON: {error}").into()),
    }
}

/// An origin has no path, so that what is given with one is cut.
fn origin(text: &str) -> Result<String, BoxError> {
    if text == "null" {
        return Ok(text.to_owned());
    }
    let url = Url::parse(text)?;
    match url.origin() {
        origin @ url::Origin::Tuple(..) => Ok(origin.ascii_serialization()),
        url::Origin::Opaque(_) => Err("it must be like https://app.example.com".into()),
    }
}

fn header(text: &str) -> Result<(String, String), BoxError> {
    let (name, value) = text.split_once(':').ok_or("a colon is missing")?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("this is no name of a header".into());
    }
    printable(value)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn cookie(text: &str) -> Result<String, BoxError> {
    printable(text)?;
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => Err("it must be NAME=VALUE".into()),
    }
}

fn printable(text: &str) -> Result<(), BoxError> {
    match text.chars().any(char::is_control) {
        true => Err("it has a control character".into()),
        false => Ok(()),
    }
}

fn client(text: &str) -> Result<Client, BoxError> {
    const EXAMPLE: &str = "it must be like js@2, java@1, swift@15 or python@4";
    let (name, version) = text.split_once('@').ok_or(EXAMPLE)?;
    let major = version.split('.').next().unwrap_or_default();
    let major = major.parse().map_err(|_| EXAMPLE)?;
    // The first major version of each client that speaks revision 4 of Engine.IO.
    let first = match name {
        "js" | "csharp" | "cpp" => 3,
        "java" | "dart" => 2,
        "swift" => 16,
        "python" => 5,
        "go" | "rust" => 0,
        _ => return Err(format!("{name} is not known; {EXAMPLE}").into()),
    };
    Ok(Client {
        name: name.to_owned(),
        major,
        revision: if major < first { 3 } else { 4 },
    })
}

fn id(text: &str) -> Result<Id, BoxError> {
    let found = Id::ALL
        .into_iter()
        .find(|id| id.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "there is no such check; --list tells which there are".into())
}

const HELP: &str = r#"Examples:
  sio doctor http://localhost:3000
  sio doctor https://example.com/chat --path /api/socket.io/ --auth '{"token":"secret"}'
  sio doctor https://api.example.com --origin https://app.example.com
  sio doctor https://example.com --client js@2 --md report.md
  sio doctor https://example.com --soak 120 --payload --backend http://10.0.0.5:3000
  sio doctor https://example.com --junit doctor.xml --har doctor.har
  sio doctor --explain D10

It makes at most 40 requests (more with --backend, --emit, --payload and --soak), ends the sessions
it opens, and emits no event unless --emit says so. Tokens, cookies and ids of sessions do not appear
in reports.

Exit codes:
  0  healthy
  1  only warnings, with --strict
  2  a fault was found
  3  it cannot run: the arguments are wrong
  4  inconclusive: nothing was found, but something could not be examined
"#;

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
        ] {
            assert_eq!(client(text).unwrap().revision, revision, "{text}");
        }
        assert!(client("js").is_err());
        assert!(client("perl@1").is_err());
    }

    #[test]
    fn an_origin_has_no_path() {
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
        assert!(header("x: a\r\ny: b").is_err());
        assert!(header("x y: a").is_err());
        assert_eq!(
            header("X-Key: a:b").unwrap(),
            ("X-Key".to_owned(), "a:b".to_owned())
        );
    }
}
