//! Which client understands which server: the one table of it.
//!
//! D28 reads it, and a test keeps `docs/compatibility.md` equal to it. "Node too" in a note says that
//! the reference meets the same.

/// Some versions of a client.
pub(crate) struct ClientRow {
    /// As `--client` names it.
    pub name: &'static str,
    pub title: &'static str,
    pub versions: &'static str,
    /// The first of these versions.
    pub since: [u32; 3],
    /// The revision of Engine.IO that it speaks.
    pub revision: u8,
    /// With servers of Socket.IO 2.x, 3.x and 4.x; this one is of 4.x.
    pub servers: [Fit; 3],
    pub note: &'static str,
    /// What to write, or to use.
    pub line: &'static str,
    /// The test that shows it.
    pub shown: &'static str,
}

/// A server of another make, for clients of version 4 and this project's.
pub(crate) struct ServerRow {
    pub title: &'static str,
    pub revisions: &'static str,
    pub note: &'static str,
    pub shown: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Fit {
    Yes,
    /// With this option.
    With(&'static str),
    No,
}

use Fit::{No, With, Yes};

/// The row of a client's version; none for a client that is not in the table.
pub(crate) fn client(name: &str, version: [u32; 3]) -> Option<&'static ClientRow> {
    let mut rows = CLIENTS.iter();
    rows.rfind(|row| row.name == name && row.since <= version)
}

const ALLOW: Fit = With("allowEIO3");
const OLD: [Fit; 3] = [Yes, ALLOW, ALLOW];
const NEW: [Fit; 3] = [No, Yes, Yes];
const PEERS: &str = "interop/test/peers.test.mjs";
const REPLAYS: &str = "interop/test/replays.test.mjs";
const VERSIONS: &str = "interop/test/versions.test.mjs";

/// By name, then by version.
pub(crate) static CLIENTS: &[ClientRow] = &[
    ClientRow {
        name: "js",
        title: "JavaScript",
        versions: "1.x",
        since: [0, 0, 0],
        revision: 3,
        servers: [No, No, No],
        note: "Much works with servers that let version 2 in (M22), but nobody promises it.",
        line: "`socket.io-client` 4",
        shown: VERSIONS,
    },
    ClientRow {
        name: "js",
        title: "JavaScript",
        versions: "2.x",
        since: [2, 0, 0],
        revision: 3,
        servers: OLD,
        note: "",
        line: "`allowEIO3: true`, here `allow_eio3()`",
        shown: VERSIONS,
    },
    ClientRow {
        name: "js",
        title: "JavaScript",
        versions: "3.x, 4.x",
        since: [3, 0, 0],
        revision: 4,
        servers: NEW,
        note: "3.x and 4.x are alike (M20). From 4.5 on messages that share a body with the end of the session are lost (Node too).",
        line: "",
        shown: VERSIONS,
    },
    ClientRow {
        name: "java",
        title: "Java, Android, Kotlin",
        versions: "1.x",
        since: [0, 0, 0],
        revision: 3,
        servers: OLD,
        note: "A close frame is not heeded: it notices the end of a WebSocket at the ping timeout. A refusal with data is not heard (Node too).",
        line: "`allowEIO3: true`, or `io.socket:socket.io-client:2.1.2`",
        shown: PEERS,
    },
    ClientRow {
        name: "java",
        title: "Java, Android, Kotlin",
        versions: "2.x",
        since: [2, 0, 0],
        revision: 4,
        servers: NEW,
        note: "A close frame is not heeded: it notices the end of a WebSocket at the ping timeout (Node too). Base64 over polling has line feeds.",
        line: "",
        shown: PEERS,
    },
    ClientRow {
        name: "swift",
        title: "Swift",
        versions: "up to 15",
        since: [0, 0, 0],
        revision: 3,
        servers: [
            Yes,
            With("allowEIO3 and `.connectParams([\"EIO\": \"3\"])`"),
            ALLOW,
        ],
        note: "It sends no `EIO`: servers of 4.x take it for revision 3, those of 3.x for 4.",
        line: "`.connectParams([\"EIO\": \"3\"])`",
        shown: REPLAYS,
    },
    ClientRow {
        name: "swift",
        title: "Swift",
        versions: "16",
        since: [16, 0, 0],
        revision: 4,
        servers: [With("`.version(.two)`"), Yes, Yes],
        note: "",
        line: "`.version(.two)` for servers of 2.x",
        shown: REPLAYS,
    },
    ClientRow {
        name: "python",
        title: "python-socketio",
        versions: "4.x",
        since: [0, 0, 0],
        revision: 3,
        servers: OLD,
        note: "Over polling it takes 16 packets in a body. Bytes of the length 0 become null (Node too).",
        line: "`allowEIO3: true`; `engineio.payload.Payload.max_decode_packets = 500`, or WebSocket",
        shown: PEERS,
    },
    ClientRow {
        name: "python",
        title: "python-socketio",
        versions: "5.x",
        since: [5, 0, 0],
        revision: 4,
        servers: NEW,
        note: "Over polling it takes 16 packets in a body (Node too).",
        line: "`engineio.payload.Payload.max_decode_packets = 500`, or WebSocket",
        shown: PEERS,
    },
    ClientRow {
        name: "dart",
        title: "Dart, Flutter",
        versions: "1.x",
        since: [0, 0, 0],
        revision: 3,
        servers: OLD,
        note: "Native with its default options it opens a WebSocket that says `transport=polling`, and never connects (Node too).",
        line: "`OptionBuilder().setTransports(['websocket'])`, and `allowEIO3: true`",
        shown: REPLAYS,
    },
    ClientRow {
        name: "dart",
        title: "Dart, Flutter",
        versions: "2.x, 3.x",
        since: [2, 0, 0],
        revision: 4,
        servers: NEW,
        note: "Native with its default options it opens a WebSocket that says `transport=polling`, and never connects (Node too).",
        line: "`OptionBuilder().setTransports(['websocket'])`",
        shown: REPLAYS,
    },
    ClientRow {
        name: "csharp",
        title: "C#",
        versions: "before 2.2.4",
        since: [0, 0, 0],
        revision: 3,
        servers: OLD,
        note: "",
        line: "`allowEIO3: true`",
        shown: REPLAYS,
    },
    ClientRow {
        name: "csharp",
        title: "C#",
        versions: "2.2.4 to 4.x",
        since: [2, 2, 4],
        revision: 4,
        servers: [With("`EIO = EngineIO.V3`"), Yes, Yes],
        note: "4.x opens its WebSocket without a probe; with revision 3 its upgrade fails (Node too).",
        line: "`EIO = EngineIO.V3` for servers of 2.x",
        shown: REPLAYS,
    },
    ClientRow {
        name: "cpp",
        title: "C++",
        versions: "1.x",
        since: [0, 0, 0],
        revision: 3,
        servers: [Yes, No, No],
        note: "WebSocket only. It says `EIO=4` and speaks revision 3: no option of a server helps (Node too).",
        line: "2.1 with `allowEIO3: true`, or 3.1",
        shown: REPLAYS,
    },
    ClientRow {
        name: "cpp",
        title: "C++",
        versions: "2.x",
        since: [2, 0, 0],
        revision: 3,
        servers: OLD,
        note: "WebSocket only.",
        line: "`allowEIO3: true`",
        shown: REPLAYS,
    },
    ClientRow {
        name: "cpp",
        title: "C++",
        versions: "3.x",
        since: [3, 0, 0],
        revision: 4,
        servers: NEW,
        note: "WebSocket only. Bytes do not work in either direction: it waits for the 04 of revision 3 before them. 3.1 has no `auth` (Node too).",
        line: "text, or base64 by hand",
        shown: REPLAYS,
    },
    ClientRow {
        name: "go",
        title: "Go, zishang520",
        versions: "3.x",
        since: [0, 0, 0],
        revision: 4,
        servers: NEW,
        note: "Over polling a POST waits until the pending GET ends, and transports are tried in any order. The end of one namespace silences the others (Node too).",
        line: "`options.SetTransports(types.NewSet(transports.WebSocket))`",
        shown: PEERS,
    },
    ClientRow {
        name: "rust",
        title: "Rust, this project",
        versions: "all",
        since: [0, 0, 0],
        revision: 4,
        servers: [With("`version(Version::V2)`"), Yes, Yes],
        note: "",
        line: "`.version(Version::V2)` for servers of 2.x",
        shown: "interop/test/rust-client.test.mjs",
    },
];

/// Servers, for this project's client.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what the documentation alone has")
)]
pub(crate) static SERVERS: &[ServerRow] = &[
    ServerRow {
        title: "socket.io 4.8",
        revisions: "4; 3 with `allowEIO3`",
        note: "",
        shown: "interop/test/rust-client.test.mjs",
    },
    ServerRow {
        title: "socket.io 3.1",
        revisions: "4; 3 with `allowEIO3`",
        note: "",
        shown: "interop/test/rust-client.test.mjs",
    },
    ServerRow {
        title: "socket.io 2.5",
        revisions: "3",
        note: "`.version(Version::V2)`",
        shown: "interop/test/rust-client.test.mjs",
    },
    ServerRow {
        title: "python-socketio 5.18",
        revisions: "4",
        note: "It takes 16 packets in a body of polling, unless `Payload.max_decode_packets` says more.",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "python-socketio 4.6",
        revisions: "3",
        note: "The same; `.version(Version::V2)`.",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "Flask-SocketIO 5.7",
        revisions: "4",
        note: "The same. With `async_handlers`, its default, one event overtakes another (JavaScript too).",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "netty-socketio 2.0.13",
        revisions: "4 and 3",
        note: "It closes its connections after answers, and does not read the bytes of clients rightly (JavaScript too).",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "io.socket socket.io-server 4.0.1 (Java)",
        revisions: "4 and 3",
        note: "It knows a session only a moment after it has told it, which the client waits for.",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "zishang520/socket.io 3.0.6 (Go)",
        revisions: "4; 3 with `SetAllowEIO3`",
        note: "",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "googollee/go-socket.io 1.7.0 (Go)",
        revisions: "3",
        note: "It loses what comes while a session moves to WebSocket (JavaScript too): use one transport.",
        shown: "interop/test/servers.test.mjs",
    },
    ServerRow {
        title: "socketioxide 0.18.9",
        revisions: "4",
        note: "What is emitted beyond `max_buffer_size`, 128 packets, is lost.",
        shown: "interop/test/servers.test.mjs",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/compatibility.md");

    fn cell(fit: Fit) -> String {
        match fit {
            Yes => "yes".to_owned(),
            With(option) => format!("with {option}"),
            No => "no".to_owned(),
        }
    }

    fn shown(by: &str) -> String {
        format!("[{}](../{by})", by.rsplit('/').next().unwrap())
    }

    fn tables() -> String {
        let mut text = String::from(
            "| client | versions | revision | server 2.x | 3.x | 4.x and this one | note | what to write | shown by |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in CLIENTS {
            let [two, three, four] = row.servers.map(cell);
            let (name, versions, revision) = (row.title, row.versions, row.revision);
            let (note, line, shown) = (row.note, row.line, shown(row.shown));
            text += &format!(
                "| {name} (`{}`) | {versions} | {revision} | {two} | {three} | {four} | {note} | {line} | {shown} |\n",
                row.name
            );
        }
        text += "\n## Servers, with this project's client\n\n\
                 | server | revisions | note | shown by |\n| --- | --- | --- | --- |\n";
        for row in SERVERS {
            let shown = shown(row.shown);
            text += &format!(
                "| {} | {} | {} | {shown} |\n",
                row.title, row.revisions, row.note
            );
        }
        text
    }

    // M20 M21 M23-M29
    #[test]
    fn the_page_has_this_table() {
        let start = PAGE.find("| client |").unwrap();
        let (got, want) = (&PAGE[start..], tables());
        assert!(
            got == want,
            "docs/compatibility.md ends otherwise than with:\n{want}"
        );
    }

    #[test]
    fn rows_are_sorted_and_name_tests_that_exist() {
        for pair in CLIENTS.windows(2) {
            let [one, next] = pair else { unreachable!() };
            assert!(one.name != next.name || one.since < next.since);
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let shown = CLIENTS.iter().map(|row| row.shown);
        for file in shown.chain(SERVERS.iter().map(|row| row.shown)) {
            assert!(root.join(file).exists(), "{file}");
        }
    }

    #[test]
    fn a_version_finds_its_row() {
        let versions = |name, version| client(name, version).unwrap().versions;
        assert_eq!(versions("csharp", [2, 2, 3]), "before 2.2.4");
        assert_eq!(versions("csharp", [2, 2, 4]), "2.2.4 to 4.x");
        assert_eq!(versions("js", [9, 0, 0]), "3.x, 4.x");
        assert!(client("perl", [1, 0, 0]).is_none());
    }
}
