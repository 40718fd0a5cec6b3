//! Says why a Socket.IO connection fails, from outside, against any server.
//!
//! Checks are made one after the other, from the name to the namespace; each finding says what it means
//! and what to do, with the evidence and a line to repeat it. Nothing is repaired. It is what
//! `sio doctor` runs; `docs/doctor.md` tells more.
//!
//! ```no_run
//! use socketio_doctor::{Language, Options, examine};
//!
//! # async fn example() -> Result<(), socketio_doctor::InvalidOption> {
//! let report = examine(&Options::new("https://example.com/chat")).await?;
//! for diagnosis in report.diagnoses(Language::English) {
//!     println!("{}: {}", diagnosis.title, diagnosis.fix);
//! }
//! # Ok(())
//! # }
//! ```

mod budget;
mod check;
mod checks;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the documentation has columns that no check needs"
    )
)]
mod compatibility;
mod engine;
mod examine;
mod facts;
mod options;
mod redact;
mod report;
mod target;
mod texts;
mod wire;

pub use check::{Confidence, Evidence, Id, Severity};
pub use examine::{examine, examine_with_progress};
pub use options::{
    Authority, Backend, Client, Cookie, Emit, Header, InvalidOption, Options, Origin, PayloadSize,
};
pub use report::{Conclusion, Diagnosis, Report, explain, explain_json};
pub use socketio_proto::engine::Transport;
pub use texts::{Language, page_texts};

/// Reads bytes of a server in all ways that the checks do, for the fuzz targets of this project.
#[doc(hidden)]
pub async fn read_all_ways(bytes: &[u8]) {
    let Ok(answer) = wire::read_answer(bytes).await else {
        return;
    };
    let text = answer.text();
    let _ = engine::Reading::of(&answer).code();
    let _ = engine::open(&text);
    for revision in [3, 4] {
        let packets = engine::packets(revision, &text);
        let length: usize = packets.iter().map(String::len).sum();
        assert!(length <= 3 * text.len() + packets.len());
    }
}
