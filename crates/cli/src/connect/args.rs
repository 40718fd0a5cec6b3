//! The options of `sio connect`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, ValueEnum};

use super::emit::{Emit, QUOTATION, for_shell};
use crate::args::{YEAR, not_empty};

#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "sio connect <URL> [OPTIONS]",
    after_help = HELP
)]
pub(crate) struct ConnectArgs {
    /// Where the server is; the path is the namespace, as in http://localhost:3000/admin.
    pub(super) url: String,

    #[command(flatten)]
    pub(super) emits: Emits,

    /// Waits for the answer to each emit, and prints it.
    #[arg(long, requires = "emit")]
    pub(super) ack: bool,

    /// Stays and prints what comes: only these events if some are named.
    ///
    /// Without it a command with --emit leaves when all is sent and answered.
    #[arg(long, value_name = "EVENT", num_args = 0..)]
    pub(super) listen: Option<Vec<String>>,

    /// Leaves after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,

    /// Leaves after a time.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(super) time: Option<Duration>,

    /// Prints one JSON object a line on stdout, for programs.
    #[arg(long)]
    pub(super) json: bool,

    /// When the output is colored; NO_COLOR is heeded.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub(super) color: Color,

    /// The namespace, instead of the URL's path.
    #[arg(long, help_heading = CONNECTION)]
    pub(super) namespace: Option<String>,

    /// The path of the Socket.IO requests.
    #[arg(long, help_heading = CONNECTION, value_parser = not_empty)]
    pub(super) path: Option<String>,

    /// What the server's middlewares get: a JSON object, or @file to read it from one.
    #[arg(long, help_heading = CONNECTION, value_name = "JSON", value_parser = auth)]
    pub(super) auth: Option<serde_json::Value>,

    /// A parameter of the requests' query. Can be given several times.
    #[arg(long, help_heading = CONNECTION, value_name = "K=V", value_parser = query)]
    pub(super) query: Vec<(String, String)>,

    /// A header of the requests. Can be given several times.
    #[arg(long, help_heading = CONNECTION, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) header: Vec<(String, String)>,

    /// A transport to be used; given twice, in this order.
    #[arg(long, help_heading = CONNECTION, value_enum)]
    pub(super) transport: Vec<Transport>,

    /// Stays with the first transport.
    #[arg(long, help_heading = CONNECTION)]
    pub(super) no_upgrade: bool,

    /// The version of the clients that the server is made for: 4 (also 3), or 2 (also 1).
    #[arg(long, help_heading = CONNECTION, value_name = "VERSION", value_enum, default_value_t = ClientVersion::V4)]
    pub(super) client_version: ClientVersion,

    /// What packets are encoded with; the server must use the same.
    #[arg(long, help_heading = CONNECTION, value_enum, default_value_t = Parser::Json)]
    pub(super) parser: Parser,

    /// An HTTP proxy to go through.
    #[arg(long, help_heading = CONNECTION, value_name = "URL", conflicts_with = "unix_socket", value_parser = not_empty)]
    pub(super) proxy: Option<String>,

    /// A file with the certificates (PEM) of the authorities to be trusted.
    #[arg(long, help_heading = CONNECTION, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,

    /// The client's certificate (PEM).
    #[arg(long, help_heading = CONNECTION, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<PathBuf>,

    /// The key (PEM) of the client's certificate.
    #[arg(long, help_heading = CONNECTION, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,

    /// Accepts any certificate of the server: anybody may then read and change what is sent.
    #[arg(long, help_heading = CONNECTION)]
    pub(super) insecure: bool,

    /// A Unix socket to connect to; the URL still tells host and namespace.
    #[arg(long, help_heading = CONNECTION, value_name = "PATH")]
    pub(super) unix_socket: Option<PathBuf>,

    /// How long an attempt to connect may take.
    #[arg(long, help_heading = CONNECTION, value_name = "SECONDS", value_parser = seconds, default_value = "20")]
    pub(super) timeout: Duration,

    /// Leaves when the connection is lost, instead of connecting again.
    #[arg(long, help_heading = CONNECTION)]
    pub(super) no_reconnect: bool,

    /// How long an answer may take.
    #[arg(long, help_heading = CONNECTION, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub(super) ack_timeout: Duration,
}

impl ConnectArgs {
    /// Says whether something other than the end of the work says when to leave.
    pub(super) fn is_listening(&self) -> bool {
        self.listen.is_some() || self.count.is_some() || self.time.is_some()
    }
}

/// The heading of the options of the connection.
const CONNECTION: &str = "Connection";

/// The words of each `--emit`, which a list of texts would not keep apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Emits(Vec<Vec<String>>);

impl Emits {
    /// Reads the events. An error is told with the right quoting.
    pub(super) fn events(&self) -> Result<Vec<Emit>, String> {
        let event = |words: &Vec<String>| {
            Emit::from_words(words).map_err(|error| match error.corrected_for_shell() {
                Some(corrected) => {
                    format!("--emit: {error}; {QUOTATION}\n  write: --emit {corrected}")
                }
                None => format!("--emit: {error}"),
            })
        };
        self.0.iter().map(event).collect()
    }
}

impl clap::Args for Emits {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new("emit")
                .long("emit")
                .value_names(["EVENT", "ARGS"])
                .num_args(1..)
                .allow_negative_numbers(true)
                .action(ArgAction::Append)
                .help("Emits an event, once connected. Can be given several times")
                .long_help(
                    "Emits an event, once connected: its name and its arguments, in one text or in a \
                     word each. Can be given several times.\n\n\
                     Arguments are JSON, so text stands in quotation marks; @file:PATH, @hex:.. and \
                     @base64:.. are bytes.",
                ),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Emits::augment_args(command)
    }
}

impl FromArgMatches for Emits {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Emits, clap::Error> {
        let given = matches.get_occurrences("emit").into_iter().flatten();
        Ok(Emits(given.map(|words| words.cloned().collect()).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Emits::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ClientVersion {
    #[value(name = "2", alias = "1")]
    V2,
    #[value(name = "4", alias = "3")]
    V4,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Color {
    Always,
    Auto,
    Never,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Parser {
    Json,
    Msgpack,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Transport {
    Polling,
    Websocket,
}

type BoxError = Box<dyn Error + Send + Sync>;

fn seconds(text: &str) -> Result<Duration, BoxError> {
    let seconds: f64 = text.parse()?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && duration.as_secs() <= YEAR => Ok(duration),
        _ => Err(format!("it must be more than 0, and at most {YEAR}, a year").into()),
    }
}

fn auth(text: &str) -> Result<serde_json::Value, BoxError> {
    let json = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?,
        None => text.to_owned(),
    };
    let example = r#"write it like '{"token":"secret"}'"#;
    match serde_json::from_str(&json) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err(format!("it must be a JSON object: {example}").into()),
        Err(error) => Err(format!("it is not JSON: {error}; {example}").into()),
    }
}

fn query(text: &str) -> Result<(String, String), BoxError> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn header(text: &str) -> Result<(String, String), BoxError> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        let (name, value) = text.split_once([' ', '=']).unwrap_or((text, "value"));
        format!(
            "a colon is missing: {}",
            for_shell(&format!("{name}: {value}"))
        )
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

const HELP: &str = r#"Examples:
  sio connect http://localhost:3000
      a prompt: move {"x":1} emits, ack move {"x":1} waits for the answer, /help tells the rest
  sio connect http://localhost:3000 --emit 'chat message' '"hi"' --ack
  sio connect http://localhost:3000 --emit 'move {"x":1} [2,3] @file:picture.png'
  sio connect https://example.com/admin --auth '{"token":"secret"}' --listen alarm news
  sio connect http://localhost:3000 --emit join '"room 1"' --count 3 --for 10 --json | jq .args
  printf 'join "room 1"\nack count\n' | sio connect http://localhost:3000

Exit codes:
  0    all is done
  1    it could not connect: nobody there, no answer in time, or refused
  2    the arguments, or a line that was piped in, are wrong
  3    an event was not sent, an answer did not come, or --for ended before --count events came
  4    the connection ended before all was done
  130  Ctrl-C before all was done (0 when it only listened)

With --json each line of stdout is an object; "at" is the time in milliseconds since 1970.
  {"type":"connect","id":"..","namespace":"/","transport":"polling","recovered":false,"at":..}
  {"type":"connect_error","message":"..","at":..}    also status, detail, data, hint
  {"type":"upgrade","transport":"websocket","at":..}
  {"type":"event","name":"..","args":[..],"wants_ack":false,"at":..}
  {"type":"sent","name":"..","args":[..],"at":..}
  {"type":"ack","name":"..","args":[..],"ms":12,"at":..}    ms: how long it took
  {"type":"ack_error","name":"..","message":"..","at":..}
  {"type":"disconnect","reason":"..","will_reconnect":true,"at":..}    also detail, hint
  {"type":"reconnecting","attempt":1,"at":..}
Bytes are {"base64":".."}. Further types and keys may come, so leave alone what you do not know.
"#;

#[cfg(test)]
mod tests {
    use clap::Parser;
    use socketio::Value;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ConnectArgs,
    }

    fn parse(words: &[&str]) -> Result<ConnectArgs, String> {
        let words = ["sio", "http://localhost"].iter().chain(words);
        Line::try_parse_from(words)
            .map(|line| line.args)
            .map_err(|error| error.to_string())
    }

    fn refused(words: &[&str]) -> String {
        parse(words).expect_err("wrong arguments")
    }

    #[test]
    fn emits_are_texts_or_words_in_their_order() {
        let words = [
            "--emit",
            "move 1 [2]",
            "--ack",
            "--emit",
            "chat message",
            r#""hi""#,
            "-3",
        ];
        let args = parse(&words).unwrap();
        let emit = |name: &str, args| Emit {
            name: name.to_owned(),
            args,
        };
        let expected = [
            emit(
                "move",
                vec![Value::from(1), Value::from(vec![Value::from(2)])],
            ),
            emit("chat message", vec![Value::from("hi"), Value::from(-3)]),
        ];
        assert_eq!(args.emits.events().unwrap(), expected);
        assert!(args.ack && !args.is_listening());
    }

    #[test]
    fn a_wrong_emit_is_told_with_the_right_quoting() {
        for (words, expected) in [
            (
                ["--emit", "chat hello you"].as_slice(),
                "--emit: hello you is not JSON; text stands in quotation marks\n  \
                 write: --emit 'chat \"hello you\"'",
            ),
            (
                &["--emit", "a", "@hex:0"],
                "--emit: @hex:0: these are not pairs of digits 0-9, a-f",
            ),
        ] {
            let args = parse(words).unwrap();
            assert_eq!(args.emits.events(), Err(expected.to_owned()));
        }
    }

    #[test]
    fn listening_takes_no_events_or_some() {
        assert_eq!(parse(&["--listen"]).unwrap().listen, Some(vec![]));
        let args = parse(&["--listen", "a", "b c", "--for", "0.5"]).unwrap();
        assert_eq!(args.listen, Some(vec!["a".to_owned(), "b c".to_owned()]));
        assert_eq!(args.time, Some(Duration::from_millis(500)));
    }

    #[test]
    fn values_are_read() {
        let args = parse(&[
            "--auth",
            r#"{"a":1}"#,
            "--query",
            "k=v=w",
            "--header",
            "X-A: b: c",
            "--transport",
            "websocket",
            "--transport",
            "polling",
            "--client-version",
            "3",
        ]);
        let args = args.unwrap();
        assert_eq!(args.auth, Some(serde_json::json!({"a": 1})));
        assert_eq!(args.query, [("k".to_owned(), "v=w".to_owned())]);
        assert_eq!(args.header, [("X-A".to_owned(), "b: c".to_owned())]);
        assert_eq!(args.transport, [Transport::Websocket, Transport::Polling]);
        assert_eq!(args.client_version, ClientVersion::V4);
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        for (words, expected) in [
            (
                ["--auth", "[1]"],
                r#"it must be a JSON object: write it like '{"token":"secret"}'"#,
            ),
            (["--header", "X-A b"], "a colon is missing: 'X-A: b'"),
            (["--query", "k"], "it must be KEY=VALUE"),
            (["--for", "0"], "it must be more than 0"),
            (["--cert", "x"], "--key <FILE>"),
            (["--count", "0"], "0 is not in 1.."),
        ] {
            let error = refused(&words);
            assert!(error.contains(expected), "{error}");
        }
        assert!(refused(&["--ack"]).contains("--emit"));
    }
}
