//! `sio emit`: emits to the clients of all servers that share a Redis or a Postgres, from a shell.

use std::process::ExitCode;

use socketio::Args;
use socketio_adapters::{Emit as Emitter, EmitterError, Target, postgres, redis};
use socketio_proto::Printable;

use crate::args::{not_empty, without_password};
use crate::connect::emit::Emit;

#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Arguments are JSON, or @file:PATH, @hex:.. and @base64:.. for bytes. The servers, of Node or
others, have to use the Redis adapter (createAdapter of @socket.io/redis-adapter) or, with --postgres,
the Postgres adapter (@socket.io/postgres-adapter).

Examples:
  sio emit news '\"hello\"' --redis redis://localhost:6379
  sio emit 'user joined' '{\"name\":\"Ada\"}' --to 'room 1' --except 'room 2'
  sio emit --to 'user 7' --disconnect --close
  sio emit news 1 --postgres postgres://user:password@localhost/chat

Exit codes:
  0  handed to Postgres or to at least one server
  1  it failed: Redis or Postgres cannot be reached, or gives no answer within 5 seconds
  2  the arguments are wrong
  3  no server is there, as far as Redis knows; Postgres does not tell"
)]
pub(crate) struct EmitArgs {
    /// The event's name and its arguments.
    #[arg(value_name = "EVENT [ARG]", required_unless_present_any = ["join", "leave", "disconnect"])]
    words: Vec<String>,

    /// The Redis that the servers share.
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379", value_parser = not_empty)]
    redis: String,

    /// The Postgres that the servers share, instead of a Redis.
    #[arg(long, value_name = "URL", conflicts_with = "redis", value_parser = not_empty)]
    postgres: Option<String>,

    /// The prefix of the adapter's channels (its option `key` or `channelPrefix`).
    #[arg(long, default_value = "socket.io")]
    prefix: String,

    /// The table of large messages (the adapter's option `tableName`).
    #[arg(
        long,
        value_name = "NAME",
        default_value = "socket_io_attachments",
        value_parser = not_empty,
        requires = "postgres"
    )]
    table: String,

    /// The namespace.
    #[arg(long, short, default_value = "/")]
    namespace: String,

    /// A room whose sockets are meant; without one all are. Can be given several times.
    #[arg(long, value_name = "ROOM")]
    to: Vec<String>,

    /// A room whose sockets are left out. Can be given several times.
    #[arg(long, value_name = "ROOM")]
    except: Vec<String>,

    /// Lets the event be lost for clients that cannot take it at once.
    #[arg(long, requires = "words")]
    volatile: bool,

    /// Sends the event to the servers themselves instead of to clients.
    #[arg(long, requires = "words", conflicts_with_all = ["to", "except"])]
    server_side: bool,

    /// Makes the sockets join a room. Can be given several times.
    #[arg(long, value_name = "ROOM", conflicts_with = "words")]
    join: Vec<String>,

    /// Makes the sockets leave a room. Can be given several times.
    #[arg(long, value_name = "ROOM", conflicts_with = "words")]
    leave: Vec<String>,

    /// Makes the sockets leave the namespace.
    #[arg(long, conflicts_with = "words")]
    disconnect: bool,

    /// Closes their connections as well.
    #[arg(long, requires = "disconnect")]
    close: bool,
}

pub(crate) async fn run(args: EmitArgs) -> ExitCode {
    let emit = match args.words.is_empty() {
        true => None,
        false => match Emit::from_words(&args.words) {
            Ok(emit) => Some(emit),
            Err(error) => {
                eprintln!("sio: {error}");
                if let Some(corrected) = error.corrected_for_shell() {
                    eprintln!("  write: sio emit {corrected}");
                }
                return ExitCode::from(2);
            }
        },
    };
    let sent = match &args.postgres {
        None => to_redis(&args, emit).await,
        Some(url) => to_postgres(&args, url, emit).await,
    };
    sent.unwrap_or_else(|error| {
        let (option, url, example) = match &args.postgres {
            None => ("--redis", &args.redis, "redis://localhost:6379"),
            Some(url) => ("--postgres", url, "postgres://user:password@localhost/name"),
        };
        // Whoever answered there may have made a part of it.
        let text = Printable::new(&error).up_to(2000);
        match &error {
            EmitterError::Address(_) => {
                eprintln!("sio: {option}: {text}; it looks like {example}");
                ExitCode::from(2)
            }
            EmitterError::Backend(_) => {
                let address = without_password(url);
                eprintln!(
                    "sio: {option} {address}: {text}; is it running, and is this its address?"
                );
                ExitCode::FAILURE
            }
            _ => {
                eprintln!("sio: {text}");
                ExitCode::from(2)
            }
        }
    })
}

async fn to_redis(args: &EmitArgs, emit: Option<Emit>) -> Result<ExitCode, EmitterError> {
    let emitter = redis::Emitter::connect(&args.redis).await?;
    let target = emitter.prefix(&args.prefix).of(&args.namespace);
    Ok(match send(args, &target, emit).await? {
        None | Some(0) => {
            eprintln!(
                "sio: no server listens: compare --redis, --prefix and --namespace with what the \
                 servers use, and check that they use the Redis adapter"
            );
            ExitCode::from(3)
        }
        Some(1) => told("handed to 1 server"),
        Some(servers) => told(&format!("handed to {servers} servers")),
    })
}

async fn to_postgres(
    args: &EmitArgs,
    url: &str,
    emit: Option<Emit>,
) -> Result<ExitCode, EmitterError> {
    let emitter = postgres::Emitter::connect(url).await?;
    let emitter = emitter.prefix(&args.prefix).table(&args.table);
    send(args, &emitter.of(&args.namespace), emit).await?;
    Ok(told("handed to Postgres"))
}

fn told(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::SUCCESS
}

/// Does all that is asked for; gives what the backend says of the last.
async fn send<E: Emitter + Clone>(
    args: &EmitArgs,
    namespace: &Target<E>,
    emit: Option<Emit>,
) -> Result<Option<E::Receipt>, EmitterError> {
    let target = || {
        let target = namespace.clone().to(args.to.clone());
        let target = target.except(args.except.clone());
        if args.volatile {
            target.volatile()
        } else {
            target
        }
    };
    let mut receipt = None;
    if let Some(emit) = emit {
        let values = Args::from_values(&emit.args)?;
        receipt = Some(match args.server_side {
            true => target().server_side_emit(&emit.name, values).await?,
            false => target().emit(&emit.name, values).await?,
        });
    }
    if !args.join.is_empty() {
        receipt = Some(target().sockets_join(args.join.clone()).await?);
    }
    if !args.leave.is_empty() {
        receipt = Some(target().sockets_leave(args.leave.clone()).await?);
    }
    if args.disconnect {
        receipt = Some(match args.close {
            true => target().disconnect_and_close_sockets().await?,
            false => target().disconnect_sockets().await?,
        });
    }
    Ok(receipt)
}
