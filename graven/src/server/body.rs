//! Request bodies: room is reserved before the first byte is read, and given back when the request is done.

use super::App;
use axum::body::{Body, HttpBody as _};
use bytes::{Bytes, BytesMut};
use graven_model::{Code, Error, Result};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

/// What a body of unknown length reserves first, in bytes.
const FIRST_RESERVATION_BYTES: usize = 1 << 20;

/// A client that sends slower than this, in bytes a second, is cut off: what it holds is denied to others.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// How much of a refused body is still read, in bytes, so that the client gets to read the answer.
const DISCARD_BYTES_MAX: usize = 8 << 20;

/// Bytes of a refused body that are read before it is answered.
const DISCARD_FIRST_BYTES_MAX: u64 = 64 << 10;

/// How long a refused body is still read.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// A whole body, with the room it takes among all bodies.
pub(super) struct HeldBody {
    /// The bytes, contiguous.
    pub(super) bytes: Bytes,
    /// Given back on drop.
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads a whole body.
///
/// # Errors
/// [`Code::BodyTooLarge`] over the bound, before reading if the length was announced; [`Code::Timeout`] if it
/// stalls or trickles; [`Code::Overloaded`] if a body of unknown length outgrows the room there is;
/// [`Code::BadRequest`] if it breaks off.
pub(super) async fn read(app: &App, mut body: Body) -> Result<HeldBody> {
    let bytes_max = app.options.body_bytes_max;
    let announced = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > bytes_max) {
        discard(body).await;
        return Err(too_large(bytes_max));
    }
    let mut room = reserve(app, announced.unwrap_or(FIRST_RESERVATION_BYTES.min(bytes_max))).await?;
    let started = Instant::now();
    let mut bytes = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = next_chunk(app, &mut body).await? {
        let received = joined.len() + bytes.len() + chunk.len();
        if received > bytes_max {
            discard(body).await;
            return Err(too_large(bytes_max));
        }
        if received > room.num_permits() {
            match grow(app, received.max(room.num_permits() * 2).min(bytes_max) - room.num_permits()) {
                Ok(more) => room.merge(more),
                Err(error) => {
                    discard(body).await;
                    return Err(error);
                }
            }
        }
        let allowed =
            app.options.body_idle_timeout + Duration::from_secs(received as u64 / SLOWEST_BYTES_PER_SECOND);
        if started.elapsed() > allowed {
            return Err(too_slow(app));
        }
        // The common small body comes in one piece and is not copied.
        if bytes.is_empty() && joined.is_empty() {
            bytes = chunk;
        } else {
            if joined.is_empty() {
                joined.reserve(announced.unwrap_or(received));
                joined.extend_from_slice(&std::mem::take(&mut bytes));
            }
            joined.extend_from_slice(&chunk);
        }
    }
    if !joined.is_empty() {
        bytes = joined.freeze();
    }
    Ok(HeldBody { bytes, room })
}

async fn next_chunk(app: &App, body: &mut Body) -> Result<Option<Bytes>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
        match timeout(app.options.body_idle_timeout, frame).await {
            Err(_) => return Err(too_slow(app)),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => {
                return Err(Error::new(Code::BadRequest, "the body broke off or its framing is wrong"));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// Waits for room: back-pressure before reading. Requests wait in turn.
async fn reserve(app: &App, bytes: usize) -> Result<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes).map_err(|_| too_large(app.options.body_bytes_max))?;
    let waiting = app.bodies.clone().acquire_many_owned(permits);
    match timeout(app.options.body_room_timeout, waiting).await {
        Ok(room) => Ok(room.expect("the semaphore of bodies is never closed")),
        Err(_) => Err(no_room()),
    }
}

/// More room for a body of unknown length. Does not wait: two that wait for each other would wait for ever.
fn grow(app: &App, bytes: usize) -> Result<OwnedSemaphorePermit> {
    let permits = u32::try_from(bytes).map_err(|_| too_large(app.options.body_bytes_max))?;
    app.bodies.clone().try_acquire_many_owned(permits).map_err(|_| no_room())
}

/// Reads and drops what is left of a refused body, within bounds: closing a socket with unread bytes in it resets the
/// connection, and the client would see that instead of the answer. A small body is read before the answer, so that the
/// connection goes on; a large one beside it, and the connection ends with the answer.
pub(crate) async fn discard(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    let small = body.size_hint().upper().is_some_and(|bytes| bytes <= DISCARD_FIRST_BYTES_MAX);
    let reading = timeout(DISCARD_TIME_MAX, async move {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
        {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    });
    if small {
        let _ = reading.await;
    } else {
        tokio::spawn(reading);
    }
}

fn too_large(bytes_max: usize) -> Error {
    Error::new(Code::BodyTooLarge, "the request body is too large")
        .expected(format!("at most {bytes_max} bytes"))
}

fn too_slow(app: &App) -> Error {
    Error::new(Code::Timeout, "the request body came too slowly; nothing of it was used").expected(format!(
        "no pause over {} seconds and at least {SLOWEST_BYTES_PER_SECOND} bytes a second",
        app.options.body_idle_timeout.as_secs()
    ))
}

fn no_room() -> Error {
    Error::new(Code::Overloaded, "other request bodies take all the room there is")
}
