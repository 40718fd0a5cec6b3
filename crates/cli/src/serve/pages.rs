//! The pages of `sio serve`, embedded into the binary: a chat, and a doctor for visitors' browsers.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

use socketio_doctor::page_texts;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const CHAT: [(&str, &str, &str); 5] = [
    ("/", HTML, include_str!("web/index.html")),
    ("/style.css", CSS, include_str!("web/style.css")),
    ("/chat.js", SCRIPT, include_str!("web/chat.js")),
    ("/client.js", SCRIPT, include_str!("web/client.js")),
    (
        "/favicon.svg",
        "image/svg+xml",
        include_str!("web/favicon.svg"),
    ),
];

const DOCTOR: [(&str, &str, &str); 4] = [
    ("/_sio/doctor", HTML, include_str!("web/doctor/index.html")),
    (
        "/_sio/doctor/style.css",
        CSS,
        include_str!("web/doctor/style.css"),
    ),
    (
        "/_sio/doctor/page.js",
        SCRIPT,
        include_str!("web/doctor/page.js"),
    ),
    (
        "/_sio/doctor/checks.js",
        SCRIPT,
        include_str!("web/doctor/checks.js"),
    ),
];

/// What the chat may load: its own files, images that were shared, and its server.
const CHAT_POLICY: &str =
    "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:";

/// The doctor's page asks the address that is typed in, whatever it is, and loads nothing else.
const DOCTOR_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a page says of the path of the Socket.IO requests.
const PATH: &str = "content=\"/socket.io/\"";

/// Serves the files of the pages, which connect to a server at `path`.
pub(crate) fn router(path: &str, has_doctor: bool) -> Router {
    let path = format!("content=\"{}/\"", path.trim_end_matches('/'));
    let file = |router: Router, (url, content_type, content), policy| {
        let content: &str = content;
        serve(
            router,
            url,
            content_type,
            content.replace(PATH, &path),
            policy,
        )
    };
    let router = CHAT.into_iter().fold(Router::new(), |router, item| {
        file(router, item, CHAT_POLICY)
    });
    if !has_doctor {
        return router;
    }
    let texts = page_texts().to_string();
    let router = serve(
        router,
        "/_sio/doctor/texts.json",
        "application/json",
        texts,
        DOCTOR_POLICY,
    );
    DOCTOR
        .into_iter()
        .fold(router, |router, item| file(router, item, DOCTOR_POLICY))
}

fn serve(
    router: Router,
    url: &str,
    content_type: &'static str,
    content: String,
    policy: &'static str,
) -> Router {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    router.route(url, get(move || async move { (headers, content.clone()) }))
}
