//! CORS: which pages of other origins a browser lets talk to the server.
//!
//! Headers and their order are those of the reference's middleware. Nothing here guards WebSocket
//! connections: browsers do not ask before they open one.
//! Specification: Fetch, "HTTP-CORS protocol".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use regex::Regex;
use thiserror::Error;

use crate::application::{Application, Callback, Held};

/// Which origins may use the server from a browser, and how.
///
/// # Examples
///
/// ```
/// use socketio::{Cors, Server};
///
/// let io = Server::builder()
///     .cors(Cors::new().origins(["https://app.example.com"]).allow_credentials())
///     .build();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cors {
    origin: Origin,
    credentials: bool,
    methods: String,
    allowed_headers: Option<String>,
    exposed_headers: Option<String>,
    max_age: Option<Duration>,
    options_success_status: StatusCode,
    preflight_continue: bool,
}

#[derive(Clone)]
enum Origin {
    Any,
    Fixed(String),
    /// Those that are allowed are reflected.
    Reflected(Vec<Allowed>),
}

#[derive(Clone)]
enum Allowed {
    All,
    Exactly(String),
    Pattern(Result<Regex, String>),
    Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

/// Why CORS options make no sense.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CorsError {
    /// A browser takes no credentials where every origin is allowed.
    #[error(
        "CORS: credentials cannot be allowed for every origin (`*`): browsers refuse that combination; name the origins with `origins([..])`"
    )]
    CredentialsForAll,
    /// The list of origins is empty, or an origin is.
    #[error(
        "CORS: no origin is allowed: name at least one in `origins([..])`, or leave `cors` out"
    )]
    NoOrigin,
    /// An origin is scheme, host and port, and nothing else.
    #[error(
        "CORS: {0:?} is not an origin: write it as {1:?}, without a path or a slash at the end"
    )]
    NotAnOrigin(String, String),
    /// An origin has characters that no browser sends.
    #[error(
        "CORS: {0:?} is never an origin: browsers send names beyond ASCII encoded (`xn--..`), and no spaces"
    )]
    NotAscii(String),
    /// A pattern is not a regular expression.
    #[error("CORS: a pattern of origins is not a regular expression: {0}")]
    Pattern(String),
}

/// What is to be done with a request after its headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    Continue,
    /// It was a preflight: it is answered with this status and goes no further.
    Preflight(StatusCode),
}

impl Cors {
    /// Allows every origin, without credentials.
    pub fn new() -> Cors {
        Cors {
            origin: Origin::Any,
            credentials: false,
            methods: "GET,HEAD,PUT,PATCH,POST,DELETE".to_owned(),
            allowed_headers: None,
            exposed_headers: None,
            max_age: None,
            options_success_status: StatusCode::NO_CONTENT,
            preflight_continue: false,
        }
    }

    /// Names one origin in every answer, whoever asks; `*` stands for all.
    pub fn origin(mut self, origin: impl Into<String>) -> Cors {
        self.origin = match origin.into() {
            all if all == "*" => Origin::Any,
            origin => Origin::Fixed(origin),
        };
        self
    }

    /// Allows these origins: the answer names the one that asks.
    pub fn origins<'a>(self, origins: impl IntoIterator<Item = &'a str>) -> Cors {
        let origins = origins
            .into_iter()
            .map(|origin| Allowed::Exactly(origin.to_owned()));
        self.reflect(origins)
    }

    /// Allows the origins that match a regular expression.
    #[doc(alias = "RegExp")]
    pub fn origin_pattern(self, pattern: &str) -> Cors {
        let pattern = Regex::new(pattern).map_err(|error| error.to_string());
        self.reflect([Allowed::Pattern(pattern)])
    }

    /// Allows the origins that a function accepts. It must not block; one that panics has accepted nothing.
    pub fn origin_fn(self, accept: impl Fn(&str) -> bool + Send + Sync + 'static) -> Cors {
        let accept = Held::uncounted(accept);
        let accept = move |origin: &str| (*accept)(origin);
        self.reflect([Allowed::Predicate(Arc::new(accept))])
    }

    /// Allows every origin by naming the one that asks, so that credentials are possible.
    pub fn mirror_origin(self) -> Cors {
        self.reflect([Allowed::All])
    }

    fn reflect(mut self, more: impl IntoIterator<Item = Allowed>) -> Cors {
        let mut allowed = match self.origin {
            Origin::Reflected(allowed) => allowed,
            Origin::Any | Origin::Fixed(_) => Vec::new(),
        };
        allowed.extend(more);
        self.origin = Origin::Reflected(allowed);
        self
    }

    /// Lets browsers send cookies and read the answers.
    pub fn allow_credentials(mut self) -> Cors {
        self.credentials = true;
        self
    }

    /// Sets the methods that a preflight allows, separated by commas. Default:
    /// `GET,HEAD,PUT,PATCH,POST,DELETE`.
    pub fn methods(mut self, methods: impl Into<String>) -> Cors {
        self.methods = methods.into();
        self
    }

    /// Sets the headers that a preflight allows, separated by commas. Default: those asked for.
    pub fn allowed_headers(mut self, headers: impl Into<String>) -> Cors {
        self.allowed_headers = Some(headers.into());
        self
    }

    /// Sets the headers of answers that pages may read, separated by commas.
    pub fn exposed_headers(mut self, headers: impl Into<String>) -> Cors {
        self.exposed_headers = Some(headers.into());
        self
    }

    /// Sets how long a browser may remember a preflight, in whole seconds.
    pub fn max_age(mut self, max_age: Duration) -> Cors {
        self.max_age = Some(max_age);
        self
    }

    /// Sets the status of the answer to a preflight. Default: 204.
    pub fn options_success_status(mut self, status: StatusCode) -> Cors {
        self.options_success_status = status;
        self
    }

    /// Passes preflights on, with their headers.
    pub fn preflight_continue(mut self) -> Cors {
        self.preflight_continue = true;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), CorsError> {
        match &self.origin {
            Origin::Any if self.credentials => Err(CorsError::CredentialsForAll),
            Origin::Any => Ok(()),
            Origin::Fixed(origin) => check_origin(origin),
            Origin::Reflected(allowed) if allowed.is_empty() => Err(CorsError::NoOrigin),
            Origin::Reflected(allowed) => allowed.iter().try_for_each(|allowed| match allowed {
                Allowed::Exactly(origin) if origin == "*" && self.credentials => {
                    Err(CorsError::CredentialsForAll)
                }
                Allowed::Exactly(origin) => check_origin(origin),
                Allowed::Pattern(Err(error)) => Err(CorsError::Pattern(error.clone())),
                Allowed::Pattern(Ok(_)) | Allowed::All | Allowed::Predicate(_) => Ok(()),
            }),
        }
    }

    /// Adds the headers for a request.
    pub(crate) fn apply(
        &self,
        method: &Method,
        request: &HeaderMap,
        response: &mut HeaderMap,
        application: &Application,
    ) -> Flow {
        self.apply_origin(request, response, application);
        if self.credentials {
            response.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        if method != Method::OPTIONS {
            insert(
                response,
                ACCESS_CONTROL_EXPOSE_HEADERS,
                self.exposed_headers.as_deref(),
            );
            return Flow::Continue;
        }
        insert(response, ACCESS_CONTROL_ALLOW_METHODS, Some(&self.methods));
        match &self.allowed_headers {
            Some(headers) => insert(response, ACCESS_CONTROL_ALLOW_HEADERS, Some(headers)),
            None => {
                vary(response, "Access-Control-Request-Headers");
                if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
                }
            }
        }
        let max_age = self.max_age.map(|age| age.as_secs().to_string());
        insert(response, ACCESS_CONTROL_MAX_AGE, max_age.as_deref());
        insert(
            response,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            self.exposed_headers.as_deref(),
        );
        match self.preflight_continue {
            true => Flow::Continue,
            false => Flow::Preflight(self.options_success_status),
        }
    }

    fn apply_origin(
        &self,
        request: &HeaderMap,
        response: &mut HeaderMap,
        application: &Application,
    ) {
        match &self.origin {
            Origin::Any => insert(response, ACCESS_CONTROL_ALLOW_ORIGIN, Some("*")),
            Origin::Fixed(origin) => {
                insert(response, ACCESS_CONTROL_ALLOW_ORIGIN, Some(origin));
                vary(response, "Origin");
            }
            Origin::Reflected(allowed) => {
                vary(response, "Origin");
                let origin = request.get(ORIGIN).and_then(|origin| origin.to_str().ok());
                let allows = |o: &str| allowed.iter().any(|a| a.allows(o, application));
                let is_allowed = |o: &&str| !o.is_empty() && allows(o);
                if let Some(origin) = origin.filter(is_allowed) {
                    insert(response, ACCESS_CONTROL_ALLOW_ORIGIN, Some(origin));
                }
            }
        }
    }
}

impl Default for Cors {
    fn default() -> Cors {
        Cors::new()
    }
}

impl Allowed {
    fn allows(&self, origin: &str, application: &Application) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Exactly(allowed) => allowed == "*" || allowed == origin,
            Allowed::Pattern(pattern) => pattern.as_ref().is_ok_and(|p| p.is_match(origin)),
            Allowed::Predicate(accept) => application
                .call(Callback::OriginPredicate, || accept(origin))
                .unwrap_or(false),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("*"),
            Origin::Fixed(origin) => f.write_str(origin),
            Origin::Reflected(allowed) => write!(f, "{} origins", allowed.len()),
        }
    }
}

/// An origin is `scheme://host[:port]`; a path or a slash at the end never matches.
fn check_origin(origin: &str) -> Result<(), CorsError> {
    if matches!(origin, "*" | "null") {
        return Ok(());
    }
    // With the reference it switches CORS off, which looks like the opposite.
    if origin.is_empty() {
        return Err(CorsError::NoOrigin);
    }
    if !origin.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CorsError::NotAscii(origin.to_owned()));
    }
    let error = |right: String| Err(CorsError::NotAnOrigin(origin.to_owned(), right));
    match origin.split_once("://") {
        None => error(format!(
            "https://{}",
            origin.split('/').next().unwrap_or_default()
        )),
        Some((scheme, rest)) => match rest.split_once(['/', '?', '#']) {
            None if rest.is_empty() => error("https://example.com".to_owned()),
            None => Ok(()),
            Some((host, _)) => error(format!("{scheme}://{host}")),
        },
    }
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: Option<&str>) {
    // A value that is none was the application's mistake; the header is left out.
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(name, value);
    }
}

fn vary(headers: &mut HeaderMap, name: &'static str) {
    let value = match headers.get(VARY).and_then(|vary| vary.to_str().ok()) {
        None => HeaderValue::from_static(name),
        Some(vary) => match HeaderValue::from_str(&format!("{vary}, {name}")) {
            Ok(value) => value,
            Err(_) => return,
        },
    };
    headers.insert(VARY, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cors: &Cors, method: Method, origin: Option<&str>) -> String {
        let mut request = HeaderMap::new();
        if let Some(origin) = origin {
            request.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("x-a"),
        );
        let mut response = HeaderMap::new();
        let flow = cors.apply(&method, &request, &mut response, &Application::new());
        assert_eq!(flow == Flow::Continue, method != Method::OPTIONS);
        let mut lines: Vec<_> = response
            .iter()
            .map(|(name, value)| {
                let name = name.as_str().trim_start_matches("access-control-");
                format!("{name}: {}", value.to_str().unwrap())
            })
            .collect();
        lines.sort();
        lines.join("; ")
    }

    // E058.
    #[test]
    fn answers_name_the_origins_as_the_reference_does() {
        let get = |cors: Cors, origin| headers(&cors, Method::GET, origin);
        let a = Some("https://a");
        assert_eq!(get(Cors::new(), a), "allow-origin: *");
        assert_eq!(get(Cors::new(), None), "allow-origin: *");
        assert_eq!(get(Cors::new().origin("*"), a), "allow-origin: *");
        assert_eq!(
            get(Cors::new().origin("https://b"), a),
            "allow-origin: https://b; vary: Origin"
        );
        let list = Cors::new().origins(["https://a", "https://b"]);
        assert_eq!(
            get(list.clone(), a),
            "allow-origin: https://a; vary: Origin"
        );
        assert_eq!(get(list.clone(), Some("https://c")), "vary: Origin");
        assert_eq!(get(list, None), "vary: Origin");
        let pattern = Cors::new().origin_pattern(r"^https://[ab]$");
        assert_eq!(
            get(pattern.clone(), a),
            "allow-origin: https://a; vary: Origin"
        );
        assert_eq!(get(pattern, Some("https://c")), "vary: Origin");
        let function = Cors::new().origin_fn(|origin| origin.ends_with("a"));
        assert_eq!(get(function, a), "allow-origin: https://a; vary: Origin");
        assert_eq!(get(Cors::new().mirror_origin(), Some("")), "vary: Origin");
        let all = Cors::new()
            .mirror_origin()
            .allow_credentials()
            .exposed_headers("x-b");
        assert_eq!(
            get(all, a),
            "allow-credentials: true; allow-origin: https://a; expose-headers: x-b; vary: Origin"
        );
    }

    // E059.
    #[test]
    fn a_preflight_is_answered_as_the_reference_does() {
        assert_eq!(
            headers(&Cors::new(), Method::OPTIONS, Some("https://a")),
            "allow-headers: x-a; allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE; allow-origin: *; \
             vary: Access-Control-Request-Headers"
        );
        let cors = Cors::new()
            .origin("https://b")
            .methods("GET")
            .allowed_headers("x-c")
            .max_age(Duration::from_secs(60));
        assert_eq!(
            headers(&cors, Method::OPTIONS, None),
            "allow-headers: x-c; allow-methods: GET; allow-origin: https://b; max-age: 60; vary: Origin"
        );
    }

    #[test]
    fn contradictions_are_explained() {
        let text = |cors: Cors| cors.validate().expect_err("a mistake").to_string();
        assert!(text(Cors::new().allow_credentials()).contains("name the origins"));
        assert!(text(Cors::new().origin("*").allow_credentials()).contains("name the origins"));
        assert!(text(Cors::new().origins([])).contains("at least one"));
        assert!(text(Cors::new().origin("https://a/")).contains("write it as \"https://a\""));
        assert!(text(Cors::new().origins(["a.com/x"])).contains("write it as \"https://a.com\""));
        assert!(text(Cors::new().origin_pattern("(")).contains("not a regular expression"));
        for odd in [
            "",
            " ",
            "https://a ",
            "https://a\r\nx: y",
            "https://é.example",
            "https://a\0",
        ] {
            let fixed = text(Cors::new().origin(odd));
            let listed = text(Cors::new().origins(["https://b", odd]));
            let expected = match odd {
                "" => "leave `cors` out",
                _ => "is never an origin",
            };
            assert!(
                fixed.contains(expected) && fixed == listed,
                "{odd:?}: {fixed}"
            );
        }
        assert_eq!(
            Cors::new().origins(["https://a:1", "null"]).validate(),
            Ok(())
        );
    }
}
