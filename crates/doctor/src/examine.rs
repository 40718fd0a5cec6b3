//! The examination: the checks one after the other, from the name to the namespace.
//!
//! What a failed check makes senseless is skipped and never blamed.

use std::time::Instant;

use tokio::time::timeout;

use super::check::{Check, Id, Outcome, Why};
use super::checks;
use super::facts::{Attempt, Patient};
use super::options::{Cookie, InvalidOption, Options};
use super::redact::Redactor;
use super::report::{Layer, Report, settled};
use super::target::Target;
use super::texts::{Seen, tools};
use super::wire::{Answer, Tls, Wire};

/// Examines a server, and says what keeps clients from connecting to it.
///
/// It makes at most 40 requests, at most 4 at once, and takes at most
/// [`timeout`](Options::timeout); more with `backend`, `emit`, `payload` and `soak`. It opens and
/// ends sessions, joins the namespace, and emits nothing, unless `emit` says so. Proxies are not used.
///
/// # Errors
///
/// When an option cannot be used. What is wrong with the server stands in the report.
///
/// # Cancel safety
///
/// Dropping the future ends the examination at once: WebSockets are closed without a farewell, and a
/// session over polling that was open then ends when the server hears nothing of it for its ping
/// timeout.
///
/// # Examples
///
/// ```no_run
/// use socketio_doctor::{Language, Options, examine};
///
/// # async fn example() -> Result<(), socketio_doctor::InvalidOption> {
/// let report = examine(&Options::new("http://localhost:3000")).await?;
/// if !report.is_healthy() {
///     eprint!("{}", report.to_text(Language::English));
/// }
/// # Ok(())
/// # }
/// ```
pub async fn examine(options: &Options) -> Result<Report, InvalidOption> {
    examine_with_progress(options, |_| {}).await
}

/// The same as [`examine`], which tells each check before it is made.
///
/// # Errors
///
/// As those of [`examine`].
///
/// # Cancel safety
///
/// As that of [`examine`].
pub async fn examine_with_progress(
    options: &Options,
    mut progress: impl FnMut(Id) + Send,
) -> Result<Report, InvalidOption> {
    options.check()?;
    let target = Target::parse(&options.url, &options.path, options.namespace.as_deref())
        .map_err(|error| InvalidOption(format!("the URL cannot be used: {error}")))?;
    let redactor = redactor(options, &target);
    let start = Instant::now();
    let started = jiff::Timestamp::now();
    let patient = make_checks(options, target, &mut progress).await?;
    let seen = seen(&patient);
    let mut exchanges = patient.wire.log();
    exchanges.extend(patient.behind);
    Ok(Report {
        target: patient.wire.target,
        started: started.to_string(),
        took: start.elapsed(),
        requests: patient.wire.budget.used(),
        revisions: patient.revisions,
        open: patient.open,
        seen,
        layers: settled(patient.layers),
        exchanges,
        redactor,
    })
}

/// Makes all checks of a server.
pub(super) async fn make_checks(
    options: &Options,
    target: Target,
    progress: &mut (dyn FnMut(Id) + Send),
) -> Result<Patient, InvalidOption> {
    let tls = Tls::new(&options.authorities)?;
    let wire = Wire::new(target, options);
    let mut patient = Patient::new(options.clone(), wire, Some(tls));
    for check in checks::ALL {
        progress(check.id());
        let start = Instant::now();
        let outcome = examine_one(check, &mut patient).await;
        patient.layers.push(Layer {
            id: check.id(),
            outcome,
            took: start.elapsed(),
            asked: patient.wire.log().len(),
        });
    }
    // Where a check was not made that would have closed it.
    if let Some(websocket) = patient.joined.take() {
        websocket.close().await;
    }
    Ok(patient)
}

async fn examine_one(check: &dyn Check, patient: &mut Patient) -> Outcome {
    let layers = &patient.layers;
    if let Some(id) = check.needs().iter().find_map(|id| blocked(*id, layers)) {
        return Outcome::Skipped(Why::Needs(id));
    }
    let (requests, time) = check.allowance(&patient.options);
    patient.wire.budget.allow(requests, time);
    let left = patient.wire.budget.left();
    if left.is_zero() {
        return Outcome::Inconclusive(Why::NoTime);
    }
    match timeout(left, check.run(patient)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Inconclusive(Why::NoTime),
    }
}

/// The check because of which another cannot be made, if this one has failed or was blocked itself.
fn blocked(id: Id, layers: &[Layer]) -> Option<Id> {
    let layer = layers.iter().find(|layer| layer.id == id)?;
    match &layer.outcome {
        Outcome::Failed(_) | Outcome::Inconclusive(_) => Some(id),
        Outcome::Skipped(Why::Needs(root)) => Some(*root),
        Outcome::Passed(..) | Outcome::Skipped(_) => None,
    }
}

/// What must not appear in the report.
fn redactor(options: &Options, target: &Target) -> Redactor {
    let mut redactor = Redactor::default();
    if let Some(auth) = &options.auth {
        redactor.add_value(auth);
    }
    for header in &options.headers {
        redactor.add(&header.value);
    }
    let cookies = options.cookies.iter();
    for (_, value) in cookies.filter_map(|Cookie(pair)| pair.split_once('=')) {
        redactor.add(value);
    }
    let query = url::form_urlencoded::parse(target.query.as_deref().unwrap_or_default().as_bytes());
    for (_, value) in query {
        redactor.add(&value);
    }
    redactor
}

/// What advice depends on.
fn seen(patient: &Patient) -> Seen {
    let mut server = String::new();
    let answers = [
        patient
            .polling
            .as_ref()
            .and_then(|(exchange, _)| exchange.answer()),
        match &patient.websocket {
            Some((_, Attempt::Refused(answer))) => Some(answer),
            _ => None,
        },
    ];
    let answers: Vec<&Answer> = answers.into_iter().flatten().collect();
    for answer in &answers {
        let texts = ["server", "via"].map(|name| Answer::header(answer, name).unwrap_or_default());
        server += &texts.join(" ").to_ascii_lowercase();
        server.push(' ');
    }
    let client = patient.options.client.as_ref();
    Seen {
        family: patient.family,
        server: server.trim().to_owned(),
        tools: tools(
            &answers,
            patient.family,
            client.map(|client| client.name.as_str()),
        ),
        path: patient.wire.target.path.clone(),
        url: patient.wire.target.origin(),
        origin: patient.options.page(),
    }
}
