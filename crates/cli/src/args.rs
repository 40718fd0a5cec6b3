//! The command line.

use std::net::Ipv6Addr;
use std::num::ParseIntError;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

use crate::bench::BenchArgs;
use crate::connect::ConnectArgs;
use crate::doctor::DoctorArgs;
use crate::emit::EmitArgs;

/// In seconds; longer durations are refused.
pub(crate) const YEAR: u64 = 365 * 24 * 60 * 60;

/// Socket.IO from the command line. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "sio", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts load on any Socket.IO server and measures what it does.
    Bench(BenchArgs),

    /// Connects to a server, from a prompt or a script.
    Connect(ConnectArgs),

    /// Says why a connection to a Socket.IO server fails, and what to do.
    Doctor(Box<DoctorArgs>),
    /// Emits to the clients of all servers that share a Redis or a Postgres.
    Emit(EmitArgs),

    /// Starts a Socket.IO server with a chat to try it.
    Serve(ServeArgs),
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_parser = not_empty)]
    pub(crate) host: String,

    /// The port to listen on; 0 lets the system choose one.
    #[arg(long, short, default_value_t = 3000)]
    pub(crate) port: u16,

    /// The path of the Socket.IO requests.
    #[arg(long, default_value = "/socket.io", value_parser = path)]
    pub(crate) path: String,

    /// An origin (scheme, host and port) that browsers may connect from; * for all. Can be
    /// given several times.
    #[arg(long = "cors", value_name = "ORIGIN", value_parser = not_empty)]
    pub(crate) cors: Vec<String>,

    /// Lets browsers of the origins send cookies.
    #[arg(long, requires = "cors")]
    pub(crate) cors_credentials: bool,

    /// The certificate chain in PEM: serves HTTPS and WSS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of the certificate in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// A second address that answers /metrics (for Prometheus), /healthz and /readyz.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) metrics: Option<String>,

    /// The seconds over which clients are sent away when the server is asked to end, so that they do
    /// not all come back at once; 0 sends them all at once. A second signal ends it at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(..=YEAR))]
    pub(crate) drain: u64,

    /// Lets clients go on where they were if they come back within so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=YEAR))]
    pub(crate) recovery: Option<u64>,

    /// Lets clients of Socket.IO 1 and 2 in.
    #[arg(long)]
    pub(crate) allow_eio3: bool,

    /// Serves JSONP, which pages of any site can read, whatever --cors says.
    #[arg(long)]
    pub(crate) allow_jsonp: bool,

    /// Compresses WebSocket messages of more than 1 KiB.
    #[arg(long)]
    pub(crate) compress: bool,

    /// The largest message a client may send, in bytes; at least 1.
    #[arg(long, value_name = "BYTES", default_value_t = 1_000_000, value_parser = at_least_1::<usize>)]
    pub(crate) max_payload: usize,

    /// How many clients may be connected.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = at_least_1::<usize>)]
    pub(crate) max_connections: usize,

    /// How many TCP connections there may be; three times as many as clients and 64 more unless given,
    /// and never more than the limit of open files allows.
    #[arg(long, value_name = "COUNT", value_parser = at_least_1::<usize>)]
    pub(crate) max_tcp_connections: Option<usize>,

    /// How many clients may be connected from one address, or from one network of IPv6.
    #[arg(long, value_name = "COUNT", value_parser = at_least_1::<u32>)]
    pub(crate) max_connections_per_address: Option<u32>,

    /// How many bits of an IPv6 address are one client's: 64 is the network that most have of their
    /// provider, 128 each address.
    #[arg(long, value_name = "BITS", default_value_t = 64, requires = "max_connections_per_address",
        value_parser = clap::value_parser!(u32).range(1..=128))]
    pub(crate) ipv6_prefix: u32,

    /// How many clients may connect each second, and twice as many at once; more are told to try
    /// again.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = at_least_1::<u32>)]
    pub(crate) max_handshakes: u32,

    /// Joins the cluster of all servers, of Node too, that use this Redis in the same way, such as
    /// redis://localhost:6379. Several nodes of a Redis Cluster, separated by commas, need the sharded
    /// adapter.
    #[arg(long, value_name = "URL", value_parser = not_empty)]
    pub(crate) redis: Option<String>,

    /// The name of the master that sentinels watch: --redis then has the addresses of sentinels,
    /// separated by commas. A user, password and database in them are those of the master.
    #[arg(long, value_name = "MASTER", value_parser = not_empty, requires = "redis")]
    pub(crate) redis_sentinel: Option<String>,

    /// How Redis is used, which is the adapter that servers of Node use. With streams, --recovery brings
    /// clients back to any server.
    #[arg(long, value_enum, default_value_t, requires = "redis")]
    pub(crate) redis_adapter: RedisAdapter,

    /// Which rooms have channels of their own with the sharded adapter; the servers of Node call it
    /// "subscriptionMode".
    #[arg(long, value_enum, default_value_t, requires = "redis")]
    pub(crate) redis_subscriptions: RedisSubscriptions,

    /// How many streams the streams adapter spreads the namespaces over; the servers of Node call it
    /// "streamCount".
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000),
        requires = "redis"
    )]
    pub(crate) redis_streams: u32,

    /// How the names of Redis channels, and of the stream, begin; the servers of Node call it "key",
    /// or "channelPrefix" and "streamName".
    #[arg(
        long,
        value_name = "NAME",
        default_value = "socket.io",
        requires = "redis"
    )]
    pub(crate) redis_prefix: String,

    /// Joins the cluster of all servers, of Node too, that use the Postgres adapter with this database,
    /// such as postgres://user:password@localhost/chat.
    #[arg(long, value_name = "URL", value_parser = not_empty, conflicts_with_all = ["redis", "nats"])]
    pub(crate) postgres: Option<String>,

    /// How the names of Postgres channels begin; the servers of Node call it "channelPrefix".
    #[arg(
        long,
        value_name = "NAME",
        default_value = "socket.io",
        requires = "postgres"
    )]
    pub(crate) postgres_prefix: String,

    /// The table of messages that are too large for a notification; the servers of Node call it
    /// "tableName".
    #[arg(
        long,
        value_name = "NAME", value_parser = not_empty,
        default_value = "socket_io_attachments",
        requires = "postgres"
    )]
    pub(crate) postgres_table: String,

    /// Joins the cluster of all servers that use this NATS, such as nats://localhost:4222; several
    /// addresses are separated by commas. Servers of Node cannot join it.
    #[arg(long, value_name = "URL", value_parser = not_empty, conflicts_with = "redis")]
    pub(crate) nats: Option<String>,

    /// How the subjects on NATS begin.
    #[arg(
        long,
        value_name = "NAME", value_parser = subject,
        default_value = "socketio",
        requires = "nats"
    )]
    pub(crate) nats_prefix: String,

    /// Makes sticky sessions unnecessary: a request of another server's session is forwarded to that
    /// server. All servers need the same secret, of at least 16 bytes; better than here it stands in
    /// the environment variable SIO_CLUSTER_SECRET, where nobody sees it in the list of processes.
    #[arg(long, value_name = "SECRET", requires = "advertise")]
    pub(crate) cluster_secret: Option<String>,

    /// The address at which the other servers reach this one, past the load balancer.
    #[arg(long, value_name = "HOST:PORT", value_parser = advertised)]
    pub(crate) advertise: Option<String>,

    /// Listens for the other servers here, by plain HTTP. Needed where the main address serves TLS or
    /// expects the PROXY protocol.
    #[arg(long, value_name = "HOST:PORT", value_parser = address, requires = "advertise")]
    pub(crate) cluster_listen: Option<String>,

    /// A proxy in front, by address or network such as 10.0.0.0/8, whose X-Forwarded-For and
    /// X-Forwarded-Proto are believed. Can be given several times.
    #[arg(long, value_name = "NETWORK", value_parser = not_empty)]
    pub(crate) trusted_proxy: Vec<String>,

    /// The header that those proxies write; the other is not read.
    #[arg(long, value_enum, default_value_t = Forwarded::XForwardedFor, value_name = "HEADER")]
    pub(crate) forwarded_header: Forwarded,

    /// Leaves out the page /_sio/doctor, on which visitors find out why their browser does not connect.
    #[arg(long)]
    pub(crate) no_doctor: bool,

    /// Expects the PROXY protocol at the beginning of each connection, from load balancers by address or
    /// network such as 10.0.0.0/8; connections of others are dropped. Can be given several times.
    #[arg(long, value_name = "NETWORK", value_parser = not_empty)]
    pub(crate) proxy_protocol: Vec<String>,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as socketio=debug or
    /// warn,socketio::server=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_filter)]
    pub(crate) log: String,

    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum RedisAdapter {
    /// createAdapter of @socket.io/redis-adapter.
    #[default]
    Classic,
    /// createShardedAdapter of @socket.io/redis-adapter.
    Sharded,
    /// createAdapter of @socket.io/redis-streams-adapter.
    Streams,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum RedisSubscriptions {
    /// All but those that are a socket's own.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
    /// None.
    Static,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Forwarded {
    /// X-Forwarded-For and X-Forwarded-Proto.
    XForwardedFor,
    /// Forwarded, as in RFC 7239.
    Forwarded,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

const SERVE_HELP: &str = r#"Events from clients, in the namespace /:
  join     {"name":"Ada","room":"1"}                answers {"ok":true,"users":[{"id","name"}]}
  leave                                             answers nothing
  message  {"text":"hello"}                         answers true, or false without a room
  typing   true                                     answers nothing
  image    {"name":"a.png","type":"image/png","data":bytes}    answers true or false
  ping                                              answers nothing
Events to the others in the room:
  message  {"id","name","text","at"}                image   {"id","name","type","data","at"}
  typing   {"id","name","typing"}                   system  {"text"}
  users    [{"id","name"}]

Exit codes:
  0  it was asked to end, and has
  1  it failed: an address that it listens on is in use, say
  2  the arguments are wrong, or a file that they name

Examples:
  sio serve
  sio serve --port 8080 --cors https://app.example.com
  sio serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --log-format json
  sio serve --redis redis://redis:6379 --advertise 10.0.0.5:3000 --host 0.0.0.0
  sio serve --trusted-proxy 10.0.0.0/8 --metrics 127.0.0.1:9090 --recovery 120"#;

type Parsed<T> = Result<T, String>;

fn at_least_1<T: FromStr<Err = ParseIntError> + Default + PartialEq>(text: &str) -> Parsed<T> {
    match text.parse::<T>() {
        Ok(number) if number != T::default() => Ok(number),
        Ok(_) => Err("it must be at least 1".to_owned()),
        Err(error) => Err(format!("{error}: it must be a whole number of at least 1")),
    }
}

pub(crate) fn not_empty(text: &str) -> Parsed<String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A host and a port, which is what can be listened on.
fn address(text: &str) -> Parsed<String> {
    let is_host = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', ' ', '@']),
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("write host and port, as in 127.0.0.1:9090 or [::1]:9090".to_owned()),
    }
}

/// Likewise, to be connected to.
fn advertised(text: &str) -> Parsed<String> {
    let text = address(text)?;
    match text.ends_with(":0") {
        true => Err("nobody can connect to port 0: write the real one".to_owned()),
        false => Ok(text),
    }
}

/// What a URL can have as its path, and leaves the pages theirs.
fn path(text: &str) -> Parsed<String> {
    let is_kept = text.split('/').all(|part| part != "." && part != "..");
    let is_path = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b));
    match text.strip_prefix('/') {
        Some(rest) if !rest.trim_matches('/').is_empty() && is_kept && is_path => {
            Ok(text.to_owned())
        }
        Some("") => Err("the pages are there: write a path below it, as in /socket.io".to_owned()),
        _ => Err("it is no path of a URL: write it as in /socket.io".to_owned()),
    }
}

fn subject(text: &str) -> Parsed<String> {
    let is_part = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '*' || c == '>')
    };
    match text.split('.').all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("write words with dots between, as in socketio or app.socketio".to_owned()),
    }
}

/// A filter takes any word for the name of a module, and then logs nothing but that.
fn log_filter(text: &str) -> Parsed<String> {
    let is_known = |word: &str| {
        (!word.is_empty() && word.parse::<LevelFilter>().is_ok())
            || word.starts_with("socketio")
            || word.contains([':', '=', '[', ']', '{', '}'])
    };
    let levels = "off, error, warn, info, debug or trace";
    for word in text.split(',').map(str::trim) {
        if !is_known(word) {
            return Err(format!(
                "{word:?} is no level: write {levels}, or a module with its level, as in \
                 socketio=debug"
            ));
        }
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "{error}: write {levels}, or a module with its level, as in socketio=debug"
        )),
    }
}

/// Addresses as they may be shown: of a URL nobody sees who signs in, and what is no URL is not shown.
pub(crate) fn without_password(urls: &str) -> String {
    const NO_SCHEME: &str = "none://";
    let shown = |url: &str| {
        let url = match url.contains("://") {
            true => Url::parse(url),
            // NATS needs no scheme.
            false => Url::parse(&format!("{NO_SCHEME}{url}")),
        };
        match url {
            Ok(mut url) if url.has_host() => {
                let _ = url.set_username("").and_then(|()| url.set_password(None));
                url.set_query(None);
                url.as_str().trim_start_matches(NO_SCHEME).to_owned()
            }
            _ => "(not shown: it may have a password)".to_owned(),
        }
    };
    let shown: Vec<_> = urls.split(',').map(|url| shown(url.trim())).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn no_address_is_shown_with_its_password() {
        for (address, shown) in [
            ("redis://localhost:6379", "redis://localhost:6379"),
            ("redis://u:secret@h:1/2", "redis://h:1/2"),
            ("postgres://u:secret@h/x?password=secret", "postgres://h/x"),
            (
                "redis://a:1, redis://:secret@b:2",
                "redis://a:1,redis://b:2",
            ),
            ("u:secret@h:4222", "h:4222"),
            (
                "host=h password=secret",
                "(not shown: it may have a password)",
            ),
        ] {
            assert_eq!(without_password(address), shown, "{address}");
        }
    }

    /// The option of each command that takes a value, and its whole line with that value.
    fn lines(value: &str) -> Vec<(String, String, Vec<String>)> {
        let root = Args::command();
        let mut lines = Vec::new();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long() else {
                    continue;
                };
                if !argument.get_action().takes_values() {
                    continue;
                }
                let option = format!("--{long}");
                let mut line = vec!["sio".to_owned()];
                match command.get_name() {
                    "sio" => {}
                    "serve" => line.push("serve".to_owned()),
                    name => line.extend([name.to_owned(), "http://localhost:1".to_owned()]),
                }
                line.push(format!("{option}={value}"));
                let help = argument.get_long_help().or(argument.get_help());
                let help = help.map(ToString::to_string).unwrap_or_default();
                lines.push((option, help, line));
            }
        }
        lines
    }

    fn is_refused(line: &[String]) -> Option<String> {
        let error = Args::try_parse_from(line).err()?;
        // Another option that is needed, too, is no word on this one's value.
        let is_about_the_value = error.kind() != ErrorKind::MissingRequiredArgument;
        is_about_the_value.then(|| error.to_string())
    }

    #[test]
    fn what_can_be_0_says_what_that_means() {
        let mut tried = 0;
        for ((option, help, line), (_, _, word)) in lines("0").into_iter().zip(lines("x y")) {
            let is_number = is_refused(&word)
                .is_some_and(|error| error.contains("number") || error.contains("digit"));
            if !is_number {
                continue;
            }
            tried += 1;
            match is_refused(&line) {
                Some(error) => assert!(error.contains(&option), "{line:?}: {error}"),
                None => assert!(help.contains(" 0 "), "{line:?} is accepted: {help}"),
            }
        }
        assert!(tried > 20, "{tried}");
    }

    #[test]
    fn what_is_empty_is_refused_in_words_of_its_option() {
        // Here nothing is a value like others: a prefix, a room, a header, an event that has no name.
        let may_be_empty = [
            "--emit",
            "--event",
            "--except",
            "--join",
            "--leave",
            "--listen",
            "--namespace",
            "--postgres-prefix",
            "--prefix",
            "--redis-prefix",
            "--reply-event",
            "--to",
            "--cluster-secret",
        ];
        for (option, _, line) in lines("") {
            match is_refused(&line) {
                Some(error) => assert!(error.contains(&option), "{line:?}: {error}"),
                None => assert!(may_be_empty.contains(&&*option), "{line:?} is accepted"),
            }
        }
    }

    #[test]
    fn numbers_end_somewhere() {
        for (option, _, line) in lines("99999999999999999999") {
            if let Some(error) = is_refused(&line) {
                assert!(error.contains(&option), "{line:?}: {error}");
            }
        }
    }

    #[test]
    fn addresses_paths_and_filters_are_what_they_have_to_be() {
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (
                "--metrics",
                &["127.0.0.1:0", "localhost:9090", "[::1]:9090", "0.0.0.0:1"],
                &[
                    "9090",
                    ":9090",
                    "127.0.0.1",
                    "127.0.0.1:",
                    "::1:9090",
                    "http://localhost:9090",
                    "localhost:65536",
                    "[::1]",
                ],
            ),
            (
                "--advertise",
                &["10.0.0.5:3000", "host:1"],
                &["10.0.0.5", "host:0", "http://host:1"],
            ),
            (
                "--path",
                &["/socket.io", "/socket.io/", "/a/b", "/%20"],
                &[
                    "/",
                    "//",
                    "socket.io",
                    "/a b",
                    "/a?b",
                    "/a#b",
                    "/../a",
                    "/é",
                    "http://a/b",
                ],
            ),
            (
                "--log",
                &[
                    "off",
                    "info",
                    "WARN",
                    "3",
                    "socketio=debug",
                    "socketio",
                    "warn,socketio::server=debug",
                    "[request]=trace",
                    "info,hyper=off",
                ],
                &[
                    "loud",
                    "infos",
                    "info,loud",
                    "socketio=loud",
                    "info,",
                    ",",
                    "6",
                    "=",
                    "hyper",
                ],
            ),
            (
                "--nats-prefix",
                &["a", "a.b"],
                &["a b", "a.*", ">", ".", "a..b"],
            ),
        ];
        for (option, right, wrong) in cases {
            let parse = |value: &str| {
                is_refused(&["sio".into(), "serve".into(), format!("{option}={value}")])
            };
            for value in right {
                assert_eq!(parse(value), None, "{option} {value}");
            }
            for value in wrong {
                let error = parse(value).unwrap_or_else(|| panic!("{option} {value} is accepted"));
                assert!(error.contains(option) && error.contains(value), "{error}");
            }
        }
    }

    /// Each option of each command that takes seconds, with what no clock can add up.
    #[test]
    fn no_option_takes_seconds_without_end() {
        let mut tried = 0;
        let root = Args::command();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            let takes_seconds = command.get_arguments().filter(|argument| {
                argument
                    .get_value_names()
                    .is_some_and(|names| names == ["SECONDS"])
            });
            for argument in takes_seconds {
                let option = format!("--{}", argument.get_long().expect("a long option"));
                for value in [
                    "18446744073709551615",
                    "31536001",
                    "1e300",
                    "inf",
                    "NaN",
                    "-1",
                    "x",
                ] {
                    let given = format!("{option}={value}");
                    let line = match command.get_name() {
                        "sio" | "serve" => vec!["sio", &given],
                        name => vec!["sio", name, "http://localhost:1", &given],
                    };
                    let error = Args::try_parse_from(&line).expect_err(&given).to_string();
                    assert!(error.contains(&option) && error.contains(value), "{error}");
                    tried += 1;
                }
            }
        }
        assert!(tried >= 7 * 7, "{tried}");
    }
}
