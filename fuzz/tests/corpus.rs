//! The targets as ordinary tests: over their stored corpus, and for some seconds over random input.
//!
//! `SIO_FUZZ_SECONDS` sets how long each target gets (2), `SIO_FUZZ_SEED` where the random numbers begin, and
//! `SIO_FUZZ_TARGET` which target runs alone. An input that panics, that takes a second of CPU or more memory
//! than [`memory_for`], or that does not end within a minute, is kept in `found/`.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socketio_fuzz::TARGETS;

/// The time of the processor that an input may take, on a slow one without optimisation.
const MAX_CPU: Duration = Duration::from_secs(1);
/// The time that it may take, waiting included.
const MAX_TIME: Duration = Duration::from_secs(60);
/// A longer input is not made.
const MAX_INPUT: usize = 128 * 1024;

/// The memory that an input may take: windows of compression and buffers, and some copies of it.
fn memory_for(input: &[u8]) -> u64 {
    16 * 1024 * 1024 + 256 * input.len() as u64
}

#[test]
fn targets_hold_over_the_corpus_and_random_input() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("SIO_FUZZ_SECONDS").unwrap_or(2);
    let seed = number("SIO_FUZZ_SEED").unwrap_or(0);
    let only = std::env::var("SIO_FUZZ_TARGET").ok();
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    std::thread::scope(|scope| {
        let wanted = TARGETS.into_iter().enumerate().filter(|(_, (name, _))| is_wanted(name));
        for (i, (name, target)) in wanted {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut seeds: Vec<Vec<u8>> = fs::read_dir(&directory)
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
                .map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"))
                .collect();
            assert!(!seeds.is_empty(), "{name} has no corpus");
            seeds.sort();
            scope.spawn(move || {
                let mut bench = Bench::new(name, target);
                seeds.iter().for_each(|seed| bench.run(seed));
                let begin = 0x9e37_79b9_7f4a_7c15 ^ (i as u64 + 1) ^ seed.wrapping_mul(0xd6e8_feb8_6659_fd93);
                let mut random = Random(begin.max(1));
                let end = Instant::now() + Duration::from_secs(seconds);
                while Instant::now() < end {
                    bench.run(&random.mutated(&seeds));
                }
            });
        }
    });
}

/// Runs a target, and watches what each input takes.
struct Bench {
    name: &'static str,
    target: fn(&[u8]),
    current: Arc<Mutex<Option<(Instant, Vec<u8>)>>>,
}

impl Bench {
    fn new(name: &'static str, target: fn(&[u8])) -> Bench {
        let current: Arc<Mutex<Option<(Instant, Vec<u8>)>>> = Arc::default();
        let watched = Arc::downgrade(&current);
        std::thread::spawn(move || {
            while let Some(current) = watched.upgrade() {
                if let Some((begun, input)) = &*current.lock().expect("no panic")
                    && begun.elapsed() > MAX_TIME
                {
                    eprintln!("{name} does not end: {}", keep(name, input).display());
                    std::process::abort();
                }
                drop(current);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        Bench { name, target, current }
    }

    fn run(&mut self, input: &[u8]) {
        *self.current.lock().expect("no panic") = Some((Instant::now(), input.to_vec()));
        let before = cpu_time();
        let mut ended = Ok(());
        let memory = allocation_counter::measure(|| {
            ended = catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        });
        let took = cpu_time().zip(before).map(|(after, before)| after - before);
        *self.current.lock().expect("no panic") = None;
        if let Err(panic) = ended {
            eprintln!("{} panics: {}", self.name, keep(self.name, input).display());
            resume_unwind(panic);
        }
        if took.is_some_and(|took| took > MAX_CPU) {
            panic!("{} takes {took:?}: {}", self.name, keep(self.name, input).display());
        }
        if memory.bytes_max > memory_for(input) {
            let bytes = memory.bytes_max;
            panic!("{} takes {bytes} bytes: {}", self.name, keep(self.name, input).display());
        }
    }
}

/// The time that the processor has spent on this thread, where the system tells.
fn cpu_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Keeps an input that is to be looked at.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let path = directory.join(format!("{name}-{:016x}", hasher.finish()));
    let _ = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, input));
    path
}

/// A small generator with a fixed seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Random bytes, or seeds put together and changed in a few places.
    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = match self.below(8) {
            0 => (0..self.below(64)).map(|_| self.next() as u8).collect(),
            _ => seeds[self.below(seeds.len())].clone(),
        };
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.insert(at, self.next() as u8),
                1 => bytes.insert(at, b"0123456789-,/[]{}\"\\b\x1e\xc3\xa9"[self.below(23)]),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                4 => bytes.truncate(at),
                _ => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    bytes.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        // Now and then a long one: a part of it many times over.
        if !bytes.is_empty() && self.below(64) == 0 {
            let from = self.below(bytes.len());
            let part = bytes[from..].to_vec();
            let length = self.below(MAX_INPUT);
            while bytes.len() < length {
                bytes.extend_from_slice(&part);
            }
        }
        bytes.truncate(MAX_INPUT);
        bytes
    }
}
