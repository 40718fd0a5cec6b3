//! How Postgres is reached.

use socketio_proto::Printable;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Postgres is awaited so long.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(super) const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Where Postgres is, and who connects. A handle: cheap to clone.
#[derive(Clone)]
pub(super) struct Address(Arc<Inner>);

struct Inner {
    config: Config,
    /// Made when it is needed: reading the platform's certificates takes milliseconds.
    tls: OnceCell<MakeRustlsConnect>,
}

/// Why an address of Postgres cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the address of Postgres: {0}")]
pub struct PostgresAddressError(String);

pub(super) type Connection =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Address {
    pub(super) fn new(url: &str) -> Result<Address, PostgresAddressError> {
        let parsed = url.parse::<Config>();
        let mut config = parsed.map_err(|error| PostgresAddressError(explain(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresAddressError("it names no host".to_owned()));
        }
        // A certificate is verified or not asked for, as in Node. Many a Postgres has one that nobody signed.
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_application_name().is_none() {
            config.application_name("socketio");
        }
        let tls = OnceCell::new();
        Ok(Address(Arc::new(Inner { config, tls })))
    }

    /// Connects, within a deadline. The connection has to be polled.
    pub(super) async fn connect(&self) -> Result<(Client, Connection), String> {
        let connecting = async {
            let needs_roots = self.0.config.get_ssl_mode() != SslMode::Disable;
            let tls = self.0.tls.get_or_init(|| tls(needs_roots)).await.clone();
            self.0.config.connect(tls).await
        };
        match timeout(ANSWER, connecting).await {
            Ok(connected) => connected.map_err(|error| explain(&error)),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// Connects, within a deadline.
    pub(super) async fn open(&self) -> Result<Line, String> {
        let (client, connection) = self.connect().await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Line { client, driver })
    }
}

/// A connection with the task that drives it, which ends with it.
pub(super) struct Line {
    pub(super) client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn tls(needs_roots: bool) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    if needs_roots {
        let loading = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
        match loading.await {
            Ok(loaded) => drop(roots.add_parsable_certificates(loaded.certs)),
            Err(error) => {
                tracing::warn!(error = %Printable::new(&error), "the platform's certificates cannot be read")
            }
        }
    }
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

/// An error with its causes.
pub(super) fn explain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Address::new(url).unwrap().0.config.clone()
    }

    #[test]
    fn tls_is_used_when_it_is_asked_for() {
        let url = "postgres://ada:pw@localhost:5433/chat";
        assert_eq!(config(url).get_ssl_mode(), SslMode::Disable);
        let url = format!("{url}?sslmode=require");
        assert_eq!(config(&url).get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "http://x",
            "postgres:///x",
            "postgres://localhost/x?y=z",
        ] {
            assert!(Address::new(url).is_err(), "{url}");
        }
    }
}
