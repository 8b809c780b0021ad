//! What the agent, the session server and the sessions' processes say to each other: one message a datagram of a
//! SOCK_SEQPACKET pair, encoded as all messages are.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use remote::Rank;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::identity::KeyId;
use wire::{PeerName, message};

/// Longest message in bytes: 4,096 guests of up to 15 bytes each, and what names the session.
const MAX_BYTES: usize = 80 << 10;
/// Messages that wait for an end which does not take them; who is so far behind has failed.
const MAX_WAITING: usize = 4096;

/// The agent's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToServer {
    /// Whether processes may come that are not here.
    Doors {
        /// For the session of this process alone; else for all that are or will be.
        session: Option<i32>,
        /// Why none may come, if so.
        closed: Option<String>,
    },
    /// A guest of a session is to leave.
    Evict {
        /// The pid of the session's process.
        session: i32,
        /// The guest's at home.
        pid: i32,
        /// Why, in words for its user.
        why: String,
    },
    /// What guests of sessions that are still to come get.
    Lend {
        /// Against tasks of the machine's own.
        rank: Rank,
        /// Cores that they are confined to, if so many.
        cores: Option<u16>,
    },
    /// The list of those who were removed from the cluster is a newer one: sessions of theirs end.
    Revoked,
    /// End all sessions and then yourself.
    Stop,
}

/// The session server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToAgent {
    /// A peer has shown its certificate.
    Began {
        /// The pid of the session's process.
        session: i32,
        /// Who it is.
        peer: PeerName,
    },
    /// Its guests, all of them.
    Guests {
        /// The pid of the session's process.
        session: i32,
        /// Pid at home, pid here, memory in MiB.
        guests: Vec<(i32, i32, u32)>,
    },
    /// It is over, and nothing of it is left.
    Ended {
        /// The pid of the session's process.
        session: i32,
    },
}

/// A session's process to the session server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FromSession {
    /// See [`ToAgent::Began`]; with the keys by which the peer may be revoked.
    Began(PeerName, Vec<KeyId>),
    /// See [`ToAgent::Guests`].
    Guests(Vec<(i32, i32, u32)>),
}

/// The session server to a session's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToSession {
    /// See [`ToServer::Doors`].
    Doors(Option<String>),
    /// See [`ToServer::Evict`].
    Evict(i32, String),
    /// End, and say why.
    End(String),
}

/// One end of a pair. What cannot be sent at once waits.
#[derive(Debug)]
pub(crate) struct End {
    socket: OwnedFd,
    queue: VecDeque<Vec<u8>>,
    gone: bool,
}

/// What there was to take.
pub(crate) enum Taken<T> {
    /// A message.
    Message(T),
    /// Nothing now.
    Nothing,
    /// The other end is gone, speaks nonsense, or does not listen.
    Gone,
}

impl End {
    /// Two ends; both are non-blocking.
    pub(crate) fn pair() -> Result<(End, End), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let end = |socket| End { socket, queue: VecDeque::new(), gone: false };
        Ok((end(one), end(other)))
    }

    /// Sends one message, now or when there is room.
    pub(crate) fn send(&mut self, message: &impl Serialize) {
        if self.queue.len() == MAX_WAITING {
            self.gone = true;
        }
        if !self.gone {
            self.queue.push_back(message::encode(message));
            self.flush();
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(bytes) = self.queue.front() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(_) => {
                    self.queue.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.queue.clear();
                    self.gone = true;
                }
            }
        }
    }

    /// Whether something waits for room.
    pub(crate) fn wants_write(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes one message.
    pub(crate) fn take<T: DeserializeOwned>(&mut self) -> Taken<T> {
        if self.gone {
            return Taken::Gone;
        }
        let mut buffer = vec![0; MAX_BYTES];
        let taken = loop {
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => break Taken::Gone,
                Ok((len, _)) => break message::decode(&buffer[..len]).map_or(Taken::Gone, Taken::Message),
                Err(Errno::AGAIN) => break Taken::Nothing,
                Err(Errno::INTR) => {}
                Err(_) => break Taken::Gone,
            }
        };
        self.gone = matches!(taken, Taken::Gone);
        taken
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_and_the_end_is_seen() {
        let (mut one, mut other) = End::pair().unwrap();
        assert!(matches!(other.take::<ToAgent>(), Taken::Nothing));
        // The largest there is.
        let guests =
            ToAgent::Guests { session: i32::MAX, guests: vec![(i32::MAX, i32::MAX, u32::MAX); 4096] };
        one.send(&guests);
        one.send(&ToAgent::Ended { session: 5 });
        assert!(matches!(other.take(), Taken::Message(taken) if guests == taken));
        assert!(matches!(other.take(), Taken::Message(ToAgent::Ended { session: 5 })));
        drop(one);
        assert!(matches!(other.take::<ToAgent>(), Taken::Gone));
    }

    #[test]
    fn what_finds_no_room_waits_in_order() {
        let (mut one, mut other) = End::pair().unwrap();
        let mut sent = 0;
        while !one.wants_write() {
            one.send(&ToAgent::Ended { session: sent });
            sent += 1;
        }
        one.send(&ToAgent::Ended { session: sent });
        for expected in 0..=sent {
            assert!(
                matches!(other.take(), Taken::Message(ToAgent::Ended { session }) if session == expected)
            );
            one.flush();
        }
        assert!(!one.wants_write());
    }
}
