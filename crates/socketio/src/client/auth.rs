//! What a client says of itself when it joins a namespace.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::config::Version;
use super::error::BuildError;
use crate::application::{Application, BoxFuture, Callback};

/// Where `auth` comes from. Texts of JSON objects.
#[derive(Clone)]
pub(crate) enum Auth {
    None,
    Provider(Arc<Provider>),
    Value(Arc<str>),
}

pub(crate) type Provider = dyn Fn() -> AuthFuture + Send + Sync;
type AuthFuture = BoxFuture<Result<String, String>>;

impl Auth {
    pub(crate) fn value(auth: &impl Serialize) -> Result<Auth, BuildError> {
        Ok(Auth::Value(object(auth).map_err(BuildError::Auth)?.into()))
    }

    /// Says whether a server could get it.
    pub(crate) fn check(&self, version: Version, nsp: &str) -> Result<(), BuildError> {
        match (self, version) {
            (Auth::None, _) | (_, Version::V4) => Ok(()),
            (Auth::Provider(_) | Auth::Value(_), Version::V2) if nsp == "/" => {
                Err(BuildError::NoAuth)
            }
            (Auth::Provider(_) | Auth::Value(_), Version::V2) => Ok(()),
        }
    }

    pub(crate) fn provider<F, Fut, T, E>(provider: F, application: &Arc<Application>) -> Auth
    where
        F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Display,
    {
        let provider = application.hold(provider);
        Auth::Provider(Arc::new(move || {
            let future = (*provider).clone()();
            Box::pin(async move {
                let auth = future.await.map_err(|error| error.to_string())?;
                object(&auth).map_err(|what| format!("it has to be a JSON object, not {what}"))
            })
        }))
    }
}

/// Waits for what a provider gives, but no longer than the timeout.
pub(crate) async fn provided(
    provider: Arc<Provider>,
    application: Arc<Application>,
    limit: Option<Duration>,
) -> Result<String, String> {
    let limit = limit.unwrap_or(Duration::MAX);
    let late = |_| Ok(Err(format!("it was not provided within {limit:?}")));
    let provide = application.run(Callback::AuthProvider, || provider());
    let provided = timeout(limit, provide).await.unwrap_or_else(late);
    provided.unwrap_or_else(|_| Err("what provides it has panicked".to_owned()))
}

/// The text of a JSON object, or what it is instead.
fn object(auth: &impl Serialize) -> Result<String, String> {
    match serde_json::to_value(auth) {
        Ok(object @ Value::Object(_)) => Ok(object.to_string()),
        Ok(Value::Null) => Ok(String::new()),
        Ok(other) => Err(other.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It mostly has a secret.
        f.write_str(match self {
            Auth::None => "None",
            Auth::Provider(_) => "Provider",
            Auth::Value(_) => "Value(..)",
        })
    }
}
