//! The doctor, with a client's own settings.

use http::header::{COOKIE, HOST};
use socketio_doctor::{Authority, Client, Cookie, Header, InvalidOption, Options, Report, examine};
use thiserror::Error;

use super::auth::{self, Auth};
use super::config::Version;
use super::dial::Pem;
use super::socket::Socket;

/// Why a client cannot be examined by [`Socket::diagnose`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// What gives `auth` has failed, or took longer than the client's timeout.
    #[error("auth could not be provided: {0}")]
    Auth(String),
    /// The doctor cannot use one of the client's settings.
    #[error("the doctor cannot use a setting of the client: {0}")]
    Setting(#[from] InvalidOption),
    /// The client connects to a Unix socket, where the doctor has nothing to look at.
    #[error("servers behind a Unix socket are not examined")]
    UnixSocket,
}

impl Socket {
    /// Examines the server as this client meets it, and says what keeps it from connecting.
    ///
    /// It makes the checks of `sio doctor` in this process, beside the connection that there may be: at
    /// most 40 requests, at most 4 at once, within 10 s. It opens and ends sessions of its own, joins the
    /// namespace in some of them, and emits nothing. The socket need not be connected.
    ///
    /// It has the client's URL, query, path, namespace, `auth` (a provider is asked once), headers,
    /// cookies, version, transports and authorities, and goes on with a wrong certificate where the
    /// client does. It goes straight to the server, whatever proxies and local address the client uses,
    /// shows no certificate of the client, ends the path with a slash, speaks JSON, and does not send the
    /// client's header `Host`. `auth`, the values of headers and cookies, and ids of sessions are not in
    /// the report.
    ///
    /// Needs the feature `doctor`.
    ///
    /// # Errors
    ///
    /// When `auth` cannot be provided, or when a setting cannot be used. What is wrong with the server
    /// stands in the report.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the examination at once. A session over polling that is open then ends
    /// when the server hears nothing of it for its ping timeout.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use socketio::Client;
    /// use socketio::doctor::Language;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let socket = Client::builder("https://example.com/chat").build()?;
    /// if let Err(error) = socket.connect().await {
    ///     eprintln!("{error}");
    ///     eprint!("{}", socket.diagnose().await?.to_text(Language::English));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn diagnose(&self) -> Result<Report, DiagnoseError> {
        Ok(examine(&self.doctor_options().await?).await?)
    }

    async fn doctor_options(&self) -> Result<Options, DiagnoseError> {
        let shared = self.shared();
        let config = &shared.config;
        if config.dialer.is_unix() {
            return Err(DiagnoseError::UnixSocket);
        }
        let origin = config.address.origin();
        let mut options = Options::new(format!("{origin}/?{}", config.query));
        options.path = config.path.to_string();
        options.namespace = Some(self.namespace().to_owned());
        let auth = self.current_auth().await.map_err(DiagnoseError::Auth)?;
        options.auth = serde_json::from_str(&auth).ok();
        let mut headers = config.headers.clone();
        let url = format!("{origin}{}", config.path);
        shared.cookies.add(&url, &mut headers);
        for (name, value) in &headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            match *name {
                HOST => {}
                COOKIE => {
                    let pairs = value.split("; ").filter(|pair| pair.contains('='));
                    let cookies: Result<Vec<Cookie>, _> = pairs.map(str::parse).collect();
                    options.cookies.extend(cookies?);
                }
                _ => options.headers.push(Header::new(name.as_str(), &value)?),
            }
        }
        let trusted = config.dialer.trusted();
        options.insecure = trusted.danger_accept_invalid_certificates;
        let authorities = trusted.root_certificates.iter().map(|pem| match pem {
            Pem::Bytes(bytes) => Authority::Pem(bytes.clone()),
            Pem::File(path) => Authority::File(path.clone()),
        });
        options.authorities = authorities.collect();
        let (major, revision) = match config.version {
            Version::V2 => (2, 3),
            Version::V4 => (4, 4),
        };
        options.client = Some(Client {
            name: "rust".to_owned(),
            major,
            revision,
        });
        options.transport = config.only_transport();
        Ok(options)
    }

    /// The text of what the client says of itself now; empty if it says nothing.
    async fn current_auth(&self) -> Result<String, String> {
        let auth = self.core.auth.lock().clone();
        let provider = match auth {
            Auth::None => return Ok(String::new()),
            Auth::Value(auth) => return Ok(auth.to_string()),
            Auth::Provider(provider) => provider,
        };
        let shared = self.shared();
        let limit = shared.with_state(|state| state.machine.config().timeout);
        auth::provided(provider, shared.application.clone(), limit).await
    }
}
