//! The options of `sio doctor`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;
use socketio_doctor::{
    Authority, Backend, Client, Cookie, Emit, Header, Id, Options, Origin, PayloadSize, Transport,
};

use crate::args::not_empty;

#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "sio doctor <URL> [OPTIONS]", after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// What is given to `io()`: where the server is; the path is the namespace.
    #[arg(required_unless_present_any = ["explain", "list"])]
    url: Option<String>,

    /// The path of the Socket.IO requests.
    #[arg(long, default_value = "/socket.io/", value_parser = not_empty)]
    path: String,

    /// The namespace, instead of the URL's path.
    #[arg(long)]
    namespace: Option<String>,

    /// What the server's middlewares get: a JSON object, or @file to read it from one.
    #[arg(long, value_name = "JSON", value_parser = auth)]
    auth: Option<Value>,

    /// The origin (scheme, host and port) of the page from which a browser connects: checks CORS.
    #[arg(long)]
    origin: Option<Origin>,

    /// A header of the requests. Can be given several times.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<Header>,

    /// A cookie of the requests. Can be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    cookie: Vec<Cookie>,

    /// Goes on although the server's certificate is wrong.
    #[arg(long)]
    insecure: bool,

    /// A file with the certificates (PEM) of the authorities to be trusted.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// The client that fails and its major version, as in js@2, java@1, swift@15 or python@4.
    #[arg(long, value_name = "NAME@VERSION")]
    client: Option<Client>,

    /// The transports that the client is limited to.
    #[arg(long, value_enum)]
    transport: Option<Only>,

    /// What the proxy passes requests on to: the same checks are made there, so that the proxy can be
    /// blamed or cleared.
    #[arg(long, value_name = "URL")]
    backend: Option<Backend>,

    /// Emits an event, with one JSON value if there is one, and waits for its acknowledgement.
    #[arg(long, value_name = "EVENT[=JSON]", value_parser = emit)]
    emit: Option<Emit>,

    /// Sends a message of so many bytes that the server ignores. Default: the server's own limit.
    #[arg(long, value_name = "BYTES", num_args = 0..=1, value_parser = bytes)]
    payload: Option<Option<u64>>,

    /// Keeps connections open for so long, and looks whether something cuts them.
    #[arg(long, value_name = "SECONDS", value_parser = soak)]
    soak: Option<Duration>,

    /// How long the examination may take, without --backend, --emit, --payload and --soak.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "9.5")]
    timeout: Duration,

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
    lang: Option<String>,

    /// Lists the checks.
    #[arg(long)]
    pub(super) list: bool,
}

impl DoctorArgs {
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

impl From<&DoctorArgs> for Options {
    fn from(args: &DoctorArgs) -> Options {
        // Only `--explain` and `--list` can do without.
        let url = args.url.as_deref().unwrap_or("https://example.com");
        let mut options = Options::new(url);
        options.path = args.path.clone();
        options.namespace = args.namespace.clone();
        options.auth = args.auth.clone();
        options.origin = args.origin.clone();
        options.headers = args.header.clone();
        options.cookies = args.cookie.clone();
        options.insecure = args.insecure;
        options.authorities = args.ca.clone().map(Authority::File).into_iter().collect();
        options.client = args.client.clone();
        options.transport = args.transport.map(|only| match only {
            Only::Polling => Transport::Polling,
            Only::Websocket => Transport::WebSocket,
        });
        options.backend = args.backend.clone();
        options.emit = args.emit.clone();
        options.payload = args
            .payload
            .map(|size| size.map_or(PayloadSize::Limit, PayloadSize::Bytes));
        options.soak = args.soak;
        options.timeout = args.timeout;
        options
    }
}

/// The only transport that a client uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Only {
    Polling,
    Websocket,
}

type BoxError = Box<dyn Error + Send + Sync>;

fn seconds(text: &str) -> Result<Duration, BoxError> {
    let duration = Duration::try_from_secs_f64(text.parse()?)?;
    match Options::TIMEOUT.contains(&duration) {
        true => Ok(duration),
        false => Err("it must be between 0.5 and 600".into()),
    }
}

fn soak(text: &str) -> Result<Duration, BoxError> {
    let duration = Duration::try_from_secs_f64(text.trim_end_matches('s').parse()?)?;
    match Options::SOAK.contains(&duration) {
        true => Ok(duration),
        false => Err("it must be between 1 and 3600".into()),
    }
}

fn bytes(text: &str) -> Result<u64, BoxError> {
    let size = text.parse()?;
    match Options::PAYLOAD.contains(&size) {
        true => Ok(size),
        false => Err("it must be between 1 and 100000000".into()),
    }
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

fn id(text: &str) -> Result<Id, BoxError> {
    let found = Id::ALL
        .iter()
        .copied()
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
