//! The page of `sio serve`, embedded into the binary.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;

const FILES: [(&str, &str, &str); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("web/index.html"),
    ),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("web/style.css"),
    ),
    (
        "/chat.js",
        "text/javascript; charset=utf-8",
        include_str!("web/chat.js"),
    ),
    (
        "/client.js",
        "text/javascript; charset=utf-8",
        include_str!("web/client.js"),
    ),
    (
        "/favicon.svg",
        "image/svg+xml",
        include_str!("web/favicon.svg"),
    ),
];

/// What the page may load: its own files, images that were shared, and its server.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:";

/// What the page says of the path of the Socket.IO requests.
const PATH: &str = "content=\"/socket.io/\"";

/// Serves the files of the page, which connects to a server at `path`.
pub(crate) fn router(path: &str) -> Router {
    let path = format!("content=\"{}/\"", path.trim_end_matches('/'));
    FILES
        .into_iter()
        .fold(Router::new(), |router, (url, content_type, content)| {
            let headers = [
                (CONTENT_TYPE, content_type),
                (CACHE_CONTROL, "no-cache"),
                (CONTENT_SECURITY_POLICY, POLICY),
            ];
            let content = content.replace(PATH, &path);
            router.route(url, get(move || async move { (headers, content) }))
        })
}
