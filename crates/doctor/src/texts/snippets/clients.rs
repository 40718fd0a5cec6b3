//! Lines for clients. Those for Node are for browsers, too.

/// The path of the requests.
pub(super) const PATH: &[(&str, &str)] = &[
    (
        "Node client",
        r#"const socket = io("{url}", { path: {named} });"#,
    ),
    (
        "Python client",
        r#"sio.connect("{url}", socketio_path={named})"#,
    ),
    ("Rust client", r#"Client::builder("{url}").path({named})"#),
    (
        "Java client",
        r#"Socket socket = IO.socket(URI.create("{url}"), IO.Options.builder().setPath({named}).build());"#,
    ),
    (
        "Swift client",
        r#"let manager = SocketManager(socketURL: URL(string: "{url}")!, config: [.path({named})])"#,
    ),
];

pub(super) const WEBSOCKET: &[(&str, &str)] = &[
    (
        "Node client",
        r#"const socket = io("{url}", { transports: ["websocket"] });"#,
    ),
    (
        "Python client",
        r#"sio.connect("{url}", transports=["websocket"])"#,
    ),
    (
        "Rust client",
        r#"Client::builder("{url}").transports([Transport::WebSocket])"#,
    ),
    (
        "Java client",
        r#"IO.Options options = IO.Options.builder().setTransports(new String[] { WebSocket.NAME }).build();
Socket socket = IO.socket(URI.create("{url}"), options);"#,
    ),
    (
        "Swift client",
        r#"let manager = SocketManager(socketURL: URL(string: "{url}")!, config: [.forceWebsockets(true)])"#,
    ),
];

/// For a server of Socket.IO 1 or 2.
pub(super) const OLD_VERSION: &[(&str, &str)] = &[
    ("Node client", "npm install socket.io-client@2"),
    (
        "Python client",
        r#"pip install "python-socketio[client]<5" "python-engineio<4""#,
    ),
    (
        "Rust client",
        r#"Client::builder("{url}").version(Version::V2)"#,
    ),
    (
        "Java client",
        r#"implementation("io.socket:socket.io-client:1.0.2")"#,
    ),
    (
        "Swift client",
        r#"let manager = SocketManager(socketURL: URL(string: "{url}")!, config: [.version(.two)])"#,
    ),
];

pub(super) const AUTH: &[(&str, &str)] = &[
    (
        "Node client",
        r#"const socket = io("{url}", { auth: { token } });"#,
    ),
    (
        "Python client",
        r#"sio.connect("{url}", auth={"token": token})"#,
    ),
    (
        "Rust client",
        r#"Client::builder("{url}").auth(json!({ "token": token }))"#,
    ),
    (
        "Java client",
        r#"IO.Options options = IO.Options.builder().setAuth(Map.of("token", token)).build();"#,
    ),
    (
        "Swift client",
        r#"socket.connect(withPayload: ["token": token])"#,
    ),
];

/// Python and Rust keep cookies without being told.
pub(super) const COOKIES: &[(&str, &str)] = &[
    (
        "Node client",
        r#"const socket = io("{url}", { withCredentials: true });"#,
    ),
    (
        "Java client",
        "OkHttpClient http = new OkHttpClient.Builder().cookieJar(new JavaNetCookieJar(new CookieManager())).build();
options.callFactory = http;
options.webSocketFactory = http;",
    ),
];
