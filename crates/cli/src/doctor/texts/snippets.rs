//! Lines to paste, for what was detected. They are the same in every language.

use super::Verdict;
use crate::doctor::facts::Family;

/// What is known of the patient's making.
#[derive(Clone, Debug)]
pub(in crate::doctor) struct Seen {
    pub(in crate::doctor) family: Family,
    /// The headers `Server` and `Via` in lower case.
    pub(in crate::doctor) server: String,
    pub(in crate::doctor) path: String,
    pub(in crate::doctor) origin: String,
    pub(in crate::doctor) url: String,
}

/// Lines for one program or language.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::doctor) struct Snippet {
    pub(in crate::doctor) tool: &'static str,
    pub(in crate::doctor) text: String,
}

pub(in crate::doctor) fn snippets(verdict: &Verdict, seen: &Seen) -> Vec<Snippet> {
    let path = seen.path.trim_end_matches('/');
    let (origin, url) = (&seen.origin, &seen.url);
    let snippet = |tool, text: &str| Snippet {
        tool,
        text: text
            .replace("{path}", path)
            .replace("{origin}", origin)
            .replace("{url}", url),
    };
    match verdict {
        Verdict::UpgradeStripped
        | Verdict::WebSocketPage { .. }
        | Verdict::WebSocketGateway { .. }
        | Verdict::WebSocketBroken
        | Verdict::Page { .. } => proxies(
            seen,
            [
                snippet("nginx", NGINX_WEBSOCKET),
                snippet("Apache", APACHE_WEBSOCKET),
                snippet("HAProxy", HAPROXY_WEBSOCKET),
            ],
        ),
        Verdict::NoStickiness { .. }
        | Verdict::UpgradeRefused { .. }
        | Verdict::WebSocketElsewhere => proxies(
            seen,
            [
                snippet("nginx", NGINX_STICKY),
                snippet("Apache", APACHE_STICKY),
                snippet("HAProxy", HAPROXY_STICKY),
            ],
        ),
        Verdict::PollCut { .. } | Verdict::TunnelCut { .. } => proxies(
            seen,
            [
                snippet("nginx", "proxy_read_timeout 60s;"),
                snippet("Apache", "ProxyTimeout 60"),
                snippet("HAProxy", "timeout server 60s\ntimeout tunnel 1h"),
            ],
        ),
        Verdict::WrongPath { found, .. } => {
            let text = |text: &str| text.replace("{found}", found);
            vec![
                snippet(
                    "Node client",
                    &text(r#"const socket = io("{url}", { path: "{found}" });"#),
                ),
                snippet(
                    "Python client",
                    &text(r#"sio.connect("{url}", socketio_path="{found}")"#),
                ),
                snippet(
                    "Rust client",
                    &text(r#"Client::builder("{url}").path("{found}")"#),
                ),
            ]
        }
        Verdict::WebSocketOnly | Verdict::PollingUnreachable { .. } => vec![
            snippet(
                "Node client",
                r#"const socket = io("{url}", { transports: ["websocket"] });"#,
            ),
            snippet(
                "Python client",
                r#"sio.connect("{url}", transports=["websocket"])"#,
            ),
            snippet(
                "Rust client",
                r#"Client::builder("{url}").transports([Transport::WebSocket])"#,
            ),
        ],
        Verdict::OldClient { .. } => servers(
            seen,
            [
                snippet(
                    "Node",
                    "const io = new Server(httpServer, { allowEIO3: true });",
                ),
                snippet("Rust", "Server::builder().allow_eio3()"),
            ],
            None,
        ),
        Verdict::CorsMissing { .. }
        | Verdict::CorsOther { .. }
        | Verdict::OriginRefused { .. }
        | Verdict::PreflightRefused => servers(
            seen,
            [
                snippet(
                    "Node",
                    r#"const io = new Server(httpServer, { cors: { origin: "{origin}" } });"#,
                ),
                snippet(
                    "Rust",
                    r#"Server::builder().cors(Cors::new().origins(["{origin}"]))"#,
                ),
            ],
            Some(snippet(
                "Python",
                r#"sio = socketio.AsyncServer(cors_allowed_origins=["{origin}"])"#,
            )),
        ),
        Verdict::Wildcard { .. } => servers(
            seen,
            [
                snippet(
                    "Node",
                    r#"const io = new Server(httpServer, { cors: { origin: "{origin}", credentials: true } });"#,
                ),
                snippet(
                    "Rust",
                    r#"Server::builder().cors(Cors::new().origins(["{origin}"]).allow_credentials())"#,
                ),
            ],
            Some(snippet(
                "Python",
                r#"sio = socketio.AsyncServer(cors_allowed_origins=["{origin}"])"#,
            )),
        ),
        Verdict::NoNamespace { namespace, .. } => {
            let name = serde_json::Value::from(namespace.as_str()).to_string();
            servers(
                seen,
                [
                    snippet(
                        "Node",
                        &format!("io.of({name}).on(\"connection\", (socket) => {{}});"),
                    ),
                    snippet("Rust", &format!("io.of({name})")),
                ],
                Some(snippet(
                    "Python",
                    &format!(
                        "@sio.on(\"connect\", namespace={name})\nasync def connect(sid, environ, auth): ..."
                    ),
                )),
            )
        }
        _ => Vec::new(),
    }
}

/// Those for the proxy that names itself, or all.
fn proxies(seen: &Seen, all: [Snippet; 3]) -> Vec<Snippet> {
    let names: &[&str] = &["nginx", "apache", "haproxy"];
    match names.iter().position(|name| seen.server.contains(name)) {
        Some(at) => all.into_iter().skip(at).take(1).collect(),
        None => all.into(),
    }
}

/// Those for the server's language, or all.
fn servers(seen: &Seen, others: [Snippet; 2], python: Option<Snippet>) -> Vec<Snippet> {
    match (seen.family, python) {
        (Family::Python, Some(python)) => vec![python],
        (_, python) => {
            let [node, rust] = others;
            [node].into_iter().chain(python).chain([rust]).collect()
        }
    }
}

const NGINX_WEBSOCKET: &str = "location {path}/ {
  proxy_pass http://backend;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection \"upgrade\";
  proxy_set_header Host $host;
}";
const APACHE_WEBSOCKET: &str = "# mod_proxy_http of 2.4.47 or later
ProxyPass {path}/ http://backend:3000{path}/ upgrade=websocket";
const HAPROXY_WEBSOCKET: &str = "defaults
  mode http
  timeout tunnel 1h
frontend web
  use_backend socketio if { path_beg {path}/ }";
const NGINX_STICKY: &str = "upstream backend {
  hash $remote_addr consistent;
  server 10.0.0.1:3000;
  server 10.0.0.2:3000;
}";
const APACHE_STICKY: &str =
    "Header add Set-Cookie \"ROUTE=.%{BALANCER_WORKER_ROUTE}e; path=/\" env=BALANCER_ROUTE_CHANGED
<Proxy \"balancer://backend\">
  BalancerMember \"http://10.0.0.1:3000\" route=1
  BalancerMember \"http://10.0.0.2:3000\" route=2
  ProxySet stickysession=ROUTE
</Proxy>";
const HAPROXY_STICKY: &str = "backend socketio
  balance source
  hash-type consistent
  server a 10.0.0.1:3000 check
  server b 10.0.0.2:3000 check";
