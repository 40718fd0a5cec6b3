//! `sio serve`: listens, says where to look, and ends in order.

mod chat;
mod cluster;
mod pages;
mod watch;

use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use socketio::{
    ConfigError, Cors, CorsError, ForwardedHeader, PerMessageDeflate, Recovery, Routing, Server,
    TlsError,
};
use tracing_subscriber::EnvFilter;

use crate::args::{Forwarded, LogFormat, ServeArgs};

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves until Ctrl-C or SIGTERM; the exit code says how it went.
pub(crate) async fn run(options: ServeArgs) -> ExitCode {
    match serve(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sio: {error}");
            match error.is::<Usage>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The options are wrong, or a file that they name.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

async fn serve(options: ServeArgs) -> Result<(), BoxError> {
    log(&options);
    let io = server(&options)?;
    chat::register(&io);

    let mut taken = Vec::new();
    if let Some(address) = &options.metrics {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener
            .map_err(|error| format!("cannot listen on {address} for --metrics: {error}"))?;
        taken.push(("--metrics", listener.local_addr()?.port()));
        tracing::info!(address = %listener.local_addr()?, "answering /metrics, /healthz and /readyz");
        let router = watch::router(&io);
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    if let Some(address) = &options.cluster_listen {
        let listening = io
            .listen(address)
            .await
            .map_err(|error| format!("cannot listen on {address} for --cluster-listen: {error}"))?;
        taken.push(("--cluster-listen", listening.local_addr()?.port()));
        tracing::info!(address = %listening.local_addr()?, "listening for the other servers");
        tokio::spawn(listening.into_future());
    }
    let address = (options.host.as_str(), options.port);
    let listening = io.listen(address).await;
    let listening = listening.map_err(|error| cannot_listen(address, &error, &taken))?;
    let address = listening.local_addr()?;
    let listening = listening.fallback(pages::router(&options.path, !options.no_doctor));
    let scheme = match (&options.tls_cert, &options.tls_key) {
        (Some(_), Some(_)) => "https",
        _ => "http",
    };
    let listening = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            let listening = listening.tls(certificate, key);
            listening.map_err(|error| wrong_tls(&error, certificate, key))?
        }
        _ => listening,
    };
    let listening = match &options.proxy_protocol[..] {
        [] => listening,
        networks => {
            let proxied = listening.proxy_protocol(networks.iter().map(String::as_str));
            proxied.map_err(|error| wrong_options("--proxy-protocol", error))?
        }
    };
    match options.log_format {
        LogFormat::Text => {
            println!("sio {} is serving.", env!("CARGO_PKG_VERSION"));
            println!();
            println!("  a chat to try it    {scheme}://{address}/");
            println!("  for your clients    io(\"{scheme}://{address}\")");
            if !options.no_doctor {
                println!("  why it fails        {scheme}://{address}/_sio/doctor");
            }
            println!();
            println!(
                "Ctrl-C sends the clients away over {} s, a second one at once.",
                options.drain
            );
        }
        LogFormat::Json => tracing::info!(%address, scheme, "serving"),
    }

    let ending = async {
        asked_to_end().await;
        let window = Duration::from_secs(options.drain);
        // While clients are sent away the others are still served.
        tokio::select! {
            () = io.drain(window) => {}
            () = asked_to_end() => drop(tokio::time::timeout(FAREWELL, io.close()).await),
        }
    };
    let serving = tokio::spawn(listening.into_future());
    ending_or(serving, ending).await
}

/// Says why there is no listener at the main address; others have listened before.
fn cannot_listen(
    (host, port): (&str, u16),
    error: &io::Error,
    taken: &[(&'static str, u16)],
) -> BoxError {
    let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
    if let Some((option, _)) = taken.iter().find(|(_, other)| is_in_use && *other == port) {
        return Usage(format!(
            "{option} has the port of the server itself, {port} (--port): give it another one"
        ))
        .into();
    }
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => "try another --port",
        _ => "--host has to be an address or a name of this machine",
    };
    format!("cannot listen on {host}:{port}: {error}; {remedy}").into()
}

/// Says which file of a certificate and its key is to blame.
fn wrong_tls(error: &TlsError, certificate: &Path, key: &Path) -> Usage {
    let (certificate, key) = (certificate.display(), key.display());
    Usage(match error {
        TlsError::File { path, reason } if certificate.to_string() == key.to_string() => {
            format!("--tls-cert and --tls-key {path}: {reason}")
        }
        TlsError::File { path, reason } if *path == certificate.to_string() => {
            format!("--tls-cert {path}: {reason}")
        }
        TlsError::File { path, reason } => format!("--tls-key {path}: {reason}"),
        error => format!("--tls-cert {certificate} and --tls-key {key}: {error}"),
    })
}

/// Says in words of the options what the library says in its own.
fn wrong_options(proxy: &str, error: ConfigError) -> Usage {
    Usage(match error {
        ConfigError::Cors(CorsError::CredentialsForAll) => {
            "--cors '*' cannot be with --cors-credentials: browsers refuse that combination; name \
             the origins, as in --cors https://app.example.com"
                .to_owned()
        }
        ConfigError::Cors(CorsError::NotAnOrigin(given, right)) => format!(
            "--cors {given}: it is no origin: write it as {right}, without a path or a slash at \
             the end"
        ),
        ConfigError::Proxy(given) => format!(
            "{proxy} {given}: it is neither an address nor a network: write it as 10.1.2.3 \
             or 10.0.0.0/8"
        ),
        ConfigError::RoutingSecret => {
            format!("--cluster-secret or {SECRET} is too short: it needs at least 16 bytes")
        }
        ConfigError::RoutingAddress(given) => {
            format!("--advertise {given}: write host and port, as in 10.0.0.5:3000")
        }
        error => error.to_string(),
    })
}

/// Serves until the end that was asked for, or until serving fails.
async fn ending_or(
    mut serving: tokio::task::JoinHandle<std::io::Result<()>>,
    ending: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let mut ending = std::pin::pin!(ending);
    tokio::select! {
        served = &mut serving => match served? {
            // The server was closed, as the end does before it has ended.
            Ok(()) => ending.await,
            Err(error) => return Err(error.into()),
        },
        () = &mut ending => {}
    }
    Ok(())
}

/// The time that connections have to say goodbye after a second signal.
const FAREWELL: Duration = Duration::from_secs(1);

fn server(options: &ServeArgs) -> Result<Server, BoxError> {
    let mut builder = Server::builder()
        .path(&options.path)
        .max_payload(options.max_payload)
        .max_connections(options.max_connections)
        .max_handshakes_per_second(
            options.max_handshakes,
            options.max_handshakes.saturating_mul(2),
        )
        .trusted_proxies(options.trusted_proxy.iter().map(String::as_str))
        .forwarded_header(match options.forwarded_header {
            Forwarded::XForwardedFor => ForwardedHeader::XForwardedFor,
            Forwarded::Forwarded => ForwardedHeader::Forwarded,
        });
    if let Some(count) = options.max_tcp_connections {
        builder = builder.max_tcp_connections(count);
    }
    if let Some(count) = options.max_connections_per_address {
        builder = builder
            .max_connections_per_address(count)
            .ipv6_prefix(options.ipv6_prefix);
    }
    if let Some(seconds) = options.recovery {
        let recovery = Recovery::new().max_disconnection(Duration::from_secs(seconds));
        builder = builder.recovery(recovery);
    }
    builder = cluster::join(builder, options).map_err(Usage)?;
    if let Some(routing) = routing(options)? {
        builder = builder.routing(routing);
    }
    if options.allow_eio3 {
        builder = builder.allow_eio3();
    }
    if !options.allow_jsonp {
        builder = builder.without_jsonp();
    }
    if options.compress {
        builder = builder.per_message_deflate(PerMessageDeflate::new());
    }
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
    Ok(builder
        .try_build()
        .map_err(|error| wrong_options("--trusted-proxy", error))?)
}

fn routing(options: &ServeArgs) -> Result<Option<Routing>, Usage> {
    let secret = options.cluster_secret.clone();
    let secret = secret.or_else(|| std::env::var(SECRET).ok());
    match (&options.advertise, secret) {
        (Some(address), Some(secret)) => {
            let speaks_plainly = options.tls_cert.is_none() && options.proxy_protocol.is_empty();
            if !speaks_plainly && options.cluster_listen.is_none() {
                return Err(Usage(
                    "the other servers speak plain HTTP to this one: give them an address \
                     of their own with --cluster-listen, and --advertise that"
                        .to_owned(),
                ));
            }
            Ok(Some(Routing::new(address, secret)))
        }
        (Some(_), None) => Err(Usage(format!(
            "--advertise needs a secret: set {SECRET} or --cluster-secret"
        ))),
        (None, Some(_)) => Err(Usage(format!(
            "{SECRET} is set, but not the address at which the other servers reach this one: \
             give --advertise, or unset it"
        ))),
        (None, None) => Ok(None),
    }
}

/// The environment variable with the secret of all servers.
const SECRET: &str = "SIO_CLUSTER_SECRET";

fn log(options: &ServeArgs) {
    // The arguments were refused if it were no filter.
    let filter = EnvFilter::new(&options.log);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_end() {
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
