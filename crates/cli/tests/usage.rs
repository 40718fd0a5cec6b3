//! What `sio` says and how it exits when it is used wrongly, and when the world is not as it should be.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What is still running then hangs.
const HANGS: Duration = Duration::from_secs(30);

fn sio(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio"));
    command.args(words).env_remove("SIO_CLUSTER_SECRET");
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends what it runs when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it to its end; gives the exit code and all that it said.
fn ended(words: &[&str]) -> (Option<i32>, String) {
    let mut running = Running(sio(words).spawn().expect("sio runs"));
    let mut errors = running.0.stderr.take().expect("a pipe");
    let (said, hears) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        let _ = said.send(text);
    });
    let text = hears.recv_timeout(HANGS);
    let text = text.unwrap_or_else(|_| panic!("{words:?} does not end"));
    let status: ExitStatus = running.0.wait().expect("an end");
    (status.code(), text)
}

/// Starts a server and waits until it serves.
fn serves(words: &[&str]) -> Result<(), String> {
    let words = [&["serve", "--port", "0"], words].concat();
    let mut running = Running(sio(&words).spawn().expect("sio runs"));
    let output = running.0.stdout.take().expect("a pipe");
    // It serves, or its output ends.
    match BufReader::new(output).lines().next() {
        Some(Ok(line)) if line.ends_with("is serving.") => Ok(()),
        _ => {
            let mut text = String::new();
            let errors = running.0.stderr.as_mut().expect("a pipe");
            errors
                .read_to_string(&mut text)
                .map_err(|error| error.to_string())?;
            Err(text)
        }
    }
}

/// A directory that goes with the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Files {
        let path = std::env::temp_dir().join(format!("sio-usage-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Files(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        shown(&path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn each_mistake_is_told_in_words_of_its_option() {
    let files = Files::new();
    let pair = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let (one, other) = (pair(), pair());
    let cert = &*files.write("cert.pem", &one.cert.pem());
    let key = &*files.write("key.pem", &one.signing_key.serialize_pem());
    let alien = &*files.write("alien.pem", &other.signing_key.serialize_pem());
    let text = &*files.write("text.pem", "no PEM");
    let missing = &*shown(&files.0.join("missing.pem"));
    let directory = &*shown(&files.0);

    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let free = free.expect("an address");
    let (free, free_port) = (&*free.to_string(), &*free.port().to_string());

    let serve: [(i32, &[&str], &[&str]); 22] = [
        (
            2,
            &["--tls-cert", missing, "--tls-key", key],
            &["--tls-cert", missing],
        ),
        (
            2,
            &["--tls-cert", directory, "--tls-key", key],
            &["--tls-cert", directory],
        ),
        (
            2,
            &["--tls-cert", text, "--tls-key", key],
            &["--tls-cert", text, "no certificate"],
        ),
        (
            2,
            &["--tls-cert", key, "--tls-key", key],
            &["--tls-cert", key, "no certificate"],
        ),
        (
            2,
            &["--tls-cert", cert, "--tls-key", missing],
            &["--tls-key", missing],
        ),
        (
            2,
            &["--tls-cert", cert, "--tls-key", text],
            &["--tls-key", text, "no private key"],
        ),
        (
            2,
            &["--tls-cert", cert, "--tls-key", cert],
            &["--tls-key", cert, "no private key"],
        ),
        (
            2,
            &["--tls-cert", cert, "--tls-key", alien],
            &["--tls-cert", cert, "--tls-key", alien],
        ),
        (2, &["--tls-cert", cert], &["--tls-key"]),
        (
            2,
            &["--cors", "*", "--cors-credentials"],
            &["--cors '*'", "--cors-credentials"],
        ),
        (
            2,
            &["--cors", "*", "--cors", "http://a", "--cors-credentials"],
            &["--cors '*'"],
        ),
        (
            2,
            &["--cors", "http://a/"],
            &["--cors http://a/", "write it as http://a,"],
        ),
        (2, &["--cors", "localhost"], &["--cors localhost"]),
        (
            2,
            &["--trusted-proxy", "proxy"],
            &["--trusted-proxy proxy", "10.0.0.0/8"],
        ),
        (
            2,
            &["--advertise", "h:1"],
            &["--advertise", "--cluster-secret"],
        ),
        (
            2,
            &["--advertise", "h:1", "--cluster-secret", "short"],
            &["--cluster-secret", "16"],
        ),
        (
            2,
            &["--redis", "nonsense"],
            &["--redis", "redis://localhost:6379"],
        ),
        (
            2,
            &["--postgres", "nonsense"],
            &["--postgres", "postgres://"],
        ),
        (
            2,
            &["--nats", "h:nonsense"],
            &["--nats", "nats://localhost:4222"],
        ),
        (
            2,
            &["--metrics", free, "--port", free_port],
            &["--metrics", "--port", free_port],
        ),
        (1, &["--host", "no such host"], &["no such host", "--host"]),
        (2, &["--log", "loud"], &["--log", "loud", "info"]),
    ];
    for (code, words, texts) in serve {
        let any_port: &[&str] = match words.contains(&"--port") {
            true => &[],
            false => &["--port", "0"],
        };
        let words = [&["serve"], any_port, words].concat();
        let (exit, said) = ended(&words);
        assert_eq!(exit, Some(code), "{words:?}: {said}");
        for text in texts {
            assert!(said.contains(text), "{words:?} without {text}: {said}");
        }
        assert!(
            !said.contains("origins([") && !said.contains('`'),
            "Rust: {said}"
        );
    }
}

#[test]
fn a_port_in_use_is_told_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = &*taken.local_addr().expect("an address").to_string();
    let (_, port) = address.rsplit_once(':').expect("a port");
    let cases: [(&[&str], &str); 3] = [
        (&["--port", port], "--port"),
        (&["--port", "0", "--metrics", address], "--metrics"),
        (
            &[
                "--port",
                "0",
                "--advertise",
                "h:1",
                "--cluster-secret",
                "0123456789abcdef",
                "--cluster-listen",
                address,
            ],
            "--cluster-listen",
        ),
    ];
    for (words, option) in cases {
        let (exit, said) = ended(&[&["serve"], words].concat());
        assert_eq!(exit, Some(1), "{words:?}: {said}");
        assert!(
            said.contains(option) && said.contains(address),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn the_largest_numbers_are_served() {
    let most = usize::MAX.to_string();
    for (option, value) in [
        ("--max-payload", &*most),
        ("--max-connections", &most),
        ("--max-tcp-connections", &most),
        ("--max-connections-per-address", "4294967295"),
        ("--max-handshakes", "4294967295"),
        ("--drain", "31536000"),
        ("--recovery", "31536000"),
        ("--max-payload", "1"),
        ("--max-connections", "1"),
        ("--max-tcp-connections", "1"),
        ("--max-handshakes", "1"),
        ("--drain", "0"),
        ("--log", "socketio=debug"),
        ("--path", "/a/b/"),
        ("--host", "localhost"),
    ] {
        if let Err(said) = serves(&[option, value]) {
            panic!("{option} {value}: {said}");
        }
    }
}

/// 0 done, 1 failed, 2 used wrongly, in each command; the doctor has codes of its own.
#[test]
fn exit_codes_are_the_documented_ones() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = &*taken.local_addr().expect("an address").port().to_string();
    // Nobody listens where somebody was.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    assert!(TcpStream::connect(address).is_err(), "somebody listens");
    let url = &*format!("http://{address}");
    let redis = &*format!("redis://{address}");
    let postgres = &*format!("postgres://{address}/x");

    let cases: [(i32, &[&str]); 30] = [
        (0, &["--version"]),
        (0, &["--help"]),
        (0, &["serve", "--help"]),
        (0, &["emit", "--help"]),
        (0, &["connect", "--help"]),
        (0, &["bench", "--help"]),
        (0, &["doctor", "--help"]),
        (0, &["doctor", "--list"]),
        (1, &["serve", "--port", port]),
        (1, &["--port", port]),
        (1, &["emit", "x", "--redis", redis]),
        (1, &["emit", "x", "--postgres", postgres]),
        (1, &["connect", url, "--no-reconnect", "--emit", "x"]),
        (
            1,
            &[
                "bench",
                url,
                "--for",
                "0.1",
                "--warm-up",
                "0",
                "--connections",
                "1",
            ],
        ),
        (2, &["doctor", url]),
        (2, &["nonsense"]),
        (2, &["--nonsense"]),
        (2, &["serve", "--nonsense"]),
        (2, &["serve", "--max-payload", "0"]),
        (2, &["emit"]),
        (2, &["emit", "x", "hello"]),
        (2, &["emit", "x", "--redis", "nonsense"]),
        (2, &["emit", "x", "--postgres", "nonsense"]),
        (2, &["connect"]),
        (2, &["connect", "nonsense://x", "--emit", "x"]),
        (2, &["connect", url, "--emit", "x", "hello"]),
        (2, &["bench", "nonsense://x"]),
        (3, &["doctor", "nonsense://x"]),
        (3, &["doctor", "--nonsense"]),
        (3, &["doctor", url, "--explain", "nonsense"]),
    ];
    for (code, words) in cases {
        let (exit, said) = ended(words);
        assert_eq!(exit, Some(code), "{words:?}: {said}");
    }
}
