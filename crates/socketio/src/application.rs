//! The one place where an application's code is called: its handlers, hooks, listeners and plug-ins, and
//! the `Drop` of what it has given us to keep.
//!
//! Such code may panic anywhere. That ends the one call: it is logged and counted, and whoever has called
//! goes on in the way that the callback's documentation says. (A process that is compiled with
//! `panic = "abort"` ends, and so does one in which a `Drop` panics while a panic unwinds.)
//!
//! It may block, too. A thread looks twice a second whether a call has lasted since it looked before, and
//! tells in the log. For that each call notes where its thread is, which is a few stores into memory that
//! no other thread writes to.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

/// A server's or a client's way to the code of its application.
pub(crate) struct Application {
    number: u32,
    panics: AtomicU64,
    blocked: AtomicU64,
    listens_to_outgoing: AtomicBool,
}

/// The call has ended in a panic, which is logged and counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Panicked;

/// A future of the application's.
pub(crate) type BoxFuture<T> = BorrowedFuture<'static, T>;
pub(crate) type BorrowedFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

macro_rules! callbacks {
    ($($name:ident = $text:literal,)+) => {
        /// What is called, as the log names it.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Callback {
            $(#[doc = $text] $name,)+
        }

        impl Callback {
            const ALL: &[Callback] = &[$(Callback::$name),+];

            fn as_str(self) -> &'static str {
                match self {
                    $(Callback::$name => $text,)+
                }
            }
        }
    };
}

callbacks! {
    Adapter = "adapter",
    AllowRequest = "allow_request",
    AuthProvider = "auth_with",
    Bus = "bus",
    ConnectionErrorListener = "on_connection_error",
    Deadline = "deadline",
    Drop = "drop",
    EngineMiddleware = "engine_middleware",
    EventMiddleware = "event_middleware",
    Fallback = "fallback",
    GenerateId = "generate_id",
    Handler = "handler",
    HeadersHook = "on_headers",
    ManagerListener = "manager.on",
    Middleware = "middleware",
    NamespaceListener = "on_new_namespace",
    NamespacePredicate = "of_fn",
    OriginPredicate = "origin_fn",
    OutgoingListener = "on_any_outgoing",
    Parser = "parser",
    PeerAddress = "peer_address",
    RoomListener = "on_room_event",
    SelectProtocol = "select_protocol",
    ServerSideListener = "on_server_side",
    Store = "store",
    UpgradeListener = "on_upgrade",
}

impl Application {
    pub(crate) fn new() -> Arc<Application> {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let application = Arc::new(Application {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            panics: AtomicU64::new(0),
            blocked: AtomicU64::new(0),
            listens_to_outgoing: AtomicBool::new(false),
        });
        Watch::add(&application);
        application
    }

    /// Calls the application's code.
    #[inline]
    pub(crate) fn call<R>(
        &self,
        callback: Callback,
        code: impl FnOnce() -> R,
    ) -> Result<R, Panicked> {
        let outer = begin(u64::from(self.number) << 8 | callback as u64);
        let result = catch_unwind(AssertUnwindSafe(code));
        end(outer);
        result.map_err(|panic| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            log(callback, panic)
        })
    }

    /// Polls a future of the application's, and takes it away when it has ended.
    pub(crate) fn poll<T>(
        &self,
        callback: Callback,
        future: &mut Option<BorrowedFuture<'_, T>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, Panicked>> {
        let polled = self.call(callback, || {
            let poll = future.as_mut()?.as_mut().poll(cx);
            if poll.is_ready() {
                *future = None;
            }
            Some(poll)
        });
        match polled {
            Ok(Some(poll)) => poll.map(Ok),
            // It is not polled after its end.
            Ok(None) => Poll::Pending,
            Err(panicked) => {
                self.discard(future.take());
                Poll::Ready(Err(panicked))
            }
        }
    }

    /// Calls the application's code for a future, and awaits that.
    pub(crate) async fn run<'a, T>(
        &self,
        callback: Callback,
        make: impl FnOnce() -> BorrowedFuture<'a, T>,
    ) -> Result<T, Panicked> {
        let future = Some(self.call(callback, make)?);
        let mut running = RunningCall {
            application: self,
            callback,
            future,
        };
        std::future::poll_fn(|cx| {
            let RunningCall {
                application,
                callback,
                future,
            } = &mut running;
            application.poll(*callback, future, cx)
        })
        .await
    }

    /// Drops what is the application's.
    pub(crate) fn discard<T>(&self, value: T) {
        // It is over with the value whatever happens.
        let _ = self.call(Callback::Drop, || drop(value));
    }

    /// Keeps what the application has given, and drops it as its code is called.
    pub(crate) fn hold<T>(self: &Arc<Application>, value: T) -> Held<T> {
        Held {
            value: Some(value),
            application: Some(self.clone()),
        }
    }

    /// Notes that it listens to outgoing events; until then a broadcast need not look at its receivers'
    /// listeners.
    pub(crate) fn listen_to_outgoing(&self) {
        self.listens_to_outgoing.store(true, Ordering::Release);
    }

    pub(crate) fn listens_to_outgoing(&self) -> bool {
        self.listens_to_outgoing.load(Ordering::Acquire)
    }

    /// How many calls have ended in a panic.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// How many calls have blocked their thread for a second.
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").finish_non_exhaustive()
    }
}

/// A future that is dropped as the application's code is called.
struct RunningCall<'a, 'f, T> {
    application: &'a Application,
    callback: Callback,
    future: Option<BorrowedFuture<'f, T>>,
}

impl<T> Drop for RunningCall<'_, '_, T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.application.discard(future);
        }
    }
}

/// What an application has given us to keep, such as a closure with its captures.
pub(crate) struct Held<T> {
    value: Option<T>,
    /// Who counts a panic of its `Drop`; nobody for what belongs to no server yet.
    application: Option<Arc<Application>>,
}

impl<T> Held<T> {
    /// Keeps what belongs to no server or client yet.
    pub(crate) fn uncounted(value: T) -> Held<T> {
        Held {
            value: Some(value),
            application: None,
        }
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only `drop` takes it away")
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        match &self.application {
            Some(application) => application.discard(value),
            None => {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
                    log(Callback::Drop, panic);
                }
            }
        }
    }
}

#[cold]
fn log(callback: Callback, panic: Box<dyn Any + Send>) -> Panicked {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    tracing::error!(
        callback = callback.as_str(),
        panic = text,
        "the application's code panicked; everything else goes on"
    );
    // What was thrown may be of any type, and that, too, may panic when it is dropped.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    Panicked
}

// --- Calls that block ---

/// How often the watch looks; what has lasted for `LOOKS` of them is told.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: u32 = 2;

/// Where a thread is.
#[derive(Default)]
struct Place {
    /// The innermost call: whose it is, and below that 8 bits of what is called. 0 while there is none.
    call: AtomicU64,
    /// Another one after each call that has begun or ended.
    count: AtomicU64,
}

thread_local! {
    static PLACE: Arc<Place> = Watch::enter();
}

/// Notes that a call begins; gives the one that it is inside of.
#[inline]
fn begin(call: u64) -> u64 {
    // A thread that is ending has no place any more.
    PLACE
        .try_with(|place| place.change(call))
        .unwrap_or_default()
}

#[inline]
fn end(outer: u64) {
    let _ = PLACE.try_with(|place| place.change(outer));
}

impl Place {
    #[inline]
    fn change(&self, call: u64) -> u64 {
        // Only its own thread writes: no need to do both at once.
        let before = self.call.load(Ordering::Relaxed);
        self.call.store(call, Ordering::Relaxed);
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        before
    }
}

/// The threads in which an application's code was called, and the thread that looks at them: it runs for
/// as long as there are servers or clients.
struct Watch {
    applications: Vec<Weak<Application>>,
    threads: Vec<Watched>,
    runs: bool,
}

struct Watched {
    place: Weak<Place>,
    count: u64,
    /// How often the same call was found.
    looks: u32,
}

static WATCH: Mutex<Watch> = Mutex::new(Watch {
    applications: Vec::new(),
    threads: Vec::new(),
    runs: false,
});

impl Watch {
    fn add(application: &Arc<Application>) {
        let mut watch = WATCH.lock();
        watch.applications.push(Arc::downgrade(application));
        if !watch.runs {
            let thread = std::thread::Builder::new().name("socketio-watch".to_owned());
            watch.runs = thread.spawn(Watch::run).is_ok();
        }
    }

    fn enter() -> Arc<Place> {
        let place = Arc::new(Place::default());
        WATCH.lock().threads.push(Watched {
            place: Arc::downgrade(&place),
            count: 0,
            looks: 0,
        });
        place
    }

    fn run() {
        loop {
            std::thread::sleep(LOOK);
            let mut watch = WATCH.lock();
            let Some(blocked) = watch.look() else { return };
            drop(watch);
            for (application, callback) in blocked {
                application.blocked.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    callback = callback.as_str(),
                    "the application's code has blocked its thread for a second, and with it \
                     the connections that it serves; use `tokio::task::spawn_blocking`"
                );
            }
        }
    }

    /// Finds the calls that have lasted for long; `None` when nobody is left who could call.
    fn look(&mut self) -> Option<Vec<(Arc<Application>, Callback)>> {
        self.applications.retain(|a| a.strong_count() > 0);
        if self.applications.is_empty() {
            self.runs = false;
            return None;
        }
        let mut blocked = Vec::new();
        self.threads.retain_mut(|watched| {
            let Some(place) = watched.place.upgrade() else {
                return false;
            };
            let count = place.count.load(Ordering::Relaxed);
            let call = place.call.load(Ordering::Relaxed);
            if call == 0 || count != watched.count {
                (watched.count, watched.looks) = (count, 0);
                return true;
            }
            watched.looks = watched.looks.saturating_add(1);
            if watched.looks == LOOKS {
                blocked.push(call);
            }
            true
        });
        let blocked = blocked.into_iter().filter_map(|call| {
            let mut all = self.applications.iter().filter_map(Weak::upgrade);
            let application = all.find(|application| u64::from(application.number) == call >> 8)?;
            let callback = Callback::ALL.get((call & 0xff) as usize)?;
            Some((application, *callback))
        });
        Some(blocked.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_ends_the_call_and_is_counted() {
        let application = Application::new();
        assert_eq!(application.call(Callback::Handler, || 1), Ok(1));
        let panicked: Result<(), _> = application.call(Callback::Handler, || panic!("on purpose"));
        assert_eq!((panicked, application.panics()), (Err(Panicked), 1));
    }

    #[test]
    fn what_is_thrown_may_panic_when_it_is_dropped() {
        let application = Application::new();
        let thrown: Result<(), _> = application.call(Callback::Handler, || {
            std::panic::panic_any(Bomb);
        });
        assert_eq!((thrown, application.panics()), (Err(Panicked), 1));
    }

    #[test]
    fn what_is_held_may_panic_when_it_is_dropped() {
        let application = Application::new();
        drop(application.hold(Bomb));
        drop(Held::uncounted(Bomb));
        assert_eq!(application.panics(), 1);
    }

    #[tokio::test]
    async fn a_future_may_panic_where_it_is_made_polled_or_dropped() {
        let application = Application::new();
        let run = |make| application.run(Callback::Handler, make);
        assert_eq!(
            run((|| panic!("made")) as fn() -> BoxFuture<()>).await,
            Err(Panicked)
        );
        assert_eq!(
            run(|| Box::pin(async { panic!("polled") })).await,
            Err(Panicked)
        );
        let never = run(|| {
            Box::pin(async {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            })
        });
        let mut never = Box::pin(never);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(never.as_mut().poll(&mut cx).is_pending());
        drop(never);
        assert_eq!(application.panics(), 3);
    }

    #[test]
    fn a_call_that_blocks_is_found_once_and_a_nested_one_by_its_own_name() {
        let application = Application::new();
        let (release, wait) = mpsc::channel::<()>();
        let (began, begins) = mpsc::channel();
        let blocking = application.clone();
        let thread = std::thread::spawn(move || {
            let _ = blocking.call(Callback::Handler, || {
                let _ = blocking.call(Callback::RoomListener, || {
                    let _ = began.send(());
                    let _ = wait.recv();
                });
            });
        });
        begins.recv().expect("it begins");
        let mut watch = Watch {
            applications: vec![Arc::downgrade(&application)],
            threads: Vec::new(),
            runs: true,
        };
        let place = WATCH.lock().threads.iter().find_map(|watched| {
            let place = watched.place.upgrade()?;
            let call = place.call.load(Ordering::Relaxed);
            (call >> 8 == u64::from(application.number)).then_some(Arc::downgrade(&place))
        });
        watch.threads.push(Watched {
            place: place.expect("its place"),
            count: 0,
            looks: 0,
        });
        let found: Vec<_> = (0..5)
            .map(|_| watch.look().expect("a server is there"))
            .map(|blocked| blocked.iter().map(|(_, what)| *what).collect::<Vec<_>>())
            .collect();
        let once = vec![Callback::RoomListener];
        assert_eq!(found, [vec![], vec![], once, vec![], vec![]]);
        release.send(()).expect("it waits");
        thread.join().expect("it ends");
        assert_eq!(watch.look().map(|blocked| blocked.len()), Some(0));
        drop(application);
        assert!(watch.look().is_none() && !watch.runs);
    }
}
