//! The doctor's English.

use socketio_proto::Hint;
use socketio_proto::engine::Transport;

use super::hints::sentence;
use super::{Advice, Note, Text, Texts, Token, Verdict, Words};
use crate::check::{Id, Why};

pub(crate) struct English;

impl Texts for English {
    fn words(&self) -> &'static Words {
        &Words {
            ok: "ok",
            failed: "failed",
            skipped: "skipped",
            inconclusive: "inconclusive",
            evidence: "evidence",
            fix: "fix",
            check: "check",
            namespace: "namespace",
            path: "path",
            healthy: "Healthy.",
            unclear: "No fault was found, but not all could be examined.",
            fault: ["fault", "faults"],
            requests: "requests",
            more: "More",
            others: "for others",
            warning: ["warning", "warnings"],
            severity: ["info", "warn", "fatal"],
            confidence: ["possible", "likely", "certain"],
        }
    }

    fn name(&self, id: Id) -> &'static str {
        match id {
            Id::D01 => "URL",
            Id::D02 => "name resolution",
            Id::D03 => "TCP",
            Id::D04 => "TLS",
            Id::D05 => "redirects",
            Id::D06 => "Socket.IO handshake",
            Id::D07 => "path",
            Id::D08 => "versions",
            Id::D09 => "transports",
            Id::D10 => "sticky sessions",
            Id::D11 => "cookies across sites",
            Id::D12 => "WebSocket",
            Id::D13 => "upgrade to WebSocket",
            Id::D14 => "long polling",
            Id::D15 => "namespace",
            Id::D16 => "heartbeat",
            Id::D17 => "endurance",
            Id::D18 => "message size",
            Id::D19 => "acknowledgement",
            Id::D20 => "CORS",
            Id::D21 => "CORS preflight",
            Id::D22 => "CORS with cookies",
            Id::D23 => "CORS on errors",
            Id::D25 => "WebSocket and origins",
            Id::D26 => "proxy",
            Id::D27 => "state recovery",
            Id::D28 => "client",
            Id::D29 => "rate limits",
        }
    }

    fn explain(&self, id: Id) -> &'static str {
        match id {
            Id::D01 => {
                "Takes the URL apart. Its path is not a path on the server but a namespace, a kind of channel; the requests go to /socket.io/ whatever it is, unless the client's option `path` says otherwise."
            }
            Id::D02 => {
                "Looks the host name up, for IPv4 and IPv6. A client can only reach addresses that the name has; `localhost` has two on many machines, and a server often listens on one of them."
            }
            Id::D03 => {
                "Opens a TCP connection to each address. Refused means that the machine is there and nothing listens on the port; silence means that a firewall or security group drops the packets."
            }
            Id::D04 => {
                "Checks the encryption and the server's certificate as strictly as clients outside browsers do. Browsers hide some mistakes, such as a missing intermediate certificate, because they have seen it elsewhere."
            }
            Id::D05 => {
                "Asks as a client does, and looks whether it is sent elsewhere. Browsers do not follow a redirect of a WebSocket, and a POST may become a GET on its way."
            }
            Id::D06 => {
                "Asks for a session over plain HTTP, as most clients do first, and reads the answer: a Socket.IO server says `0{\"sid\":..}`; a web page, a proxy's error or another server's answer look different."
            }
            Id::D07 => {
                "When something other than Socket.IO answers, asks at the paths where it is often found (at most six). Client and server have an option `path` that must be the same, and a proxy may add or remove a part."
            }
            Id::D08 => {
                "Asks in both revisions of the protocol. Clients of version 1 and 2 speak revision 3, those of 3 and 4 speak revision 4; the two do not understand each other unless the server has `allowEIO3`."
            }
            Id::D09 => {
                "Compares the two ways in which messages can travel: HTTP requests that wait (long polling) and WebSocket. Clients begin with polling and move to WebSocket; if polling is off, they fail at once unless they are told to begin with WebSocket."
            }
            Id::D10 => {
                "Opens several sessions and follows each up on new connections, first without cookies, then with those that the server sets. With more than one server behind a load balancer, all requests of a client must reach the same one, or they are answered `Session ID unknown`."
            }
            Id::D11 => {
                "Where sessions stick by a cookie and --origin is of another site, looks whether the browser would send that cookie: it must be `SameSite=None; Secure`, and the server must allow credentials for exactly this origin."
            }
            Id::D12 => {
                "Opens a WebSocket directly. Proxies have to be told to pass it on; those that are not remove the header `Upgrade`, and the server sees an ordinary request."
            }
            Id::D13 => {
                "Opens a session over polling and moves it to WebSocket as a client does: `2probe`, `3probe`, `5`. When that fails, the client works but stays on polling, with many requests in place of one connection."
            }
            Id::D14 => {
                "Lets one request wait, as polling does, and looks whether it is cut off earlier than the server's heartbeat, or answered from a cache: then several clients get the same session."
            }
            Id::D15 => {
                "Joins the namespace, with the credentials given by --auth. The server may not have it, or one of its middlewares may refuse, or never answer."
            }
            Id::D16 => {
                "Waits for the server's ping, if one is due within the time of an examination. A default server pings every 25 s, which is not observed."
            }
            Id::D17 => {
                "With --soak SECONDS, keeps three WebSockets open: two say nothing but the heartbeat, one says something all the time. Who is cut tells whether something closes idle connections or old ones."
            }
            Id::D18 => {
                "With --payload, sends a message that the server ignores, over polling and WebSocket: as large as the server takes by its own word, or of the size given. A proxy may take less, and a slow line may take longer than the heartbeat waits."
            }
            Id::D19 => {
                "With --emit EVENT, emits the event as soon as the namespace is joined, and waits for its acknowledgement. If none comes it is emitted once more: a handler that was registered late answers only the second."
            }
            Id::D20 => {
                "Asks as a page of --origin would, and reads whether the browser would be allowed to see the answer (`Access-Control-Allow-Origin`)."
            }
            Id::D21 => {
                "Asks first, as a browser does before requests with headers of your own (`OPTIONS`), and reads whether it would be allowed to go on."
            }
            Id::D22 => {
                "Looks for `*` together with cookies (`withCredentials`), which browsers refuse."
            }
            Id::D23 => {
                "Asks with a session id that does not exist, and looks whether a page could read the error. Where it cannot, every error looks like one of CORS."
            }
            Id::D25 => {
                "Opens a WebSocket as a page of a foreign site would. CORS does not hold for WebSocket, so that only the server can refuse it."
            }
            Id::D26 => {
                "With --backend URL, makes the same checks of the server behind the proxy. What is wrong only in front of it is the proxy's doing."
            }
            Id::D27 => {
                "Where the server offers the recovery of a connection's state, waits shortly for an event, loses the connection and comes back with what a client remembers. Without an event there is nothing to come back to."
            }
            Id::D28 => {
                "Compares the client named by --client with the revisions of the protocol that the server speaks, by the tables of the Socket.IO documentation."
            }
            Id::D29 => {
                "Looks through all answers for a limit on requests (status 429, a 403 where the same request was welcome before) and for pages that only a browser passes. Then the other checks say little, and accuse nobody."
            }
        }
    }

    fn text(&self, verdict: &Verdict) -> Text {
        let text = |title: String, meaning: &str, fix: &str| Text {
            title,
            meaning: meaning.to_owned(),
            fix: fix.to_owned(),
        };
        let hint = |hint: Hint, more: &str| sentence(hint.as_str(), more);
        let certificate = "Browsers, phones and other programs refuse to talk to a server that cannot prove who it is.";
        match verdict {
            Verdict::PathIsNamespace { path } => text(
                format!("the path {path} of the URL is taken for a namespace"),
                "The path of the URL chooses a namespace, a kind of channel on the server. The requests themselves go to the client's option `path`, which is /socket.io/ by default.",
                "Leave the path out of the URL; if the requests go to another path, set the option `path`.",
            ),
            Verdict::UnknownHost { host, error } => text(
                format!("the name {host} does not resolve: {error}"),
                "The name has no address, so nobody can be reached under it.",
                &hint(Hint::UnknownHost, "Inside containers use the name of the service; after a change of DNS wait until it is known everywhere."),
            ),
            Verdict::LocalhostV6 => text(
                "localhost is ::1 first, and the server listens on 127.0.0.1 only".to_owned(),
                "Some clients (Node 17 to 19, Java) try only the first address, IPv6, and fail with ECONNREFUSED ::1.",
                "Connect to 127.0.0.1, or let the server listen on `::`, which takes both.",
            ),
            Verdict::Refused { address, has_proxy } => text(
                format!("nothing listens on {address}"),
                proxy("The machine is there and says that no program waits on this port.", *has_proxy).as_str(),
                &hint(Hint::Refused, "In a container it must listen on 0.0.0.0 and the port must be published. On a phone or emulator, localhost is the phone itself: use the computer's address (10.0.2.2 in the Android emulator)."),
            ),
            Verdict::Dropped { address, has_proxy } => text(
                format!("no answer from {address}"),
                proxy("Nothing comes back, not even a refusal: mostly a firewall or security group drops the packets.", *has_proxy).as_str(),
                &hint(Hint::Unreachable, ""),
            ),
            Verdict::Unreachable { address, error } => text(
                format!("{address} cannot be reached: {error}"),
                "The network between here and there does not carry the connection.",
                &hint(Hint::Unreachable, "See also the VPN and the routes."),
            ),
            Verdict::SomeAddresses { dead } => text(
                format!("the name has addresses that do not answer: {dead}"),
                "Clients that try these first wait, or fail, now and then.",
                "Remove the dead addresses from DNS (often an AAAA record), or let the server listen on them.",
            ),
            Verdict::CertificateExpired => text(
                "the certificate has expired".to_owned(),
                certificate,
                &hint(Hint::CertificateExpired, "See also why it was not renewed by itself."),
            ),
            Verdict::CertificateNotYetValid => text(
                "the certificate is not valid yet".to_owned(),
                certificate,
                &hint(Hint::CertificateEarly, ""),
            ),
            Verdict::CertificateOtherName { host, names } => text(
                match names.is_empty() {
                    true => format!("the certificate is not for {host}"),
                    false => format!("the certificate is for {names}, not for {host}"),
                },
                certificate,
                &hint(Hint::CertificateOtherName, ""),
            ),
            Verdict::CertificateSelfSigned => text(
                "the certificate is signed by itself".to_owned(),
                certificate,
                &hint(Hint::CertificateAuthority, "Better is one of a public authority (Let's Encrypt); here: --ca."),
            ),
            Verdict::CertificateChain => text(
                "the server sends its certificate without the intermediate one".to_owned(),
                "Browsers often know the missing link from elsewhere; phones, Node and most other programs do not, and refuse.",
                "Send the whole chain: `fullchain.pem` in place of `cert.pem`.",
            ),
            Verdict::CertificateAuthority => text(
                "the certificate's authority is not trusted here".to_owned(),
                certificate,
                &hint(Hint::CertificateAuthority, "Here: --ca."),
            ),
            Verdict::CertificateOther { what } => text(
                format!("the certificate cannot be used: {what}"),
                certificate,
                &hint(Hint::CertificateUnusable, ""),
            ),
            Verdict::CertificateIgnored { what } => text(
                format!("ignored, because of --insecure: {what}"),
                certificate,
                "Repair the certificate; without --insecure its fault is explained.",
            ),
            Verdict::TlsToPlain => text(
                "https:// was asked of a port that speaks plain HTTP".to_owned(),
                "The server does not encrypt on this port; the client waits for encryption.",
                &hint(Hint::NotTls, "Or put TLS in front of the server."),
            ),
            Verdict::PlainToTls => text(
                "http:// was asked of a port that speaks TLS".to_owned(),
                "The server encrypts on this port, and does not understand what is not encrypted.",
                &hint(Hint::TlsWanted, ""),
            ),
            Verdict::TlsOld { what } => text(
                format!("client and server find no common TLS: {what}"),
                "The server may speak only versions or ciphers that are no longer held secure, want a certificate of the client, or not know the host name.",
                &hint(Hint::TlsVersion, "See also what it says in its log."),
            ),
            Verdict::TlsFailed { what } => text(
                format!("the TLS handshake failed: {what}"),
                "The connection was opened, but could not be encrypted.",
                "Check that this is the port of HTTPS, and the certificate in the server's configuration.",
            ),
            Verdict::Page { path } => text(
                format!("a web page answers at {path}, not Socket.IO"),
                "The web server or single-page application sends its index.html for every path it does not know, and it does not pass this one on to Socket.IO.",
                &hint(Hint::Page, "Add a rule for the path to the proxy or development server, before the one for pages."),
            ),
            Verdict::NotFound { path, status } => text(
                format!("no Socket.IO at {path} (status {status})"),
                "A server answers, but it has nothing at this path; nor at the usual others.",
                &hint(Hint::NotFound, "See also that the Socket.IO server is attached to this very HTTP server. A namespace is not a path."),
            ),
            Verdict::NotEngine { status } => text(
                format!("something that is not Socket.IO answers (status {status})"),
                "The answer is not in the language of Socket.IO.",
                &hint(Hint::NotSocketIo, ""),
            ),
            Verdict::PlainWebSocket { path } => text(
                format!("a plain WebSocket server answers at {path}, not Socket.IO"),
                "Socket.IO is not WebSocket: it uses WebSocket to carry a protocol of its own, which this server does not speak.",
                &hint(Hint::PlainWebSocket, ""),
            ),
            Verdict::Gateway { status } => text(
                format!("the proxy answers {status}: it does not reach the server behind it"),
                "A proxy or load balancer is there, but the Socket.IO server behind it does not answer it.",
                &hint(Hint::Gateway, "In a container the server must listen on 0.0.0.0; a load balancer must hold it healthy."),
            ),
            Verdict::AuthWall { status } => text(
                format!("something in front of Socket.IO asks for credentials or forbids the request ({status})"),
                "The answer is not one of a Socket.IO server, so the request was stopped before it: by a login page, a firewall for web applications, or a rule of the proxy.",
                &hint(
                    match status {
                        401 | 407 => Hint::Credentials,
                        _ => Hint::Forbidden,
                    },
                    "Here: --header 'Authorization: ..'; or let the path through without the login.",
                ),
            ),
            Verdict::Forbidden { message } => text(
                format!("the Socket.IO server forbids the connection: {message}"),
                "The server's own function `allowRequest` said no.",
                &hint(Hint::AllowRequest, "It often looks at the header Origin, a cookie or a token; give them with --origin, --cookie, --header."),
            ),
            Verdict::BadRequest { code, message } => text(
                format!("the Socket.IO server refuses the handshake: {message} (code {code})"),
                "The server is a Socket.IO server, but something about the request, or a middleware of its engine, made it refuse.",
                "Register `io.engine.on(\"connection_error\", console.log)`: its context tells the reason.",
            ),
            Verdict::Redirect { status, to } => text(
                format!("the server redirects ({status}) to {to}"),
                "Browsers do not follow redirects for WebSocket, and a redirected POST becomes a GET.",
                &hint(Hint::Redirect, "If only the slash at the end differs, see the option `addTrailingSlash`, or the proxy's rule."),
            ),
            Verdict::Busy { status } => text(
                format!("the server says that it is busy ({status})"),
                "It limits how many connect, or how often from one address.",
                &hint(Hint::Busy, ""),
            ),
            Verdict::Silent => text(
                "the connection opens, but no answer comes".to_owned(),
                "Something accepts connections and says nothing: a server that hangs, one of another protocol, or one that waits for encryption.",
                &hint(Hint::Timeout, "See also that a middleware before it answers."),
            ),
            Verdict::HungUp => text(
                "the connection is closed without an answer".to_owned(),
                "Something accepts the connection and hangs up: a port forward with nothing behind it, or a server of another protocol.",
                &hint(Hint::NoHttp, "See also the server's log, and what forwards the port (container, tunnel, load balancer)."),
            ),
            Verdict::NotHttp => text(
                "what answers does not speak HTTP".to_owned(),
                "Another kind of server listens on this port.",
                &hint(Hint::NoHttp, ""),
            ),
            Verdict::WrongPath { asked, found } => text(
                format!("Socket.IO answers at {found}, not at {asked}"),
                "Client and server disagree about the path of the requests.",
                "Set the same path on both sides, with the slash at the end.",
            ),
            Verdict::OldServer { client } => text(
                format!(
                    "the server is of Socket.IO 1 or 2, the client is {}",
                    client.as_deref().unwrap_or("of version 3 or 4 (assumed; tell it with --client)")
                ),
                "The server speaks an older revision of the protocol. Newer clients seem to connect, and are dropped when the heartbeat fails.",
                &hint(Hint::OldServer, "Of that version are JavaScript 2.x, Java 1.x, Swift 15 or 16 with `.version(.two)`, and Python 4.x."),
            ),
            Verdict::FirstClient { client } => text(
                format!("the client {client} is made for servers of Socket.IO 1 only"),
                "Much works, but by its documentation it is not compatible with servers of version 2 and later, whatever they allow.",
                "Update the client: to version 2 for a server of version 2, to version 4 for one of version 3 or 4.",
            ),
            Verdict::OldClient { client } => text(
                format!("the server refuses clients as old as {client}"),
                "The client speaks an older revision of the protocol. Over polling it gets `Unsupported protocol version`, over WebSocket an `invalid frame`.",
                &hint(Hint::Revision, "Of version 3 or 4 are JavaScript 4.x, Java 2.x, Swift 16 and Python 5.x."),
            ),
            Verdict::WebSocketOnly => text(
                "the server takes WebSocket only, and clients begin with polling".to_owned(),
                "Unless it is told otherwise, a client makes an HTTP request first. This server refuses that (`Transport unknown`, code 0), so the client never comes to WebSocket.",
                &hint(Hint::Transport, "If your client has `transports: [\"websocket\"]`, all is well: run again with --transport websocket."),
            ),
            Verdict::PollingUnreachable { status } => text(
                format!("WebSocket works, polling does not ({status})"),
                "Clients begin with polling, and fail before they come to WebSocket. Something treats the two differently.",
                "Route the whole path to Socket.IO, not only WebSocket; or set `transports: [\"websocket\"]` on the client.",
            ),
            Verdict::PollingOnly => text(
                "the server offers polling only".to_owned(),
                "All works, with many HTTP requests in place of one connection.",
                "If this is not on purpose, add \"websocket\" to the server's `transports` and leave `allowUpgrades` on.",
            ),
            Verdict::NoStickiness { failed, total } => text(
                format!("no sticky sessions: {failed} of {total} requests reached a server that does not know the session"),
                "Several servers share this address, and each knows only the clients that it has greeted. A client's requests are spread over all of them, so that most attempts to connect fail with `Session ID unknown`.",
                &hint(Hint::Sticky, "With Node's cluster module use @socket.io/sticky."),
            ),
            Verdict::CookieStickiness { cookie, failed, total } => text(
                format!("sticky sessions need the cookie {cookie}: without it {failed} of {total} requests fail"),
                "Browsers on the same site send it. Clients without a cookie store (Node, Java, Rust) and pages of other sites do not, and fail with `Session ID unknown`.",
                "Pages of other sites: `withCredentials: true` on the client and `cors: { credentials: true }` on the server. Other clients: keep cookies, or use WebSocket only.",
            ),
            Verdict::LostSessions { failed, total } => text(
                format!("sessions are lost: {failed} of {total} requests got `Session ID unknown`"),
                "The server forgets sessions, even on the very connection on which they were opened: two Socket.IO servers on one path, processes that end after each request, or many servers without sticky sessions.",
                &hint(Hint::Sticky, "Make one Socket.IO server per process, and look for modules that bring their own (express-status-monitor)."),
            ),
            Verdict::CookieSameSite { cookie } => text(
                format!("browsers do not send the cookie {cookie} from this page"),
                "Sessions stick to their server by this cookie, the page is of another site, and the cookie is not `SameSite=None; Secure`. All requests come without it, and most are answered `Session ID unknown`.",
                "Let the load balancer set the cookie with `SameSite=None; Secure` over HTTPS (AWS: AWSALBCORS), with `withCredentials: true` on the client and `cors: { origin: \"..\", credentials: true }` on the server; or use WebSocket only.",
            ),
            Verdict::CookieNotAllowed { cookie } => text(
                format!("the server does not let browsers send the cookie {cookie}"),
                "Sessions stick to their server by this cookie. A page of another site sends it only with `withCredentials: true`, and then the server must name the page's exact origin and allow credentials.",
                "Set `cors: { origin: \"..\", credentials: true }` on the server and `withCredentials: true` on the client; or use WebSocket only.",
            ),
            Verdict::UpgradeStripped => text(
                "the WebSocket request reaches the server without its header Upgrade".to_owned(),
                "The server answers as to an ordinary request, so a proxy in between removed what makes it a WebSocket. Clients stay on polling; those with WebSocket only cannot connect.",
                &hint(Hint::UpgradeStripped, ""),
            ),
            Verdict::WebSocketPage { status } => text(
                format!("something else answers WebSocket requests (status {status})"),
                "Polling reaches Socket.IO, WebSocket does not: a rule of the proxy sends it elsewhere, or something does not know WebSocket.",
                &hint(Hint::NoWebSocket, ""),
            ),
            Verdict::WebSocketGateway { status } => text(
                format!("the proxy answers {status} to WebSocket requests"),
                "Polling works, but the proxy fails to pass WebSocket on.",
                &hint(Hint::Gateway, "See its rule for WebSocket: HTTP/1.1, and the headers Upgrade and Connection."),
            ),
            Verdict::WebSocketRefused { status, message } => text(
                format!("WebSocket is refused ({status}): {message}"),
                "Polling is allowed and WebSocket is not: a firewall, or the server's own `allowRequest`.",
                "Allow WebSocket there; until then clients stay on polling.",
            ),
            Verdict::WebSocketSilent => text(
                "WebSocket requests are never answered".to_owned(),
                "Polling works. Something on the way holds WebSocket requests back.",
                "Check the proxy's rule for WebSocket, and that no middleware holds the request.",
            ),
            Verdict::WebSocketClosed => text(
                "the connection is closed at a WebSocket request".to_owned(),
                "Polling works. A server that knows nothing of this path for WebSocket hangs up, as does a proxy without WebSocket.",
                "Attach Socket.IO to the HTTP server that gets these requests, and let the proxy pass them on with the same path.",
            ),
            Verdict::WebSocketNoSession => text(
                "a WebSocket opens, but Socket.IO does not greet on it".to_owned(),
                "Another WebSocket server takes the requests, or something holds back what the server sends.",
                "Check what handles `upgrade` on this server, and that no proxy buffers.",
            ),
            Verdict::WebSocketBroken => text(
                "the answer to the WebSocket request is wrong".to_owned(),
                "Something answers 101 without the headers that belong to it: mostly a proxy that makes the answer itself or removes them.",
                "Let the proxy pass the server's answer on, with Upgrade, Connection and Sec-WebSocket-Accept.",
            ),
            Verdict::WebSocketElsewhere => text(
                "a WebSocket reaches another server than the session's".to_owned(),
                "Polling works, and so does a WebSocket of its own; but when a client moves from polling to WebSocket, it meets a server that does not know it. Clients stay on polling.",
                "Let the load balancer route WebSocket by the same rule as the other requests.",
            ),
            Verdict::UpgradeRefused { message } => text(
                format!("sessions cannot move to WebSocket: {message}"),
                "A WebSocket of its own opens, but one for a session that began over polling is refused. Clients stay on polling.",
                "Let the load balancer route WebSocket by the same rule as the other requests.",
            ),
            Verdict::ProbeUnanswered => text(
                "the server does not answer the probe on the WebSocket".to_owned(),
                "The client tests the WebSocket before it moves to it, and gets no answer. It stays on polling.",
                "Check that the proxy passes messages on in both directions, and that the server's `upgradeTimeout` is not tiny.",
            ),
            Verdict::PollNotReleased => text(
                "the server does not end the waiting request when a client moves to WebSocket".to_owned(),
                "The client waits for that before it moves, up to the ping interval, and what is sent meanwhile waits too.",
                "Update the server's library; look for a proxy that holds the short answer back.",
            ),
            Verdict::Cached { sign } => text(
                format!("a cache answers: {sign}"),
                "Each client must get a session of its own. A cache (CDN) gives several clients the same one, or an old one.",
                "Switch caching off for the path, and let query parameters be part of the key.",
            ),
            Verdict::PollCut { after, how, ping_interval } => text(
                format!("waiting requests are cut off after {} ({how})", seconds(*after)),
                &format!("Polling lets a request wait until there is something to say, up to {}. Something on the way does not wait so long, and clients are disconnected.", seconds(*ping_interval)),
                "Raise the proxy's read timeout above pingInterval + pingTimeout, or lower pingInterval.",
            ),
            Verdict::Buffered { after } => text(
                format!("bodies of answers come {} after their heads", seconds(*after)),
                "Something on the way collects what passes through before it passes it on. Each message over polling is late by that time.",
                "Switch buffering off for the path (nginx: `proxy_buffering off`; also antivirus programs and compression that waits).",
            ),
            Verdict::NoNamespace { namespace, from_url } => text(
                format!("the server has no namespace {namespace}"),
                match from_url {
                    true => "The path of the URL is taken for a namespace, a kind of channel. The main namespace / works.",
                    false => "The server is reached, and does not know this channel. The main namespace / works.",
                },
                &hint(Hint::Namespace, "Correct the name, or register it on the server."),
            ),
            Verdict::ConnectRefused { message, token } => text(
                format!("the server refuses: {message}"),
                &match token {
                    Some(Token::Expired(since)) => format!("All of the connection works. A middleware of the server said no; the token in --auth expired {} ago.", seconds(*since)),
                    Some(Token::NotYetValid(until)) => format!("All of the connection works. A middleware of the server said no; the token in --auth is valid only in {}.", seconds(*until)),
                    None => "All of the connection works. A middleware of the server (`io.use`) said no, with this message.".to_owned(),
                },
                "Send what it wants in `auth` (here: --auth), and look at the middleware.",
            ),
            Verdict::ConnectUnanswered { namespace } => text(
                format!("no answer to the request to join {namespace}"),
                "The session is open, but nobody answers when the client joins: a middleware of the server never calls next(), or takes longer than this examination waits (2.5 s).",
                "Look for a path through each `io.use(..)` on which next() is not called, or which waits for something slow such as a database.",
            ),
            Verdict::OtherParser => text(
                "the server uses the MessagePack parser".to_owned(),
                "Client and server encode messages differently; the server hangs up on what it cannot read.",
                "Set the same parser on both sides (`parser` with socket.io-msgpack-parser).",
            ),
            Verdict::ConnectClosed => text(
                "the server closes the connection when the client joins".to_owned(),
                "It could not read the request, or its own code ended the connection: a parser of its own, or an error in a handler.",
                "Look at the server's log; compare the option `parser` of both sides.",
            ),
            Verdict::TunnelCut { after, interval } => text(
                format!("a silent WebSocket is cut after {}, before the ping that comes each {}", seconds(*after), seconds(*interval)),
                "A proxy closes connections on which nothing is said for a while. Clients lose theirs again and again (`transport close`), and connect again.",
                &hint(Hint::Broken, "Or lower `ping_interval`."),
            ),
            Verdict::NoPing { interval } => text(
                format!("no ping within {}", seconds(*interval)),
                "Server and client prove to each other that they are there. The server announced a ping that did not come, so clients will drop the connection.",
                &hint(Hint::PingTimeout, "Look also for code that blocks the server."),
            ),
            Verdict::HastyTimeout { timeout } => text(
                format!("pingTimeout is only {}", seconds(*timeout)),
                "Who does not answer a ping in that time is thrown out (`ping timeout`): a phone that changes its network, a busy page, or a message that takes longer.",
                "Set `pingTimeout` to 20 s, the default, unless there is a reason.",
            ),
            Verdict::RarePings { interval } => text(
                format!("a ping comes only every {}", seconds(*interval)),
                "Between two pings nothing is said on a quiet connection, and most proxies close one on which nothing is said for a minute (`transport close`).",
                "Set `pingInterval` to 25 s, the default, or make sure that every proxy waits longer.",
            ),
            Verdict::TabPings { limit } => text(
                format!("a minimised tab may be thrown out after {}", seconds(*limit)),
                "In this revision of the protocol the client pings by a timer of its own, and browsers let the timers of hidden tabs fire once a minute. In revision 4 it is the server that pings.",
                "Update client and server to version 4, or raise `pingTimeout` to more than 60 s.",
            ),
            Verdict::IdleCut { after, interval } => text(
                format!("connections are cut when nothing is said for {}", seconds(*after)),
                &format!("A ping comes every {}, so that a quiet connection is silent for that long. Something on the way does not wait; a connection on which something was said all the time stayed open.{}", seconds(*interval), owner(*after)),
                "Raise the idle timeout of the proxy above pingInterval + pingTimeout (nginx: `proxy_read_timeout`, Apache: `ProxyTimeout`, HAProxy: `timeout tunnel`), or lower pingInterval.",
            ),
            Verdict::LifeCut { after } => text(
                format!("connections are cut after {}, whether something is said or not", seconds(*after)),
                "Something on the way limits how long a connection lives (Google Cloud's backend service: 30 s by default), or was restarted. Clients connect again by themselves, and what was sent meanwhile may be lost.",
                "Raise that limit (Google Cloud: timeoutSec of the backend service), and turn on connection state recovery for what remains.",
            ),
            Verdict::BodyCapped { transport, size, passed, is_promised } => text(
                match transport {
                    Transport::WebSocket => format!("a WebSocket message of {size} bytes does not pass"),
                    _ => format!("a request of {size} bytes does not pass, one of {passed} does"),
                },
                match is_promised {
                    true => "The server takes messages of this size by its own word; something on the way does not. Who sends one is disconnected.",
                    false => "The server, which does not tell its limit, or something on the way does not take messages of this size. Who sends one is disconnected.",
                },
                "Raise the limit of the proxy (nginx: `client_max_body_size`) or of the server (`maxHttpBufferSize`), or send smaller messages.",
            ),
            Verdict::MessageTooLarge { size, limit } => text(
                format!("the server takes messages of up to {limit} bytes, not {size}"),
                "Who sends a larger one is disconnected: over polling with status 413, over WebSocket with code 1009.",
                "Raise `maxHttpBufferSize` on the server (`max_payload` here), or send smaller messages.",
            ),
            Verdict::SlowUpload { size, timeout } => text(
                format!("a message of {size} bytes takes longer than pingTimeout ({})", seconds(*timeout)),
                "While a client sends it cannot answer the server's ping, and is thrown out (`ping timeout`) before its message is complete.",
                "Raise `pingTimeout`, send smaller messages, or upload files over plain HTTP.",
            ),
            Verdict::NoAck { event } => text(
                format!("the event {event} is not acknowledged"),
                "It was sent, and the connection stayed open. There is no handler for this event in this namespace, the handler does not call the acknowledgement, or it takes longer than is waited for (1.5 s).",
                "Look for `socket.on(\"..\", (.., callback) => callback(..))` under this very name and namespace.",
            ),
            Verdict::LateHandler { event } => text(
                format!("the handler of {event} is registered too late"),
                "The event that was sent at once after joining was lost, the same a moment later was answered. A server drops events for which there is no handler yet.",
                "Register all handlers at the beginning of `io.on(\"connection\", ..)`, before anything that is awaited.",
            ),
            Verdict::ProxyAtFault { ids } => text(
                format!("the proxy breaks what works behind it: {}", self.names(ids)),
                "The same checks of the server behind the proxy find nothing of this, so that the server is not to blame.",
                "Change the proxy's configuration as the findings of these checks say.",
            ),
            Verdict::BehindToo { ids } => text(
                format!("the same is wrong behind the proxy: {}", self.names(ids)),
                "The proxy is not to blame for this.",
                "Look at the server itself.",
            ),
            Verdict::NotRecovered => text(
                "the state of a lost connection is not recovered".to_owned(),
                "The server offers recovery (it gave a pid), an event came, and who came back at once with both got a new session: what was sent meanwhile is lost. With several servers the client has met another one, or their adapter cannot do it.",
                "Let clients come back to the same server, or use an adapter that stores what was sent (Redis Streams, MongoDB).",
            ),
            Verdict::Limited { status, after } => text(
                format!("requests are limited: status {status} after {after} of them"),
                "Something allows only so many requests in so much time. Checks after that say little; clients that connect often, or many behind one address, meet the same.",
                "Try again later or from another address, and let the path of Socket.IO through with more: polling makes many requests.",
            ),
            Verdict::Challenge { status } => text(
                format!("a firewall asks whether this is a browser (status {status})"),
                "Its page is for people. Clients outside browsers cannot pass it, and in a page the requests of Socket.IO cannot either.",
                "Exempt the path of Socket.IO from the challenge.",
            ),
            Verdict::CorsMissing { origin } => text(
                format!("pages of {origin} may not connect: the server says nothing about CORS"),
                "The server answers, but the browser hides the answer from a page of another origin unless the server allows that page. Programs outside browsers are not concerned.",
                "Name the origin on the server: `cors: { origin: \"..\" }`.",
            ),
            Verdict::CorsOther { origin, allowed, is_near } => text(
                format!("pages of {origin} may not connect: the server allows {allowed}"),
                match is_near {
                    true => "The two differ only in a detail (scheme, port, www or a slash), and browsers compare them letter by letter.",
                    false => "The browser hides the answer from pages of other origins than the one that is allowed.",
                },
                "Name exactly this origin on the server, without a path or slash at the end.",
            ),
            Verdict::OriginRefused { origin } => text(
                format!("the server does not accept the origin {origin}"),
                "python-socketio refuses requests of pages that it was not told of.",
                "Add the origin to `cors_allowed_origins`.",
            ),
            Verdict::PreflightRefused => text(
                "the browser's question before the request (OPTIONS) is refused".to_owned(),
                "The code 2, `Bad handshake method`, in the server's log is this question: CORS is not configured at all.",
                &hint(Hint::HandshakeMethod, ""),
            ),
            Verdict::PreflightHeader { missing } => text(
                format!("the browser may not send the header {missing}"),
                "Headers of your own (extraHeaders) must be allowed by the server before the browser sends them.",
                "Add them to `allowedHeaders` of the option `cors`, or send the token in `auth` instead, which needs no header.",
            ),
            Verdict::ErrorsWithoutCors { status } => text(
                format!("errors (here status {status}) come without CORS headers"),
                "The handshake may be read by this page, an error may not. The browser then reports a CORS problem, whatever is really wrong.",
                "Let the proxy add `Access-Control-Allow-Origin` to errors too (nginx: `add_header .. always`), and not remove what the server sends.",
            ),
            Verdict::AnyOrigin => text(
                "a WebSocket of a foreign page is accepted".to_owned(),
                "CORS does not protect WebSocket. Where a cookie alone says who a user is, any page that the user visits can connect in their name.",
                "Compare the header Origin in `allowRequest`, or let clients prove who they are with a token in `auth`.",
            ),
            Verdict::Wildcard { with_cookies } => text(
                "all origins are allowed by *, which browsers do not take with cookies".to_owned(),
                match with_cookies {
                    true => "Requests with cookies need the exact origin in the answer, so that the browser hides this one.",
                    false => "The server allows cookies (`credentials: true`) and says `*`. A client with `withCredentials: true` is blocked; others work.",
                },
                "Name the origins on the server, with `credentials: true`.",
            ),
        }
    }

    fn note(&self, note: &Note) -> String {
        match note {
            Note::None => String::new(),
            Note::Ack(time) => format!("acknowledged after {} ms", time.as_millis()),
            Note::CookieSent(cookie) => {
                format!("{cookie} is sent if the client has withCredentials: true")
            }
            Note::Fits(client) => format!("{client} and the server understand each other"),
            Note::NoOffset => {
                "on, but no event came, without which nothing is recovered".to_owned()
            }
            Note::Payload(size) => format!("{size} bytes pass"),
            Note::Recovered => "a lost connection was recovered".to_owned(),
            Note::Same => "the proxy makes no difference".to_owned(),
            Note::Soaked(time) => format!("nothing was cut in {}", seconds(*time)),
            Note::Addresses(1) => "1 address".to_owned(),
            Note::Addresses(count) => format!("{count} addresses"),
            Note::Aims(path, namespace) => format!("path {path}, namespace {namespace}"),
            Note::Cors(origin) => format!("{origin} is allowed"),
            Note::Engine(revisions) => match revisions[..] {
                [3] => "revision 3: Socket.IO 1 and 2".to_owned(),
                [4] => "revision 4: Socket.IO 3 and 4".to_owned(),
                _ => "revisions 3 and 4: clients of Socket.IO 1 to 4".to_owned(),
            },
            Note::Heartbeat => "the ping came".to_owned(),
            Note::Joined {
                namespace,
                recovery: false,
            } => format!("joined {namespace}"),
            Note::Joined {
                namespace,
                recovery: true,
            } => {
                format!("joined {namespace}, state recovery is on")
            }
            Note::Held(time) => format!("a request waited {} and was not cut", seconds(*time)),
            Note::NotObserved(interval) => {
                format!("not observed: a ping comes every {}", seconds(*interval))
            }
            Note::Rounds(rounds) => format!("{rounds} sessions stayed on their server"),
            Note::Session {
                ping_interval,
                ping_timeout,
                max_payload,
            } => {
                let payload = max_payload.map(|bytes| format!(", messages up to {bytes} bytes"));
                format!(
                    "ping every {} + {}{}",
                    seconds(*ping_interval),
                    seconds(*ping_timeout),
                    payload.unwrap_or_default()
                )
            }
            Note::Tcp(time) | Note::Took(time) => format!("{} ms", time.as_millis()),
            Note::Tls(version) => (*version).to_owned(),
            Note::Transports(names) => (*names).to_owned(),
            Note::Refuses => "it answers, and refuses polling".to_owned(),
        }
    }

    fn why(&self, why: Why) -> String {
        match why {
            Why::Limited => "requests are limited".to_owned(),
            Why::NoBackend => "what is behind the proxy cannot be reached".to_owned(),
            Why::NoCookie => "sessions need no cookie".to_owned(),
            Why::NoRecovery => "the server does not offer it".to_owned(),
            Why::OnlyWith(option) => format!("only with {option}"),
            Why::SameSite => "the page is of the same site".to_owned(),
            Why::Needs(id) => format!("because of {} ({})", id.as_str(), self.name(id)),
            Why::NoHttps => "the URL is http://".to_owned(),
            Why::NoPolling => "polling is not used".to_owned(),
            Why::NoTime => "no time was left".to_owned(),
            Why::NoUpgrade => "no upgrade is offered".to_owned(),
            Why::NoWebSocket => "WebSocket is not used".to_owned(),
            Why::SameOrigin => "the page is of the same origin".to_owned(),
            Why::Unclear => "the answers do not tell".to_owned(),
            Why::Unneeded => "the path is right".to_owned(),
        }
    }

    fn advice(&self, advice: &Advice) -> &'static str {
        match advice {
            Advice::PassWebSocket => "A proxy that passes the path and WebSocket on:",
            Advice::Stick => "Sticky sessions:",
            Advice::Wait => "A proxy that waits longer than the heartbeat:",
            Advice::AllowOldClients => "A server that takes clients of version 1 and 2:",
            Advice::Cors => "A server that lets the page in:",
            Advice::CorsWithCookies => "A server that lets the page in, with cookies:",
            Advice::Namespace(_) => "A server with the namespace:",
            Advice::Auth => "A client with credentials:",
            Advice::KeepCookies => "A client that sends the load balancer's cookie:",
            Advice::OldVersion => "A client for a server of version 1 or 2:",
            Advice::OnlyWebSocket => "A client that uses WebSocket only:",
            Advice::Path(_) => "A client with the path of the requests:",
        }
    }

    fn tool(&self, name: &str) -> String {
        name.to_owned()
    }

    fn said(&self, line: &str) -> String {
        line.to_owned()
    }
}

/// Who is known to wait so long.
fn owner(after: std::time::Duration) -> &'static str {
    match after.as_secs() {
        50..=56 => " Heroku's router waits 55 s.",
        57..=63 => " 60 s is the default of nginx, Apache and AWS load balancers.",
        95..=104 => " Cloudflare waits 100 s.",
        235..=244 | 345..=354 => " Some NAT gateways forget connections after 240 s or 350 s.",
        _ => "",
    }
}

fn proxy(meaning: &str, has_proxy: bool) -> String {
    match has_proxy {
        true => format!("{meaning} A proxy is set in the environment; it was not used here."),
        false => meaning.to_owned(),
    }
}

pub(super) fn seconds(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..120 if duration.subsec_millis() < 50 => format!("{seconds} s"),
        1..120 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
