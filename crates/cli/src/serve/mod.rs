//! `sio serve`: listens, says where to look, and ends in order.

mod chat;
mod pages;

use std::error::Error;
use std::io::IsTerminal;

use socketio::{Cors, Server};
use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, ServeArgs};

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(options: ServeArgs) -> Result<(), BoxError> {
    log(&options)?;
    let io = server(&options)?;
    chat::register(&io);
    log_refusals(&io);

    let address = (options.host.as_str(), options.port);
    let listening = io.listen(address).await.map_err(|error| {
        format!(
            "cannot listen on {}:{}: {error}; try another --port",
            options.host, options.port
        )
    })?;
    let address = listening.local_addr()?;
    let listening = listening.fallback(pages::router(&options.path));
    let scheme = match (&options.tls_cert, &options.tls_key) {
        (Some(_), Some(_)) => "https",
        _ => "http",
    };
    let listening = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => listening.tls(certificate, key)?,
        _ => listening,
    };
    match options.log_format {
        LogFormat::Text => {
            println!("sio {} is serving.", env!("CARGO_PKG_VERSION"));
            println!();
            println!("  a chat to try it    {scheme}://{address}/");
            println!("  for your clients    io(\"{scheme}://{address}\")");
            println!();
            println!("Ctrl-C ends it.");
        }
        LogFormat::Json => tracing::info!(%address, scheme, "serving"),
    }

    tokio::select! {
        served = listening.into_future() => served?,
        () = asked_to_end() => {
            tracing::info!(clients = io.clients_count(), "closing");
            io.close().await;
            let _ = tokio::time::timeout(FAREWELL, async {
                while io.clients_count() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
    Ok(())
}

/// The time that connections have to say goodbye.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

fn server(options: &ServeArgs) -> Result<Server, BoxError> {
    let mut builder = Server::builder().path(&options.path);
    if !options.cors.is_empty() {
        let any = options.cors.iter().any(|origin| origin == "*");
        let mut cors = match any {
            true => Cors::new(),
            false => Cors::new().origins(options.cors.iter().map(String::as_str)),
        };
        if options.cors_credentials {
            cors = cors.allow_credentials();
        }
        builder = builder.cors(cors);
    }
    Ok(builder.try_build()?)
}

fn log(options: &ServeArgs) -> Result<(), BoxError> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| {
        format!(
            "--log {:?}: {error}; use a level such as info or debug",
            options.log
        )
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Says why a client could not connect, in words.
fn log_refusals(io: &Server) {
    io.on_connection_error(|error| {
        tracing::warn!(
            code = error.code,
            context = %error.context,
            address = error.request.address.map(tracing::field::display),
            "refused: {}; {}",
            error.message,
            error.hint
        );
    });
}

async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler for signals the process ends by the signal itself.
    let _ = tokio::signal::ctrl_c().await;
}
