//! A trace for `mosix trace`: events go to the client of the control socket, which makes of them what its user wants.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Sink;
use super::event::{Event, What};
use crate::control::{Answer, Reply};

/// What a reader may be behind before it is waited for.
const BEHIND_BYTES: usize = 1 << 20;
/// How long it is waited for, while everything else stands still: a reader that is at work takes less.
const PATIENCE: Duration = Duration::from_millis(200);

/// Events on their way to a client. strace stops the program until its lines are written. Here a reader that reads slowly
/// slows the program down, too; but one that does not read at all has no power over it: what comes is counted and dropped
/// until it has read what there is.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// Of the request.
    id: u64,
    buffer: Vec<u8>,
    /// Of the first event that was dropped, and how many were.
    lost: Option<(Event<'static>, u64)>,
    gone: bool,
}

impl Client {
    /// Answers the request `id` on a stream that does not block.
    pub fn new(stream: UnixStream, id: u64) -> Client {
        Client { stream, id, buffer: Vec::new(), lost: None, gone: false }
    }

    fn put(&mut self, answer: &impl Serialize) {
        // Into memory, and of types that JSON has: it does not fail.
        if serde_json::to_writer(&mut self.buffer, answer).is_ok() {
            self.buffer.push(b'\n');
        }
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.put(&Told { id: self.id, reply: ToldReply::Traced(event) });
    }

    fn tell_lost(&mut self) {
        if let Some((event, lost)) = self.lost.take() {
            self.tell(&Event { what: What::Lost(lost), ..event });
        }
    }

    /// Writes what can be written now.
    fn write(&mut self) {
        let mut written = 0;
        while written < self.buffer.len() && !self.gone {
            match self.stream.write(&self.buffer[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The control socket sees its end, too, and ends the trace.
                Err(_) => self.gone = true,
            }
        }
        self.buffer.drain(..written);
        if self.gone {
            self.buffer.clear();
        }
    }

    /// Writes until little is left, or the reader is too slow.
    fn drain_to(&mut self, bytes: usize) {
        let until = Instant::now() + PATIENCE;
        self.write();
        while self.buffer.len() > bytes {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else { return };
            let mut fds = [PollFd::new(&self.stream, PollFlags::OUT)];
            if left.is_zero() || poll(&mut fds, Some(&timeout)) == Ok(0) {
                return;
            }
            self.write();
        }
    }
}

/// An [`Answer`] with a [`Reply::Traced`].
#[derive(Serialize)]
struct Told<'e> {
    id: u64,
    reply: ToldReply<'e>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ToldReply<'e> {
    Traced(&'e Event<'e>),
}

impl Sink for Client {
    fn event(&mut self, event: &Event<'_>) {
        if let Some((_, lost)) = &mut self.lost {
            *lost += 1;
            return;
        }
        if self.buffer.len() > BEHIND_BYTES {
            self.drain_to(BEHIND_BYTES / 2);
        }
        if self.buffer.len() > BEHIND_BYTES {
            let Event { at_ns, pid, tid, .. } = *event;
            self.lost = Some((Event { at_ns, pid, tid, what: What::Lost(0) }, 1));
            return;
        }
        self.tell(event);
    }

    fn flush(&mut self) -> bool {
        self.write();
        if self.buffer.is_empty() && self.lost.is_some() {
            self.tell_lost();
            self.write();
        }
        !self.buffer.is_empty()
    }

    fn finish(&mut self) {
        self.tell_lost();
        self.put(&Answer { id: self.id, reply: Reply::Done });
        self.drain_to(0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn a_slow_reader_gets_what_is_kept_and_the_number_of_what_is_not() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours, 7);
        let events = 40_000;
        for at_ns in 0..events {
            client.event(&Event { at_ns, pid: 1, tid: 1, what: What::Born });
        }
        assert!(client.flush(), "something is left");
        assert!(client.buffer.len() <= BEHIND_BYTES + 1000, "{}", client.buffer.len());
        let reader = std::thread::spawn(move || {
            let (mut told, mut lost) = (0, 0);
            for line in BufReader::new(theirs).lines() {
                let answer: Answer = serde_json::from_str(&line.unwrap()).unwrap();
                assert_eq!(answer.id, 7);
                match answer.reply {
                    Reply::Traced(Event { what: What::Lost(count), .. }) => lost += count,
                    Reply::Traced(event) => {
                        assert_eq!((event.at_ns, event.what), (told, What::Born));
                        told += 1;
                    }
                    Reply::Done => return (told, lost),
                    other => panic!("{other:?}"),
                }
            }
            panic!("it does not end");
        });
        while client.flush() {
            std::thread::yield_now();
        }
        client.finish();
        let (told, lost) = reader.join().unwrap();
        assert!(lost > 0 && told + lost == events, "{told} told, {lost} lost");
    }
}
