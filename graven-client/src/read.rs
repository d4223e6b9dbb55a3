//! Long reads, as streams: page after page, or the log's frames as they are stored.

use crate::backoff::Backoff;
use crate::client::Client;
use crate::{answers, status, words};
use futures_util::stream::{Stream, try_unfold};
use graven_model::{
    Code, Direction, Error, Frames, Page, Position, ReadRequest, Result, Selector, Start, StoredEvent, frame,
    limits,
};
use graven_proto::wire;
use std::collections::VecDeque;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;

impl Client {
    /// Reads every event of a request, page after page, up to what the end was when the read began. `limit` and
    /// `bytes_max` bound a page, not the read.
    ///
    /// The whole log forwards and unfiltered is read as [`Client::frames`]: the server sends what it has stored, and
    /// the events are decoded and checked here. A connection that breaks is made again; the read goes on where it was.
    /// Ends after an error.
    pub fn read_stream(
        &self,
        request: ReadRequest,
    ) -> impl Stream<Item = Result<StoredEvent>> + Send + 'static {
        let source = match bulk_start(&request) {
            Some(from) => Source::Frames(FrameReader::new(self.clone(), from), from),
            None => Source::Pages(PageReader::new(self.clone(), request)),
        };
        try_unfold((source, VecDeque::new()), |(mut source, mut events)| async move {
            loop {
                if let Some(event) = events.pop_front() {
                    return Ok(Some((event, (source, events))));
                }
                match source.next().await? {
                    Some(more) => events = more,
                    None => return Ok(None),
                }
            }
        })
    }

    /// Reads what [`Client::read_stream`] reads, in whole pages, and never as frames. In large pages, by a high `limit`
    /// and `bytes_max`, an event costs the least.
    ///
    /// [`Page::next`] says where another read would go on; the last page has none. A connection that breaks is made again;
    /// the read goes on where it was. Ends after an error.
    pub fn pages(&self, request: ReadRequest) -> impl Stream<Item = Result<Page>> + Send + 'static {
        try_unfold(PageReader::new(self.clone(), request), |mut reader| async move {
            Ok(reader.next().await?.map(|page| (page, reader)))
        })
    }

    /// Reads the log as it is stored, from the frame that holds a position, up to what the end was when the read began.
    /// [`graven_model::frame::events`] decodes the frames and compares every checksum. The fastest way to read
    /// everything. Ends after an error. When a lost connection had to be made again, the last frames may go beyond that end.
    pub fn frames(&self, from: Position) -> impl Stream<Item = Result<Frames>> + Send + 'static {
        try_unfold(FrameReader::new(self.clone(), from), |mut reader| async move {
            Ok(reader.next().await?.map(|frames| (frames, reader)))
        })
    }
}

/// Where a read that is served best by frames begins; `None` for every other read.
fn bulk_start(request: &ReadRequest) -> Option<Position> {
    let whole = request.selector == Selector::All
        && request.direction == Direction::Forward
        && request.filter.is_empty()
        && (1..=limits::PAGE_EVENTS_MAX).contains(&request.limit);
    match request.start {
        Start::Start if whole => Some(Position(0)),
        Start::Position(position) if whole => Some(position),
        _ => None,
    }
}

enum Source {
    Pages(PageReader),
    /// And the first position asked for: the first frame may begin before it.
    Frames(FrameReader, Position),
}

impl Source {
    async fn next(&mut self) -> Result<Option<VecDeque<StoredEvent>>> {
        match self {
            Source::Pages(pages) => Ok(pages.next().await?.map(|page| page.events.into())),
            Source::Frames(reader, from) => {
                let Some(frames) = reader.next().await? else { return Ok(None) };
                // After a lost connection they may go beyond what the end was.
                let wanted = *from..reader.head.unwrap_or(frames.head);
                let mut events = VecDeque::new();
                for event in frame::events(&frames.bytes) {
                    let event = event?;
                    if wanted.contains(&event.position) {
                        events.push_back(event);
                    }
                }
                Ok(Some(events))
            }
        }
    }
}

/// What the two readers share: patience.
struct Patience {
    client: Client,
    backoff: Backoff,
    /// No message by then, and the read fails.
    until: Option<Instant>,
    /// What the read has to see: as of when it began, however long it takes.
    min_position: Option<u64>,
}

impl Patience {
    fn new(client: Client) -> Patience {
        Patience { backoff: client.backoff(), min_position: client.min_position(), client, until: None }
    }

    fn deadline(&mut self) -> Instant {
        let after = self.client.options().deadline;
        *self.until.get_or_insert_with(|| Instant::now() + after)
    }

    fn progress(&mut self) {
        self.until = None;
        self.backoff.reset();
    }

    /// Pauses before another attempt; gives the error back if none would help or there is no time.
    async fn again(&mut self, error: Error) -> Result<()> {
        let pause = self.backoff.pause();
        if !error.code.entry().retryable || Instant::now() + pause >= self.deadline() {
            return Err(error);
        }
        tracing::debug!(%error, "a read goes on over another connection");
        sleep(pause).await;
        Ok(())
    }

    /// The next message, from a stream that is opened if there is none; `None` at its end.
    async fn message<M, F>(
        &mut self,
        stream: &mut Option<Streaming<M>>,
        open: impl FnOnce(Client) -> F,
    ) -> Result<Option<M>>
    where
        F: Future<Output = std::result::Result<tonic::Response<Streaming<M>>, tonic::Status>>,
    {
        let deadline = self.deadline();
        let client = self.client.clone();
        let next = async {
            let messages = match stream {
                Some(messages) => messages,
                None => stream.insert(open(client).await?.into_inner()),
            };
            messages.message().await
        };
        let next = match timeout_at(deadline, next).await {
            Ok(next) => next.map_err(|status| status::error_of(&status)),
            Err(_) => Err(Error::new(Code::Timeout, "the server does not go on with the read")),
        };
        if next.is_err() {
            *stream = None;
        }
        next
    }
}

struct PageReader {
    patience: Patience,
    /// The request of the next page; nothing after the last one.
    request: Option<ReadRequest>,
    pages: Option<Streaming<Page>>,
    /// The head when the read began: what came later is not read, however often the connection breaks.
    head: Option<Position>,
}

impl PageReader {
    fn new(client: Client, request: ReadRequest) -> PageReader {
        PageReader { patience: Patience::new(client), request: Some(request), pages: None, head: None }
    }

    async fn next(&mut self) -> Result<Option<Page>> {
        loop {
            let Some(request) = &self.request else { return Ok(None) };
            if !(1..=limits::PAGE_EVENTS_MAX).contains(&request.limit) {
                return Err(Error::new(Code::InvalidLimit, "the number of events a page is out of bounds"));
            }
            let mut message = wire::ReadRequest::from(request);
            message.pages = 0;
            message.page_bytes = message.page_bytes.max(1);
            message.min_position = self.patience.min_position;
            let open = async |client: Client| answers::pages(client.reads(), message).await;
            let page = match self.patience.message(&mut self.pages, open).await {
                Ok(Some(page)) => page,
                Ok(None) => {
                    let error = Error::new(Code::ConnectionFailed, "the server ended the read too early");
                    self.pages = None;
                    self.patience.again(error).await?;
                    continue;
                }
                Err(error) => {
                    self.patience.again(error).await?;
                    continue;
                }
            };
            self.patience.progress();
            return Ok(Some(self.take(page)));
        }
    }

    fn take(&mut self, mut page: Page) -> Page {
        let head = *self.head.get_or_insert(page.head);
        let request = self.request.take().expect("a page answers a request");
        let before = page.events.len();
        page.events.retain(|event| event.position < head);
        let over = page.events.len() < before;
        page.next = page.next.filter(|_| !over);
        self.request = page.next.map(|next| request.from(next));
        page
    }
}

struct FrameReader {
    patience: Patience,
    next: Position,
    frames: Option<Streaming<wire::ReadFramesResponse>>,
    head: Option<Position>,
}

impl FrameReader {
    fn new(client: Client, from: Position) -> FrameReader {
        FrameReader { patience: Patience::new(client), next: from, frames: None, head: None }
    }

    async fn next(&mut self) -> Result<Option<Frames>> {
        loop {
            if self.head.is_some_and(|head| self.next >= head) {
                return Ok(None);
            }
            let message = wire::ReadFramesRequest {
                from: self.next.0,
                page_bytes: 0,
                follow: false,
                min_position: self.patience.min_position,
            };
            let open = async |client: Client| client.service().read_frames(message).await;
            match self.patience.message(&mut self.frames, open).await {
                Ok(Some(frames)) => {
                    self.patience.progress();
                    self.head.get_or_insert(Position(frames.head));
                    self.next = Position(frames.next);
                    return Ok(Some(words::frames(frames)));
                }
                Ok(None) if self.head.is_none() => return Ok(None),
                Ok(None) => {
                    let error = Error::new(Code::ConnectionFailed, "the server ended the read too early");
                    self.frames = None;
                    self.patience.again(error).await?;
                }
                Err(error) => self.patience.again(error).await?,
            }
        }
    }
}
