//! The client: all calls of the library stand here.

use std::error::Error;
use std::future::{pending, ready};
use std::time::Duration;

use socketio::client::{
    Ack, Client, ConnectError, Disconnected, Events, ManagerEvent, ReceivedEvent, Socket, Version,
};
use socketio::parser::MsgpackParser;
use socketio::{Args, DisconnectReason, Transport, Value};
use tokio::sync::mpsc;

use super::args::{ClientVersion, ConnectArgs, Parser, Transport as TransportArg};
use super::emit::Emit;
use super::ending::Exit;
use super::record::Record;

/// What comes from the connection.
pub(super) enum Happening {
    /// The connection has ended for good, which is an exit if there is more to do.
    Ended(Record, Exit),
    /// An event, and what answers it if the server asks.
    Event(Record, Option<Question>),
    State(Record),
}

/// An event that waits for its answer.
pub(super) struct Question {
    pub(super) name: String,
    ack: Ack,
}

impl Question {
    pub(super) fn answer(self, args: &[Value]) -> Result<(), String> {
        self.ack.send(arguments(args)?);
        Ok(())
    }
}

/// A namespace of a server.
pub(super) struct Link {
    socket: Socket,
    events: Events,
    states: mpsc::Receiver<Happening>,
    /// A state that waits until the events before it are taken.
    later: Option<Happening>,
}

impl Link {
    /// Begins to connect. An error is one of the options.
    pub(super) fn open(options: &ConnectArgs) -> Result<Link, String> {
        let mut builder = Client::builder(&options.url)
            .version(match options.client_version {
                ClientVersion::V2 => Version::V2,
                ClientVersion::V4 => Version::V4,
            })
            .timeout(options.timeout);
        if let Some(namespace) = &options.namespace {
            builder = builder.namespace(namespace);
        }
        if let Some(path) = &options.path {
            builder = builder.path(path);
        }
        if let Some(auth) = &options.auth {
            builder = builder.auth(auth);
        }
        for (key, value) in &options.query {
            builder = builder.query(key, value);
        }
        for (name, value) in &options.header {
            builder = builder.header(name, value);
        }
        if !options.transport.is_empty() {
            builder =
                builder.transports(options.transport.iter().map(|transport| match transport {
                    TransportArg::Polling => Transport::Polling,
                    TransportArg::Websocket => Transport::WebSocket,
                }));
        }
        if options.no_upgrade {
            builder = builder.without_upgrade();
        }
        if options.parser == Parser::Msgpack {
            builder = builder.parser(MsgpackParser::default());
        }
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(file) = &options.cacert {
            builder = builder.root_certificate(file);
        }
        if let (Some(certificate), Some(key)) = (&options.cert, &options.key) {
            builder = builder.client_certificate(certificate, key);
        }
        if options.insecure {
            builder = builder.danger_accept_invalid_certificates();
        }
        if let Some(path) = &options.unix_socket {
            builder = builder.unix_socket(path);
        }
        if options.no_reconnect {
            builder = builder.without_reconnection();
        }
        let socket = builder.build().map_err(|error| with_causes(&error))?;
        let states = watch(&socket);
        let events = socket.events();
        drop(socket.connect());
        Ok(Link {
            socket,
            events,
            states,
            later: None,
        })
    }

    /// The next thing that happens. Before the end of a connection come its events.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if this is dropped.
    pub(super) async fn happened(&mut self) -> Happening {
        if self.later.is_none() {
            tokio::select! {
                biased;
                Some(state) = self.states.recv() => self.later = Some(state),
                Some(event) = self.events.next() => return happening(event),
            }
        }
        let is_connect = matches!(self.later, Some(Happening::State(Record::Connect { .. })));
        let event = match is_connect {
            true => None,
            false => tokio::select! {
                biased;
                event = self.events.next() => event,
                () = ready(()) => None,
            },
        };
        match (event, self.later.take()) {
            (None, Some(state)) => state,
            (Some(event), state) => {
                self.later = state;
                happening(event)
            }
            (None, None) => pending().await,
        }
    }

    /// What has happened already.
    pub(super) async fn happened_already(&mut self) -> Option<Happening> {
        tokio::select! {
            biased;
            happening = self.happened() => Some(happening),
            () = ready(()) => None,
        }
    }

    /// Emits, and waits while the server reads slowly.
    pub(super) fn emit(
        &self,
        emit: Emit,
    ) -> impl Future<Output = (Emit, Result<(), String>)> + Send + use<> {
        let socket = self.socket.clone();
        async move {
            let sent = match arguments(&emit.args) {
                Ok(args) => socket
                    .emit(&emit.name, args)
                    .await
                    .map_err(|error| with_causes(&error)),
                Err(error) => Err(error),
            };
            (emit, sent)
        }
    }

    /// Emits at once, and waits for the answer.
    pub(super) fn ask(
        &self,
        emit: &Emit,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Value>, String>> + Send + use<> {
        let answer = arguments(&emit.args).map(|args| {
            self.socket
                .timeout(timeout)
                .emit_with_ack::<Args>(&emit.name, args)
        });
        async move { values(&answer?.await.map_err(|error| with_causes(&error))?) }
    }

    pub(super) fn connect(&mut self) {
        if !self.socket.is_active() {
            // The stream has ended with the connection.
            self.events = self.socket.events();
        }
        drop(self.socket.connect());
    }

    /// Leaves at once. Awaited, it waits until what was emitted is written.
    pub(super) fn disconnect(&self) -> impl Future<Output = ()> + Send + use<> {
        self.socket.disconnect()
    }

    /// How the connection is, for people.
    pub(super) fn status(&self) -> String {
        let namespace = self.socket.namespace();
        match (self.socket.id(), self.socket.manager().transport()) {
            (Some(id), Some(transport)) => {
                format!(
                    "connected as {id} to {namespace} over {}",
                    transport.as_str()
                )
            }
            _ if self.socket.is_active() => format!("not connected to {namespace}, trying to"),
            _ => format!("not connected to {namespace}; /connect connects"),
        }
    }
}

/// Tells the states of a connection.
fn watch(socket: &Socket) -> mpsc::Receiver<Happening> {
    let (sender, states) = mpsc::channel(STATES);
    let (connect, error, gone) = (sender.clone(), sender.clone(), sender.clone());
    // Sending fails when the command is about to end.
    socket.on_connect(async move |socket: Socket| {
        let record = connected(&socket);
        let _ = connect.send(Happening::State(record)).await;
    });
    socket.on_connect_error(async move |_: Socket, failed: ConnectError| {
        let is_final = failed.is_refused();
        let record = connect_error(&failed);
        let _ = match is_final {
            true => {
                error
                    .send(Happening::Ended(record, Exit::NotConnected))
                    .await
            }
            false => error.send(Happening::State(record)).await,
        };
    });
    socket.on_disconnect(async move |_: Socket, ended: Disconnected| {
        let is_own = ended.reason() == DisconnectReason::IoClientDisconnect;
        let record = disconnect(&ended);
        let _ = match is_own || ended.will_reconnect() {
            true => gone.send(Happening::State(record)).await,
            false => {
                gone.send(Happening::Ended(record, Exit::Disconnected))
                    .await
            }
        };
    });
    socket.manager().on(move |event| {
        let record = match event {
            ManagerEvent::ReconnectAttempt(attempt) => Record::Reconnecting { attempt: *attempt },
            ManagerEvent::Upgraded(transport) => Record::Upgrade {
                transport: transport.as_str(),
            },
            // The socket tells the rest.
            _ => return,
        };
        // A listener cannot wait. When so much waits to be printed, this can be missed.
        let _ = sender.try_send(Happening::State(record));
    });
    states
}

/// So many states may wait to be printed.
const STATES: usize = 64;

fn connected(socket: &Socket) -> Record {
    Record::Connect {
        id: socket.id().map(|id| id.to_string()).unwrap_or_default(),
        namespace: socket.namespace().to_owned(),
        transport: socket.manager().transport().map(Transport::as_str),
        recovered: socket.is_recovered(),
    }
}

fn connect_error(error: &ConnectError) -> Record {
    Record::ConnectError {
        message: error.message().to_owned(),
        status: error.status(),
        detail: error.detail().map(str::to_owned),
        data: error.data().cloned(),
        hint: error.hint().map(in_own_words),
    }
}

fn disconnect(ended: &Disconnected) -> Record {
    let code = ended.close_code().map(|code| format!("code {code}"));
    let status = ended.status().map(|status| format!("HTTP status {status}"));
    let message = ended.message().map(str::to_owned);
    let description = ended.description().map(str::to_owned);
    let details: Vec<String> = [message, code, status, description]
        .into_iter()
        .flatten()
        .collect();
    Record::Disconnect {
        reason: ended.reason().as_str(),
        detail: (!details.is_empty()).then(|| details.join(", ")),
        hint: ended.hint().map(in_own_words),
        will_reconnect: ended.will_reconnect(),
    }
}

/// A hint of the library, with the options of this command in it.
fn in_own_words(hint: &str) -> String {
    const WORDS: [(&str, &str); 3] = [
        ("in Rust `version(Version::V2)`", "here --client-version 2"),
        ("the option `path`", "--path"),
        (
            r#"`header("Authorization", ..)`, in JavaScript `extraHeaders`"#,
            "--header 'Authorization: ..'",
        ),
    ];
    let replace = |hint: String, (library, own): &(&str, &str)| hint.replace(library, own);
    WORDS.iter().fold(hint.to_owned(), replace)
}

fn happening(event: ReceivedEvent) -> Happening {
    let ReceivedEvent {
        name, args, ack, ..
    } = event;
    let question = ack.map(|ack| Question {
        name: name.clone(),
        ack,
    });
    let record = Record::Event {
        name,
        // The library has checked them.
        args: values(&args).unwrap_or_default(),
        wants_ack: question.is_some(),
    };
    Happening::Event(record, question)
}

fn arguments(values: &[Value]) -> Result<Args, String> {
    Args::from_values(values).map_err(|error| with_causes(&error))
}

fn values(args: &Args) -> Result<Vec<Value>, String> {
    args.to_values().map_err(|error| with_causes(&error))
}

/// An error and its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
