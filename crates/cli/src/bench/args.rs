//! The command line of `sio bench`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::stamp::SMALLEST;
use crate::args::not_empty;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct BenchArgs {
    /// The server, for example http://localhost:3000; the path is the namespace, the query is sent.
    pub(crate) url: String,

    /// What the connections do.
    #[arg(value_enum, default_value_t = Scenario::Echo)]
    pub(crate) scenario: Scenario,

    /// How many connections are opened.
    #[arg(long, short, value_name = "COUNT", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,

    /// How many messages of each connection are under way at once, without --rate.
    #[arg(long, short, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) depth: u32,

    /// The size of a message in bytes: one argument, a text of so many letters.
    #[arg(long, value_name = "BYTES", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(SMALLEST as i64..=16 << 20))]
    pub(crate) payload: u32,

    /// Sends bytes instead of a text.
    #[arg(long)]
    pub(crate) binary: bool,

    /// Sends so many messages per second over all connections, however fast the answers come (with
    /// `connect`: opens so many connections). Latency then counts from when a message was due.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,

    /// The seconds that are measured.
    #[arg(long = "for", value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    pub(crate) duration: Duration,

    /// The seconds of load before those that are measured; 0 for none.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,

    /// How many connections are opened per second; otherwise as fast as the server answers, 200 at a
    /// time.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ramp: Option<u32>,

    /// With `broadcast`: one in so many connections emits, and all receive.
    #[arg(long, value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) one_in: u32,

    /// Breaks each connection off so many times per second, at random moments: 0.1 is about every
    /// 10 s. It comes back by itself, as clients do, after half a second to one and a half.
    #[arg(long, value_name = "PER_SECOND", value_parser = jitter)]
    pub(crate) jitter: Option<f64>,

    /// The event that is emitted, if not the scenario's.
    #[arg(long, value_name = "NAME")]
    pub(crate) event: Option<String>,

    /// The event that comes back, if it has another name.
    #[arg(long, value_name = "NAME")]
    pub(crate) reply_event: Option<String>,

    /// How the connections are made.
    #[arg(long, value_enum, default_value_t = TransportChoice::Websocket)]
    pub(crate) transport: TransportChoice,

    /// The namespace, instead of the URL's path.
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// The path of the Socket.IO requests.
    #[arg(long, default_value = "/socket.io", value_parser = not_empty)]
    pub(crate) path: String,

    /// What the server gets as `auth`: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub(crate) auth: Option<serde_json::Value>,

    /// A header of the requests, as in "Name: value". Can be given several times.
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,

    /// Does not check the server's certificate.
    #[arg(long)]
    pub(crate) insecure: bool,

    /// A certificate in PEM which the server's may be signed with.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Writes the figures as JSON; - is the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Writes a page with the figures and plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Says that the owner of a server outside of private networks agrees.
    #[arg(long)]
    pub(crate) yes_i_may: bool,
}

impl BenchArgs {
    /// The event that is emitted.
    pub(crate) fn event(&self) -> &str {
        self.event
            .as_deref()
            .unwrap_or_else(|| self.scenario.event())
    }

    /// The event that comes back.
    pub(crate) fn reply_event(&self) -> &str {
        self.reply_event.as_deref().unwrap_or_else(|| self.event())
    }

    /// Refuses what cannot be meant together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let scenario = self.scenario;
        let is_one_of = |allowed: &[Scenario]| allowed.contains(&scenario);
        let unfit = [
            (
                self.jitter.is_some() && is_one_of(&[Scenario::Connect]),
                "--jitter",
            ),
            (
                self.rate.is_some() && is_one_of(&[Scenario::Idle]),
                "--rate",
            ),
            (
                self.event.is_some() && is_one_of(&[Scenario::Connect, Scenario::Idle]),
                "--event",
            ),
            (
                self.reply_event.is_some() && !is_one_of(&[Scenario::Broadcast, Scenario::Echo]),
                "--reply-event",
            ),
        ];
        if let Some((_, option)) = unfit.iter().find(|(is_unfit, _)| *is_unfit) {
            return Err(format!("{option} means nothing with `{scenario}`"));
        }
        if self.json.is_some() && self.json == self.html {
            return Err("--json and --html name the same file".to_owned());
        }
        Ok(())
    }
}

/// What the connections of a run do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Emit `message`, which the server emits back.
    Echo,
    /// Emit `ack` and wait for the answer.
    Ack,
    /// Some emit `broadcast`, which the server emits to all.
    Broadcast,
    /// Connect, join the namespace, leave, again and again.
    Connect,
    /// Connect and stay.
    Idle,
}

impl Scenario {
    /// The event's name where none is given.
    fn event(self) -> &'static str {
        match self {
            Scenario::Ack => "ack",
            Scenario::Broadcast => "broadcast",
            Scenario::Connect | Scenario::Echo | Scenario::Idle => "message",
        }
    }

    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Scenario::Ack => "answers",
            Scenario::Broadcast => "deliveries",
            Scenario::Connect => "connections",
            Scenario::Echo => "messages",
            Scenario::Idle => "nothing",
        }
    }

    /// What latency is.
    pub(crate) fn latency(self, has_rate: bool) -> &'static str {
        match (self, has_rate) {
            (Scenario::Ack, false) => "from the emit to the answer",
            (Scenario::Ack, true) => "from when a message was due to the answer",
            (Scenario::Broadcast, false) => "from the emit to each delivery",
            (Scenario::Broadcast, true) => "from when a message was due to each delivery",
            (Scenario::Connect, false) => "from the beginning until the namespace is joined",
            (Scenario::Connect, true) => "from when a connection was due until it has joined",
            (Scenario::Echo, false) => "from the emit to the receipt",
            (Scenario::Echo, true) => "from when a message was due to the receipt",
            (Scenario::Idle, _) => "none",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scenario::Ack => "ack",
            Scenario::Broadcast => "broadcast",
            Scenario::Connect => "connect",
            Scenario::Echo => "echo",
            Scenario::Idle => "idle",
        })
    }
}

/// How connections are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransportChoice {
    /// WebSocket from the beginning.
    Websocket,
    /// HTTP long-polling, and nothing else.
    Polling,
    /// Polling first, then WebSocket: what clients do by default.
    Upgrade,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    match (0.0..=MOST_SECONDS).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(format!("expected 0 to {MOST_SECONDS} seconds")),
    }
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    let duration = seconds(text)?;
    match duration.is_zero() {
        true => Err("expected more than 0 seconds".to_owned()),
        false => Ok(duration),
    }
}

fn jitter(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    match rate > 0.0 && rate <= 10.0 {
        true => Ok(rate),
        false => Err("expected more than 0, and at most 10 per second".to_owned()),
    }
}

fn object(text: &str) -> Result<serde_json::Value, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match value.is_object() {
        true => Ok(value),
        false => Err(r#"expected a JSON object such as {"token":"abc"}"#.to_owned()),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected \"Name: value\"".to_owned()),
    }
}

/// A day. Messages carry their time in 40 bits of microseconds, which is twelve.
const MOST_SECONDS: f64 = 86_400.0;

const HELP: &str = r#"What the server has to do, as a server in JavaScript would:
  echo       socket.on("message", (payload) => socket.emit("message", payload));
  ack        socket.on("ack", (payload, answer) => answer(payload));
  broadcast  socket.on("broadcast", (payload) => io.emit("broadcast", payload));
  connect    nothing
  idle       nothing

Each message begins with a number of its run, its connection, a sequence number and the time
when it was due, so that it has to come back as it was. Lost is what has not come when for 2 s
nothing came after the end; duplicated is what came twice; reordered came after a later one.
With `ack`, an answer is lost that does not come within 10 s, and its order is not looked at. With `broadcast`, every
connection has to get every message, also those that were sent while it was cut off. Bytes are
those of the payloads, without what the protocols add. Reports have the command line, but not what
--auth and --header say. A connection is an open file: see `ulimit -n` for how many may be.

Leaves with 0 when all went well, with 1 when nothing could be connected, with 2 when the
arguments are wrong, with 3 when there were errors or losses.

Examples:
  sio bench http://localhost:3000
  sio bench http://localhost:3000 ack --connections 1000 --rate 5000 --html report.html
  sio bench http://localhost:3000/chat broadcast --event say --reply-event said --for 60
  sio bench http://localhost:3000 idle --connections 10000 --ramp 500
  sio bench http://localhost:3000 --jitter 0.1 --json -"#;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(words: &[&str]) -> Result<BenchArgs, String> {
        let words = ["bench", "http://localhost"].iter().chain(words);
        let parsed = Words::try_parse_from(words).map_err(|error| error.to_string())?;
        parsed.bench.check().map(|()| parsed.bench)
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let args = parse(&[]).expect("right");
        assert_eq!(
            (args.scenario, args.connections, args.depth),
            (Scenario::Echo, 100, 8)
        );
        assert_eq!(
            (args.duration, args.warm_up),
            (Duration::from_secs(10), Duration::from_secs(1))
        );
        assert_eq!((args.event(), args.reply_event()), ("message", "message"));
    }

    #[test]
    fn the_reply_is_named_as_the_event_unless_it_has_a_name() {
        let args = parse(&["broadcast", "--event", "say"]).expect("right");
        assert_eq!((args.event(), args.reply_event()), ("say", "say"));
        let args = parse(&["--event", "say", "--reply-event", "said"]).expect("right");
        assert_eq!((args.event(), args.reply_event()), ("say", "said"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for words in [
            &["connect", "--jitter", "0.1"][..],
            &["idle", "--rate", "5"],
            &["idle", "--event", "x"],
            &["ack", "--reply-event", "x"],
            &["--json", "-", "--html", "-"],
            &["--for", "0"],
            &["--for", "nan"],
            &["--warm-up=-1"],
            &["--jitter", "0"],
            &["--jitter", "inf"],
            &["--payload", "8"],
            &["--connections", "0"],
            &["--auth", "[1]"],
            &["--header", "nothing"],
            &["no-such-scenario"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn headers_and_auth_are_read() {
        let words = [
            "--header",
            "Authorization: Bearer a:b",
            "--auth",
            r#"{"a":1}"#,
        ];
        let args = parse(&words).expect("right");
        assert_eq!(
            args.headers,
            [("Authorization".to_owned(), "Bearer a:b".to_owned())]
        );
        assert_eq!(args.auth, Some(serde_json::json!({ "a": 1 })));
    }
}
