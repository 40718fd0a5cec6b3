//! Lines for servers. Java is netty-socketio.

/// Lets clients of Socket.IO 1 and 2 in.
pub(super) const OLD_CLIENTS: &[(&str, &str)] = &[
    (
        "Node",
        "const io = new Server(httpServer, { allowEIO3: true });",
    ),
    ("Rust", "Server::builder().allow_eio3()"),
];

pub(super) const CORS: &[(&str, &str)] = &[
    (
        "Node",
        r#"const io = new Server(httpServer, { cors: { origin: "{origin}" } });"#,
    ),
    (
        "Python",
        r#"sio = socketio.AsyncServer(cors_allowed_origins=["{origin}"])"#,
    ),
    (
        "Rust",
        r#"Server::builder().cors(Cors::new().origins(["{origin}"]))"#,
    ),
    ("Java", r#"configuration.setOrigin("{origin}");"#),
];

pub(super) const CORS_WITH_COOKIES: &[(&str, &str)] = &[
    (
        "Node",
        r#"const io = new Server(httpServer, { cors: { origin: "{origin}", credentials: true } });"#,
    ),
    (
        "Python",
        r#"sio = socketio.AsyncServer(cors_allowed_origins=["{origin}"], cors_credentials=True)"#,
    ),
    (
        "Rust",
        r#"Server::builder().cors(Cors::new().origins(["{origin}"]).allow_credentials())"#,
    ),
    ("Java", r#"configuration.setOrigin("{origin}");"#),
];

pub(super) const NAMESPACE: &[(&str, &str)] = &[
    (
        "Node",
        r#"io.of({named}).on("connection", (socket) => {});"#,
    ),
    (
        "Python",
        r#"@sio.on("connect", namespace={named})
async def connect(sid, environ, auth): ..."#,
    ),
    ("Rust", "io.of({named})"),
    ("Java", "server.addNamespace({named});"),
];
