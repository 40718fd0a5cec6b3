//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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
    /// Starts a Socket.IO server with a chat to try it.
    Serve(ServeArgs),
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  sio serve
  sio serve --port 8080 --cors https://app.example.com
  sio serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --log-format json")]
pub(crate) struct ServeArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,

    /// The port to listen on; 0 lets the system choose one.
    #[arg(long, short, default_value_t = 3000)]
    pub(crate) port: u16,

    /// The path of the Socket.IO requests.
    #[arg(long, default_value = "/socket.io")]
    pub(crate) path: String,

    /// An origin (scheme, host and port) that browsers may connect from; * for all. Can be
    /// given several times.
    #[arg(long = "cors", value_name = "ORIGIN")]
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

    /// What is logged: error, warn, info, debug, trace, or a filter such as socketio=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,

    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
