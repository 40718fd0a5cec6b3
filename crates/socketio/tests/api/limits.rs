//! Every limit is hit, counted, and said in words; and a server is drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use socketio::client::{Client, Disconnected, Socket as ClientSocket};
use socketio::{AckError, Args, BroadcastAckError, EmitError, Server, Socket, Transport};
use socketio_proto::socket::JsonParser;
use socketio_proto::websocket::{Opcode, masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{
    HANDSHAKE, Polling, WEBSOCKET, Ws, http, listen, open_polling, raw, soon, start, until,
    upgrade_head,
};

fn handshake(more: &str) -> String {
    format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: h\r\n{more}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn sessions_are_limited_in_number() {
    let (io, address) = start(Server::builder().max_connections(2)).await;
    let first = Ws::connect(address).await;
    open_polling(address).await;
    for head in [handshake(""), upgrade_head(WEBSOCKET, "")] {
        let answer = raw(address, &head).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    }
    assert_eq!(io.stats().refused_connections, 2);
    drop(first);
    until(|| io.clients_count() == 1).await;
    open_polling(address).await;
}

// A session that polls needs two TCP connections, and one more while it upgrades.
#[tokio::test]
async fn as_many_as_are_let_in_can_poll_and_upgrade() {
    const CLIENTS: usize = 10;
    let (io, address) = start(Server::builder().max_connections(CLIENTS)).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let (mut kept, mut waiting, mut probes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let polling = Polling::connect(address).await;
        // It stays open for the next POST, as with every client.
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        let target = format!("{HANDSHAKE}&sid={}", polling.sid());
        let body = "42[\"echo\",1]";
        let post = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(post.as_bytes()).await.expect("to write");
        let mut status = [0; 12];
        soon(stream.read_exact(&mut status))
            .await
            .expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
        kept.push(stream);
        assert_eq!(polling.get().await, "42[\"echo\",1]");
        let target = format!("{WEBSOCKET}&sid={}", polling.sid());
        waiting.push(tokio::spawn(async move { polling.get().await }));
        probes.push(Ws::upgrade(address, &target).await);
    }
    let refused = raw(address, &handshake("")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    io.emit("news", ());
    for get in waiting {
        assert_eq!(soon(get).await.expect("an answer"), "42[\"news\"]");
    }
    assert_eq!(
        (io.clients_count(), io.stats().dropped_connections),
        (CLIENTS, 0)
    );
}

#[tokio::test]
async fn silent_connections_make_room_oldest_first() {
    for is_proxied in [false, true] {
        let io = Server::builder().max_tcp_connections(4).build();
        let listening = io.listen("127.0.0.1:0").await.expect("a port");
        let address = listening.local_addr().expect("an address");
        let (listening, preface) = match is_proxied {
            true => (
                listening.proxy_protocol(["127.0.0.1"]).expect("an address"),
                "PROXY UNKNOWN\r\n",
            ),
            false => (listening, ""),
        };
        tokio::spawn(async move { listening.await });
        let mut silent = Vec::new();
        for begun in ["", "", "P", ""] {
            let mut stream = TcpStream::connect(address).await.expect("to connect");
            stream.write_all(begun.as_bytes()).await.expect("to write");
            silent.push(stream);
        }
        let request = format!("{preface}{}", handshake(""));
        for oldest in 1..=2 {
            let answer = raw(address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert_eq!(soon(silent.remove(0).read_u8()).await.ok(), None);
            assert_eq!(io.stats().dropped_connections, oldest);
            // The place of the one that was answered is taken again.
            silent.push(TcpStream::connect(address).await.expect("to connect"));
        }
        let mut youngest = silent.pop().expect("one");
        youngest
            .write_all(request.as_bytes())
            .await
            .expect("to write");
        let mut answer = Vec::new();
        soon(youngest.read_to_end(&mut answer))
            .await
            .expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        assert_eq!(io.stats().slow_clients, 0);
    }
}

#[tokio::test]
async fn connections_of_sessions_are_kept_and_others_make_room() {
    let (io, address) = start(Server::builder().max_tcp_connections(3)).await;
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", args);
    });
    let keep = async |target: &str, status: &[u8]| {
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("to write");
        let mut line = [0; 12];
        soon(stream.read_exact(&mut line)).await.expect("an answer");
        assert_eq!(&line[9..], status);
        stream
    };
    let mut ws = Ws::connect(address).await;
    let mut polling = keep(HANDSHAKE, b"200").await;
    let mut stranger = keep("/elsewhere", b"404").await;
    let mut second = Ws::connect(address).await;
    let mut rest = Vec::new();
    soon(stranger.read_to_end(&mut rest))
        .await
        .expect("its end");
    assert_eq!(io.stats().dropped_connections, 1);
    // All places are taken by sessions: who comes now is dropped.
    assert_eq!(raw(address, &handshake("")).await, "");
    assert_eq!(io.stats().dropped_connections, 2);
    for ws in [&mut ws, &mut second] {
        ws.send("42[\"echo\",1]").await;
        assert_eq!(ws.text().await, "42[\"echo\",1]");
    }
    let again = "GET /elsewhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    polling.write_all(again.as_bytes()).await.expect("to write");
    let mut rest = String::new();
    soon(polling.read_to_string(&mut rest))
        .await
        .expect("an answer");
    assert!(rest.contains("HTTP/1.1 404 "), "{rest}");
    // What a WebSocket leaves is free.
    drop(ws);
    until(|| io.clients_count() == 2).await;
    open_polling(address).await;
}

// Between the question whether a session may be opened and the session, the application is asked.
#[tokio::test]
async fn limits_hold_while_the_application_is_asked() {
    let heads = || [handshake(""), upgrade_head(WEBSOCKET, "")];
    for limit in ["all", "address", "drain"] {
        let (gate, asked) = (
            Arc::new(tokio::sync::Semaphore::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let builder = match limit {
            "all" => Server::builder().max_connections(1),
            "address" => Server::builder().max_connections_per_address(1),
            _ => Server::builder(),
        };
        let (waits, counts) = (gate.clone(), asked.clone());
        let builder = builder.allow_request(async move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
            waits.acquire().await.expect("open").forget();
            Ok(())
        });
        let (io, address) = start(builder).await;
        let requests: Vec<_> = heads()
            .into_iter()
            .chain(heads())
            .map(|head| tokio::spawn(async move { status(address, &head).await }))
            .collect();
        until(|| asked.load(Ordering::SeqCst) == requests.len()).await;
        let allowed = match limit {
            "drain" => {
                io.close().await;
                0
            }
            _ => 1,
        };
        gate.add_permits(requests.len());
        let mut refused = 0;
        for request in requests {
            refused += usize::from(soon(request).await.expect("a status") == 503);
        }
        assert_eq!(
            (io.stats().opened, refused),
            (allowed, 4 - allowed as usize),
            "{limit}"
        );
        let stats = io.stats();
        let counted = stats.refused_connections + stats.refused_addresses + stats.refused_draining;
        assert_eq!(counted, 4 - allowed, "{limit}");
    }
}

/// The status that a request is answered with; the connection may stay.
async fn status(address: SocketAddr, head: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.expect("to connect");
    stream.write_all(head.as_bytes()).await.expect("to write");
    let mut line = [0; 12];
    soon(stream.read_exact(&mut line)).await.expect("an answer");
    let line = str::from_utf8(&line).expect("text");
    line.rsplit(' ')
        .next()
        .and_then(|status| status.parse().ok())
        .expect("a status")
}

#[tokio::test]
async fn handshakes_are_limited_in_rate() {
    let (io, address) = start(Server::builder().max_handshakes_per_second(1, 3)).await;
    for _ in 0..3 {
        open_polling(address).await;
    }
    let answer = raw(address, &handshake("")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(
        answer.ends_with("{\"message\":\"Too many handshakes\"}"),
        "{answer}"
    );
    assert_eq!(io.stats().refused_handshakes, 1);
    assert_eq!(io.clients_count(), 3);
}

#[tokio::test]
async fn sessions_of_an_address_are_limited_and_proxies_are_heard() {
    let builder = Server::builder()
        .max_connections_per_address(1)
        .trusted_proxies(["127.0.0.1", "10.0.0.0/8"]);
    let (io, address) = start(builder).await;
    io.on("who", async |socket: Socket| {
        let handshake = socket.handshake();
        (
            handshake.address().unwrap().ip().to_string(),
            handshake.is_secure(),
        )
    });
    let from = |client: &str| {
        handshake(&format!(
            "X-Forwarded-For: {client}, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n"
        ))
    };
    assert!(
        raw(address, &from("1.2.3.4"))
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let refused = raw(address, &from("1.2.3.4")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("Too many connections from this address"),
        "{refused}"
    );
    let opened = raw(address, &from("5.6.7.8")).await;
    assert_eq!(io.stats().refused_addresses, 1);
    let sid = opened
        .split("\"sid\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let target = format!("{HANDSHAKE}&sid={sid}");
    http(address, "POST", &target, "40").await;
    http(address, "GET", &target, "").await;
    http(address, "POST", &target, "420[\"who\"]").await;
    assert_eq!(
        http(address, "GET", &target, "").await.body,
        "430[\"5.6.7.8\",true]"
    );
    // A place is free when its session has ended.
    http(address, "POST", &target, "1").await;
    until(|| io.clients_count() == 1).await;
    assert!(
        raw(address, &from("5.6.7.8"))
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test]
async fn a_stranger_s_headers_mean_nothing() {
    let (io, address) = start(Server::builder().trusted_proxies(["10.0.0.0/8"])).await;
    raw(
        address,
        &handshake("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"),
    )
    .await;
    let mut ws = Ws::connect(address).await;
    io.on("who", async |socket: Socket| socket.handshake_json());
    ws.send("420[\"who\"]").await;
    let answer = ws.text().await;
    assert!(answer.contains("\"address\":\"127.0.0.1\""), "{answer}");
    assert!(answer.contains("\"secure\":false"), "{answer}");
}

// A provider gives each of its customers a network, who could otherwise have as many addresses as wanted.
#[tokio::test]
async fn sessions_of_a_network_of_ipv6_are_one_client_s_by_each_way() {
    for (by_proxy_protocol, eio) in [(false, 4), (true, 4), (false, 3), (true, 3)] {
        let builder = Server::builder()
            .max_connections_per_address(2)
            .allow_eio3()
            .trusted_proxies(["127.0.0.1"]);
        let io = builder.build();
        let address = match by_proxy_protocol {
            false => listen(&io).await,
            true => proxied(&io, &["127.0.0.1"]).await,
        };
        let open = async |client: &str, is_upgrade: bool| {
            let (preface, header) = match by_proxy_protocol {
                true => (format!("PROXY TCP6 {client} ::1 1 2\r\n"), String::new()),
                false => (String::new(), format!("X-Forwarded-For: {client}\r\n")),
            };
            let head = match is_upgrade {
                true => upgrade_head(WEBSOCKET, &header),
                false => handshake(&header),
            };
            let head = head.replace("EIO=4", &format!("EIO={eio}"));
            status(address, &format!("{preface}{head}")).await
        };
        assert_eq!(open("2001:db8::1", false).await, 200);
        // A WebSocket's end with the connection of its test frees its place.
        assert_eq!(open("2001:db8::1:2", false).await, 200);
        for is_upgrade in [false, true] {
            let refused = open("2001:db8::ffff:ffff:ffff:ffff", is_upgrade).await;
            assert_eq!(refused, 503, "{by_proxy_protocol} {eio} {is_upgrade}");
        }
        assert_eq!(open("2001:db8:0:1::1", false).await, 200);
        assert_eq!(open("::ffff:1.2.3.4", false).await, 200);
        assert_eq!(open("::ffff:1.2.3.5", false).await, 200);
        assert_eq!(io.stats().refused_addresses, 2);
    }
}

/// Serves behind load balancers with these addresses.
async fn proxied(io: &Server, networks: &[&str]) -> SocketAddr {
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let listening = listening.proxy_protocol(networks.iter().copied());
    let listening = listening.expect("networks");
    let address = listening.local_addr().expect("an address");
    tokio::spawn(async move { listening.await });
    address
}

// Who reaches the port past the load balancer could claim any address.
#[tokio::test]
async fn only_load_balancers_may_send_the_proxy_protocol() {
    for (networks, is_let_in) in [
        (&["127.0.0.1"][..], true),
        (&["10.0.0.0/8", "127.0.0.0/8"], true),
        (&["0.0.0.0/0", "::/0"], true),
        (&["127.0.0.2", "::1"], false),
        (&[], false),
    ] {
        let io = Server::new();
        let address = proxied(&io, networks).await;
        for header in ["PROXY TCP4 1.2.3.4 10.0.0.1 56 80\r\n", "PROXY UNKNOWN\r\n"] {
            let answer = raw(address, &format!("{header}{}", handshake(""))).await;
            assert_eq!(
                answer.starts_with("HTTP/1.1 200 "),
                is_let_in,
                "{networks:?}"
            );
        }
        let refused = if is_let_in { 0 } else { 2 };
        assert_eq!(io.stats().refused_proxies, refused, "{networks:?}");
        // A request without the header is nobody's, whoever sends it.
        assert_eq!(raw(address, &handshake("")).await, "");
        assert_eq!(io.stats().refused_proxies, refused + 1, "{networks:?}");
    }
    let io = Server::new();
    let listening = io.listen("127.0.0.1:0").await.expect("a port");
    let error = listening.proxy_protocol(["10.0.0.0/33"]).err();
    let error = error.expect("a refusal").to_string();
    assert!(error.contains("\"10.0.0.0/33\""), "{error}");
}

#[tokio::test]
async fn jsonp_is_served_unless_it_is_switched_off() {
    for (is_on, eio) in [(true, 4), (true, 3), (false, 4), (false, 3)] {
        let builder = Server::builder().allow_eio3();
        let builder = match is_on {
            true => builder,
            false => builder.without_jsonp(),
        };
        let (io, address) = start(builder).await;
        let target = format!("/socket.io/?EIO={eio}&transport=polling");
        for j in ["j=0", "j=12", "j=", "b64=1&j=0", "J=0", "jj=0"] {
            let answer = http(address, "GET", &format!("{target}&{j}"), "").await;
            let is_jsonp = j.split('&').any(|pair| pair.starts_with("j="));
            let is_script = answer.body.starts_with("___eio[");
            if is_jsonp && !is_on {
                let refusal = r#"{"code":3,"message":"JSONP is disabled"}"#;
                assert_eq!((answer.status, &*answer.body), (400, refusal), "{eio} {j}");
            } else {
                assert_eq!((answer.status, is_script), (200, is_jsonp), "{eio} {j}");
            }
        }
        // Of a session that has begun without, nothing is a script either.
        let sid = open_polling(address).await;
        http(address, "POST", &format!("{HANDSHAKE}&sid={sid}"), "40").await;
        let polled = http(address, "GET", &format!("{HANDSHAKE}&sid={sid}&j=0"), "").await;
        assert!(polled.body.starts_with("40{"), "{polled:?}");
        // The name says nothing over WebSocket.
        let socket = Ws::upgrade(address, &format!("{WEBSOCKET}&j=0")).await;
        let refused = if is_on { 0 } else { 4 };
        assert_eq!(io.stats().refused_requests, refused);
        drop(socket);
    }
}

#[tokio::test]
async fn the_proxy_protocol_tells_the_client_s_address() {
    let io = Server::new();
    let address = proxied(&io, &["127.0.0.0/8"]).await;
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = seen.clone();
    io.on_connection_error(move |error| told.lock().push(error.request.address));
    let bad =
        "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = raw(
        address,
        &format!("PROXY TCP4 1.2.3.4 10.0.0.1 56 80\r\n{bad}"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(*seen.lock(), [Some("1.2.3.4:56".parse().unwrap())]);
    assert_eq!(raw(address, bad).await, "", "dropped without the header");
    assert_eq!(seen.lock().len(), 1);
}

// E074: whoever dribbles, or says nothing, is dropped; who waits for an answer is not.
#[tokio::test]
async fn heads_and_handshakes_that_do_not_come_are_not_waited_for() {
    let (io, address) = start(Server::builder().head_timeout(Duration::from_millis(100))).await;
    let waiting = Polling::connect(address).await;
    for begun in ["", "GET /socket.io/?EIO=4&tra"] {
        assert_eq!(raw(address, begun).await, "");
    }
    assert_eq!(io.clients_count(), 1);
    assert_eq!(io.stats().slow_clients, 2);
    // Who has been answered and asks nothing more is not slow.
    let idle = format!("{}\r\n", "GET / HTTP/1.1\r\nHost: h\r\n");
    assert!(raw(address, &idle).await.starts_with("HTTP/1.1 404 "));
    let proxied = proxied(&io, &["127.0.0.1"]).await;
    assert_eq!(raw(proxied, "PROXY TCP4 1.2").await, "");
    assert_eq!(io.stats().slow_clients, 3);
    // A GET is pending all the time.
    let get = waiting.get();
    let news = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        io.emit("news", ());
    };
    assert_eq!(
        soon(async { tokio::join!(get, news).0 }).await,
        "42[\"news\"]"
    );
}

#[tokio::test]
async fn awaited_answers_are_limited() {
    let (io, address) = start(Server::builder().max_pending_acks(2)).await;
    let mut ws = Ws::connect(address).await;
    let socket = io.sockets().remove(0);
    let first = socket.emit_with_ack::<Value>("q", ());
    let second = socket.emit_with_ack::<Value>("q", ());
    let third = socket.emit_with_ack::<Value>("q", ()).await;
    assert!(
        matches!(third, Err(AckError::Emit(EmitError::TooManyAcks))),
        "{third:?}"
    );
    let broadcast = io
        .timeout(Duration::from_secs(5))
        .emit_with_ack::<Value>("q", ());
    assert!(broadcast.await.is_err());
    assert_eq!(io.stats().refused_acks, 2);
    ws.send("430[1]").await;
    assert_eq!(first.await.unwrap(), 1);
    drop(second);
    let fourth = socket.emit_with_ack::<Value>("q", ());
    ws.send("434[4]").await;
    assert_eq!(soon(fourth).await.unwrap(), 4);
}

// A full limit takes nothing else with it: the broadcast comes, and only its answer is not awaited.
#[tokio::test]
async fn a_broadcast_whose_answer_finds_no_place_is_delivered() {
    let (io, address) = start(Server::builder().max_pending_acks(2)).await;
    let mut full = Ws::connect(address).await;
    let socket = io.sockets().remove(0);
    let waiting = [0, 1].map(|_| socket.emit_with_ack::<Value>("q", ()));
    for id in 0..2 {
        assert_eq!(full.text().await, format!("42{id}[\"q\"]"));
    }
    let mut free = Ws::connect(address).await;
    let asked = io
        .timeout(Duration::from_secs(60))
        .emit_with_ack::<Value>("all", 1);
    let answers = async {
        for ws in [&mut full, &mut free] {
            assert_eq!(ws.text().await, "422[\"all\",1]");
            ws.send("432[7]").await;
        }
    };
    let (asked, ()) = soon(async { tokio::join!(asked, answers) }).await;
    let Err(BroadcastAckError::Incomplete { responses, missing }) = asked else {
        panic!("{asked:?}")
    };
    assert_eq!((responses, missing), (vec![Value::from(7)], 1));
    assert_eq!(io.stats().refused_acks, 1);
    // One that nobody acknowledges comes as ever, and the places that are taken stay it.
    io.emit("news", ());
    assert_eq!(full.text().await, "42[\"news\"]");
    full.send("431[1]").await;
    let [_, second] = waiting;
    assert_eq!(soon(second).await.expect("an answer"), 1);
}

#[tokio::test]
async fn broadcasts_that_wait_for_ever_leave_places_to_others() {
    let (io, address) = start(Server::builder().max_pending_acks(4)).await;
    let mut ws = Ws::connect(address).await;
    let socket = io.sockets().remove(0);
    let endless: Vec<_> = (0..10)
        .map(|n| io.emit_with_ack::<Value>("all", n))
        .collect();
    for n in 0..10 {
        assert_eq!(ws.text().await, format!("42{n}[\"all\",{n}]"));
    }
    assert_eq!(io.stats().refused_acks, 8);
    let timed = io
        .timeout(Duration::from_secs(60))
        .emit_with_ack::<Value>("timed", ());
    let one = socket.emit_with_ack::<Value>("one", ());
    ws.send("4310[10]").await;
    ws.send("4311[11]").await;
    assert_eq!(soon(timed).await.expect("all answers"), [10]);
    assert_eq!(soon(one).await.expect("an answer"), 11);
    // What is answered or given up makes room.
    drop(endless);
    let again = io.emit_with_ack::<Value>("all", ());
    ws.send("4312[12]").await;
    assert_eq!(soon(again).await.expect("all answers"), [12]);
}

#[tokio::test]
async fn long_heads_are_refused() {
    let (io, address) = start(Server::builder().max_header_bytes(8192)).await;
    let answer = raw(
        address,
        &handshake(&format!("X-Long: {}\r\n", "x".repeat(9000))),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!((io.clients_count(), io.stats().long_heads), (0, 1));
    assert!(
        raw(
            address,
            &handshake(&format!("X-Long: {}\r\n", "x".repeat(7000)))
        )
        .await
        .starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(io.stats().long_heads, 1);
}

// Proxies and tracing add dozens of lines to what a browser sends.
#[tokio::test]
async fn heads_of_many_lines_are_taken_and_of_too_many_refused() {
    let (io, address) = start(Server::builder()).await;
    let lines = |count: usize| {
        (0..count)
            .map(|n| format!("X-{n}: {n}\r\n"))
            .collect::<String>()
    };
    for (count, status) in [(100, 200), (200, 200), (498, 200), (499, 431), (2000, 431)] {
        let answer = raw(address, &handshake(&lines(count))).await;
        let status = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&status), "{count}: {answer}");
    }
    assert_eq!((io.stats().opened, io.stats().long_heads), (3, 2));
    // A limit in bytes holds for what comes at once as well.
    for (bytes, status) in [(65_000, "200"), (70_000, "431"), (200_000, "431")] {
        let head = handshake(&format!("X-Long: {}\r\n", "x".repeat(bytes)));
        assert_eq!(raw(address, &head).await.split(' ').nth(1), Some(status));
    }
    let target = format!("{WEBSOCKET}&sid={}", open_polling(address).await);
    let mut ws = Ws::offering(address, &target, &lines(400)).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
}

// On a proxy's connection a request with few lines may come before one with many.
#[tokio::test]
async fn later_requests_of_a_proxy_may_have_many_lines() {
    for (proxies, status) in [(&["127.0.0.1"][..], 200), (&[], 431)] {
        let builder = Server::builder().trusted_proxies(proxies.iter().copied());
        let (_io, address) = start(builder).await;
        let mut stream = TcpStream::connect(address).await.expect("to connect");
        let few = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.write_all(few.as_bytes()).await.expect("to write");
        let mut line = [0; 12];
        soon(stream.read_exact(&mut line)).await.expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 200");
        let lines: String = (0..400).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let many = handshake(&lines);
        stream.write_all(many.as_bytes()).await.expect("to write");
        let mut rest = String::new();
        soon(stream.read_to_string(&mut rest))
            .await
            .expect("an answer");
        assert!(rest.contains(&format!("HTTP/1.1 {status} ")), "{rest}");
    }
}

// What comes right behind the first head, before its answer, is not lost.
#[tokio::test]
async fn frames_may_come_with_the_first_head() {
    let (io, address) = start(Server::builder()).await;
    io.on("size", async |_: Socket, text: String| text.len());
    for size in [10, 20_000] {
        let mut bytes = upgrade_head(WEBSOCKET, "").into_bytes();
        let event = format!("420[\"size\",\"{}\"]", "x".repeat(size));
        for text in ["40", &event] {
            masked_frame(&mut bytes, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        }
        let mut ws = Ws::beginning_with(address, &bytes).await;
        assert!(ws.text().await.starts_with("0{"));
        assert!(ws.text().await.starts_with("40{"));
        assert_eq!(ws.text().await, format!("430[{size}]"));
    }
}

// RFC 9112, section 3.2.
#[tokio::test]
async fn a_request_has_one_host() {
    let (io, address) = start(Server::builder()).await;
    for (hosts, version, is_good) in [
        ("", "1.1", false),
        ("Host: a\r\n", "1.1", true),
        ("Host:\r\n", "1.1", true),
        ("Host: a\r\nHost: a\r\n", "1.1", false),
        ("Host: a\r\nHost: b\r\n", "1.0", false),
        ("", "1.0", true),
    ] {
        for (target, good) in [(HANDSHAKE, "200"), ("/elsewhere", "404")] {
            let head = format!("GET {target} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
            let answer = raw(address, &head).await;
            let status = if is_good { good } else { "400" };
            assert_eq!(answer.split(' ').nth(1), Some(status), "{head:?}");
        }
    }
    let no_host = upgrade_head(WEBSOCKET, "").replace("Host: h\r\n", "");
    let answer = raw(address, &no_host).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(io.clients_count(), 3);
}

#[tokio::test]
async fn namespaces_of_a_connection_are_limited() {
    let (io, address) = start(Server::builder().max_namespaces(2)).await;
    io.of("/a");
    io.of("/b");
    let (mut ws, _) = Ws::join(address, "").await;
    ws.send("40/a,").await;
    assert!(ws.text().await.starts_with("40/a,"));
    ws.send("40/b,").await;
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(io.stats().invalid_packets, 1);
}

#[tokio::test]
async fn auth_is_limited_over_all_namespaces_of_a_client() {
    for is_v3 in [false, true] {
        let builder = Server::builder().max_auth(1000).allow_eio3();
        let (io, address) = start(builder).await;
        io.of_pattern("^/pattern").on_connect(async |_: Socket| {});
        io.of_fn(async |name, _| name.starts_with("/fn"));
        io.of("/waits").middleware(async |_: Socket| {
            std::future::pending::<()>().await;
            Ok::<_, &str>(())
        });
        io.of("/refuses")
            .middleware(async |_: Socket| Err::<(), _>("no"));
        for nsp in ["/static", "/pattern", "/fn", "/waits"] {
            io.of("/static");
            let mut ws = match is_v3 {
                false => Ws::open(address).await,
                true => {
                    let mut ws =
                        Ws::upgrade(address, "/socket.io/?EIO=3&transport=websocket").await;
                    assert!(ws.text().await.starts_with('0'));
                    assert_eq!(ws.text().await, "40");
                    ws
                }
            };
            let join = |nsp: &str, length: usize| match is_v3 {
                false => format!("40{nsp},{{\"a\":\"{}\"}}", "x".repeat(length)),
                true => format!("40{nsp}?a={},", "x".repeat(length)),
            };
            let before = io.stats().large_auths;
            // What was refused, or left, does not count any more.
            for _ in 0..3 {
                ws.send(&join("/refuses", 600)).await;
                assert!(ws.text().await.starts_with("44/refuses"));
            }
            ws.send(&join(nsp, 900)).await;
            if nsp != "/waits" {
                assert!(ws.text().await.starts_with(&format!("40{nsp}")));
            }
            for other in ["/refuses", "/static2", "/fn2"] {
                ws.send(&join(other, 200)).await;
                let answer = ws.text().await;
                assert!(answer.contains("auth too large"), "{nsp}: {answer}");
            }
            assert_eq!(io.stats().large_auths, before + 3);
            if nsp != "/waits" {
                ws.send(&format!("41{nsp},")).await;
                ws.send(&join("/fn2", 900)).await;
                assert!(ws.text().await.starts_with("40/fn2"));
            }
        }
    }
}

#[tokio::test]
async fn attachments_of_an_event_are_limited() {
    let (io, address) = start(Server::builder().max_attachments(1)).await;
    let mut ws = Ws::connect(address).await;
    ws.send("452-[\"x\"]").await;
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(io.stats().invalid_packets, 1);
}

// Clients that poll, and do not now: nothing of the kernel's holds what waits for them.
#[tokio::test]
async fn the_queues_of_all_clients_are_limited_together() {
    let builder = Server::builder().max_total_queue(1_000_000);
    let (io, address) = start(builder).await;
    let news = "n".repeat(300_000);
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(Polling::connect(address).await);
    }
    let sockets = io.sockets();
    // Broadcasts are there once.
    for _ in 0..2 {
        io.emit("news", &news);
    }
    assert_eq!(io.metrics().long_queue_bytes, 0);
    for (length, socket) in [300_000, 400_000, 200_000].into_iter().zip(&sockets) {
        socket.emit("own", "o".repeat(length));
    }
    assert!(io.metrics().long_queue_bytes > 900_000);
    assert_eq!(io.stats().shed_clients, 0);
    sockets[3].emit("own", "o".repeat(300_000));
    until(|| io.stats().shed_clients > 0).await;
    until(|| io.clients_count() == 4).await;
    assert!(!sockets[1].is_connected());
    let rest = io.metrics().long_queue_bytes;
    assert!((800_000..1_000_000).contains(&rest), "{rest}");
    for polling in [&kept[0], &kept[2], &kept[3]] {
        while !polling.get().await.contains("own") {}
    }
    assert_eq!(io.metrics().long_queue_bytes, 0);
    assert_eq!(io.stats().shed_clients, 1);
}

// Nine of ten attachments are held no longer than a heartbeat takes, whatever carries them.
#[tokio::test]
async fn attachments_that_do_not_come_end_the_session() {
    for has_parser in [false, true] {
        let mut builder = Server::builder()
            .ping_interval(Duration::from_millis(100))
            .ping_timeout(Duration::from_millis(150));
        if has_parser {
            builder = builder.parser(JsonParser {
                max_attachments: 10,
                max_bytes: 1000,
            });
        }
        let (io, address) = start(builder).await;
        let (errors, mut told) = tokio::sync::mpsc::unbounded_channel();
        io.on_error(async move |_: Socket, error: String| drop(errors.send(error)));
        // Answers pings, and sends all attachments but the last.
        let mut ws = Ws::connect(address).await;
        ws.send("4510-[\"x\"]").await;
        for _ in 0..9 {
            ws.frame(Opcode::Binary, &[0; 10]).await;
        }
        if !has_parser {
            until(|| io.metrics().held_bytes >= 90).await;
        }
        assert_eq!(ws.closed().await, Some(None));
        let polling = Polling::connect(address).await;
        let mut packets = String::from("4510-[\"x\"]");
        packets.push_str(&"\u{1e}bAAAA".repeat(9));
        assert_eq!(polling.post(&packets).await.body, "ok");
        loop {
            match polling.get().await.as_str() {
                "2" => assert_eq!(polling.post("3").await.body, "ok"),
                end => break assert!(end.ends_with('1'), "{end}"),
            }
        }
        for _ in 0..2 {
            assert_eq!(
                soon(told.recv()).await.as_deref(),
                Some("attachments are missing")
            );
        }
        let stats = io.stats();
        assert_eq!((stats.late_attachments, stats.invalid_packets), (2, 2));
        assert_eq!(io.metrics().held_bytes, 0);
    }
}

#[tokio::test]
async fn attachments_that_come_slowly_are_waited_for() {
    let builder = Server::builder()
        .ping_interval(Duration::from_millis(20))
        .ping_timeout(Duration::from_secs(60));
    let (io, address) = start(builder).await;
    io.on("x", async |socket: Socket| {
        socket.emit("all", ());
    });
    let mut ws = Ws::connect(address).await;
    ws.send("452-[\"x\"]").await;
    // Looks at what waits come with the pings.
    while ws.pings < 3 {
        ws.send("3").await;
        assert_eq!(ws.item().await, (Opcode::Text, b"2".to_vec()));
        ws.pings += 1;
    }
    for _ in 0..2 {
        ws.frame(Opcode::Binary, &[0; 10]).await;
    }
    assert_eq!(ws.text().await, "42[\"all\"]");
    assert_eq!(io.stats().late_attachments, 0);
}

// S004.
#[tokio::test]
async fn the_time_before_connect_is_limited() {
    let builder = Server::builder().connect_timeout(Duration::from_millis(50));
    let (io, address) = start(builder).await;
    let mut ws = Ws::open(address).await;
    assert_eq!(ws.closed().await, Some(None));
    assert_eq!(io.stats().connect_timeouts, 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_session() {
    let (io, address) = start(Server::builder().body_timeout(Duration::from_millis(50))).await;
    let polling = Polling::connect(address).await;
    let head = format!(
        "POST {HANDSHAKE}&sid={} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n42[",
        polling.sid()
    );
    let answer = raw(address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    until(|| io.clients_count() == 0).await;
    assert_eq!(io.stats().slow_clients, 1);
}

// M37, S057: a restart without haste.
#[tokio::test]
async fn a_drained_server_lets_nobody_in_and_everybody_out() {
    let (io, address) = start(Server::builder()).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    io.on("work", {
        let gate = gate.clone();
        async move |_: Socket| {
            gate.acquire().await.unwrap().forget();
            "done"
        }
    });
    let reasons = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = reasons.clone();
    io.on_disconnect(async move |_: Socket, reason: String| told.lock().push(reason));
    let mut idle = Ws::connect(address).await;
    let mut busy = Ws::connect(address).await;
    busy.send("421[\"work\"]").await;
    let mut asked = Ws::connect(address).await;
    let question = io
        .sockets()
        .remove(2)
        .emit_with_ack::<Value>("question", ());
    assert_eq!(asked.text().await, "420[\"question\"]");
    assert!(io.is_ready());
    let draining = io.clone();
    let drained = tokio::spawn(async move { draining.drain(Duration::from_secs(3)).await });
    until(|| !io.is_ready()).await;
    let refused = raw(address, &handshake("")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 5\r\n"), "{refused}");
    assert_eq!(io.stats().refused_draining, 1);
    assert_eq!(idle.closed().await, Some(None));
    // What is unfinished is finished first.
    gate.add_permits(1);
    assert_eq!(busy.text().await, "431[\"done\"]");
    asked.send("430[\"answer\"]").await;
    assert_eq!(question.await.unwrap(), "answer");
    assert_eq!(busy.closed().await, Some(None));
    assert_eq!(asked.closed().await, Some(None));
    soon(drained).await.unwrap();
    assert_eq!(*reasons.lock(), ["server shutting down"; 3]);
    assert_eq!(io.clients_count(), 0);
}

#[tokio::test]
async fn a_drain_ends_with_its_window_whatever_is_unfinished() {
    let io = Server::new();
    io.on("work", async |_: Socket| std::future::pending::<()>().await);
    let address = listen(&io).await;
    let mut busy = Ws::connect(address).await;
    busy.send("421[\"work\"]").await;
    until(|| io.stats().events == 1).await;
    soon(io.drain(Duration::from_millis(100))).await;
    assert_eq!(busy.closed().await, Some(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn farewells_are_spread_over_the_window() {
    let (io, address) = start(Server::builder()).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(Ws::connect(address).await);
    }
    let gone = Arc::new(AtomicUsize::new(0));
    let counted = gone.clone();
    io.on_disconnect(async move |_: Socket| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let start = std::time::Instant::now();
    let draining = io.clone();
    let drained = tokio::spawn(async move { draining.drain(Duration::from_secs(1)).await });
    until(|| gone.load(Ordering::SeqCst) >= 10).await;
    // Half of them are not gone before half of the window.
    assert!(start.elapsed() >= Duration::from_millis(400));
    soon(drained).await.unwrap();
    assert_eq!(gone.load(Ordering::SeqCst), 20);
}

// M37, M38: a restart of a busy server. All come back, none of what they say is lost, and the new
// server is entered no faster than it allows.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_comes_back_after_a_restart() {
    const CLIENTS: u32 = 200;
    const RATE: u32 = 200;
    const BURST: u32 = 20;
    let (old, address) = start(Server::builder()).await;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let client = Client::builder(format!("http://{address}"))
            .transports([Transport::WebSocket])
            .reconnection_delay(Duration::from_millis(20))
            .reconnection_delay_max(Duration::from_millis(200))
            .build()
            .expect("valid");
        client.on_disconnect(async move |client: ClientSocket, _: Disconnected| {
            drop(client.emit("said meanwhile", n));
        });
        soon(client.connect()).await.expect("connected");
        clients.push(client);
    }
    soon(old.drain(Duration::from_millis(500))).await;
    soon(old.close()).await;
    assert_eq!(old.clients_count(), 0);
    let new = Server::builder()
        .max_handshakes_per_second(RATE, BURST)
        .build();
    let said = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = said.clone();
    new.on("said meanwhile", async move |_: Socket, n: u32| {
        log.lock().push(n)
    });
    let listening = loop {
        match new.listen(address).await {
            Ok(listening) => break listening,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let begin = std::time::Instant::now();
    tokio::spawn(async move { listening.await });
    until(|| said.lock().len() as u32 == CLIENTS).await;
    let least = f64::from(CLIENTS - BURST) / f64::from(RATE);
    assert!(begin.elapsed() >= Duration::from_secs_f64(least));
    said.lock().sort_unstable();
    assert!(said.lock().iter().copied().eq(0..CLIENTS));
    let stats = new.stats();
    assert_eq!(
        (stats.opened, stats.clients as u32),
        (u64::from(CLIENTS), CLIENTS)
    );
    assert!(stats.refused_handshakes > 0);
    assert!(clients.iter().all(ClientSocket::is_connected));
}
