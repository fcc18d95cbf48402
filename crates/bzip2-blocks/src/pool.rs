use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::bits::Segment;
use super::decode::Decoder;
use super::segments::{Cut, Segments};

/// Blocks in flight for each decoding thread: one that is decoded, one that waits.
const PER_THREAD: usize = 2;

/// A segment of the file, decoded as if it were one whole block where it looks like one.
#[derive(Debug)]
pub(super) struct Piece {
    /// The bits.
    pub segment: Segment,
    /// The level with which it was decoded, and the bytes, if it is a block indeed.
    pub decoded: Option<(u8, Vec<u8>)>,
}

/// What the reading thread hands on, in the order of the file.
enum Message {
    /// A piece, or the one that comes from here when it is decoded.
    Piece(Piece),
    Decoding(Receiver<Piece>),
    /// The input cannot be read further.
    Failed(io::Error),
    /// The end of the file.
    End,
}

/// A piece to decode and where to send it.
struct Job {
    segment: Segment,
    level: u8,
    reply: SyncSender<Piece>,
}

/// A thread that reads and cuts, and threads that decode.
#[derive(Debug)]
pub(super) struct Pool {
    messages: Receiver<Message>,
}

impl Pool {
    /// Starts the threads. They end when the pool is dropped or when the file ends.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub fn new<R>(segments: Segments<R>, threads: usize) -> io::Result<Self>
    where
        R: Read + Send + 'static,
    {
        let threads = threads.max(1);
        // The reading thread waits for room here before it makes a job, so that jobs have a bound
        // too.
        let (to_order, messages) = sync_channel(threads.saturating_mul(PER_THREAD));
        let (to_jobs, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            let name = format!("bzip2-{number}");
            thread::Builder::new().name(name).spawn(move || decode_all(&jobs))?;
        }
        let name = "bzip2-read".to_owned();
        thread::Builder::new().name(name).spawn(move || read_all(segments, &to_order, &to_jobs))?;
        Ok(Self { messages })
    }

    /// The next piece of the file; none at its end.
    ///
    /// # Errors
    ///
    /// Those of the input, or a thread has ended early.
    pub fn next(&self) -> io::Result<Option<Piece>> {
        let lost =
            || io::Error::other("internal error: a thread that unpacks bzip2 has ended early");
        match self.messages.recv().map_err(|_| lost())? {
            Message::Piece(piece) => Ok(Some(piece)),
            Message::Decoding(piece) => piece.recv().map(Some).map_err(|_| lost()),
            Message::Failed(error) => Err(error),
            Message::End => Ok(None),
        }
    }
}

/// Reads to the end, or until nobody wants more.
fn read_all<R: Read>(
    mut segments: Segments<R>,
    order: &SyncSender<Message>,
    jobs: &Sender<Job>,
) -> Option<()> {
    loop {
        match segments.next() {
            Ok(Some(Cut { segment, block_level: Some(level) })) => {
                let (reply, piece) = sync_channel(1);
                order.send(Message::Decoding(piece)).ok()?;
                jobs.send(Job { segment, level, reply }).ok()?;
            }
            Ok(Some(Cut { segment, block_level: None })) => {
                order.send(Message::Piece(Piece { segment, decoded: None })).ok()?;
            }
            Ok(None) => return order.send(Message::End).ok(),
            Err(error) => return order.send(Message::Failed(error)).ok(),
        }
    }
}

/// Decodes as long as there are jobs.
fn decode_all(jobs: &Mutex<Receiver<Job>>) -> Option<()> {
    let mut decoder = Decoder::default();
    loop {
        // The lock is given back before decoding.
        let Job { segment, level, reply } = jobs.lock().ok()?.recv().ok()?;
        let block = decoder.decode(&segment, level).ok();
        let decoded = block.filter(|block| block.end == segment.end());
        let decoded = decoded.map(|block| (level, block.bytes));
        // If nobody waits for it any more, nor will anybody for what follows.
        reply.send(Piece { segment, decoded }).ok()?;
    }
}
