//! The targets as ordinary tests: over their stored corpus, and for some seconds over random input.
//! `SIO_FUZZ_SECONDS` sets how long each target gets; the default is 2.

use std::path::Path;
use std::time::{Duration, Instant};

use socketio_fuzz::TARGETS;

#[test]
fn targets_hold_over_the_corpus_and_random_input() {
    let seconds = std::env::var("SIO_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    std::thread::scope(|scope| {
        for (i, (name, target)) in TARGETS.into_iter().enumerate() {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(&directory)
                .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
                .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"))
                .collect();
            assert!(!seeds.is_empty(), "{name} has no corpus");
            seeds.sort();
            scope.spawn(move || {
                seeds.iter().for_each(|seed| target(seed));
                let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (i as u64 + 1));
                let end = Instant::now() + Duration::from_secs(seconds);
                while Instant::now() < end {
                    for _ in 0..256 {
                        target(&random.mutated(&seeds));
                    }
                }
            });
        }
    });
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
                    bytes.truncate(8192);
                }
            }
        }
        bytes
    }
}
