//! What comes to the receiver, and how it is gathered into groups: a group is one commit.

use std::sync::mpsc::Receiver as Inbox;
use std::time::Duration;

use bytes::Bytes;
use wire::topic::Topic;

/// Messages in one group at most.
const GROUP_MESSAGES_MAX: usize = 1_024;
/// Bytes of frames in one group at most.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// How long a group waits for more, ms: half of the 10 ms that a group commit may take.
const GATHER: Duration = Duration::from_millis(5);
/// A group of so many messages does not wait for more.
const GATHER_MESSAGES: usize = 64;

/// Something for the receiver.
#[derive(Debug)]
pub enum ToWorker {
    /// A message of a gateway.
    Message(Delivery),
    /// A message that says nothing: only to be acked to the broker in its turn.
    Void(Ticket),
    /// A fact to be logged; answers with its position once it is durable.
    Fact(Box<rules::Fact>, tokio::sync::oneshot::Sender<u64>),
}

/// A message as the broker delivered it.
#[derive(Debug)]
pub struct Delivery {
    /// Its topic.
    pub topic: Topic,
    /// The frame.
    pub payload: Bytes,
    /// The broker kept it and sends it because we subscribed: it may be old.
    pub retained: bool,
    /// What acks it to the broker.
    pub ticket: Ticket,
}

/// Names a delivery on one connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The connection.
    pub session: u64,
    /// Its packet id there; 0 = none to ack.
    pub packet: u16,
}

/// What a group brings.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) messages: Vec<Delivery>,
    pub(super) facts: Vec<(Box<rules::Fact>, tokio::sync::oneshot::Sender<u64>)>,
    pub(super) tickets: Vec<Ticket>,
    bytes: usize,
}

impl Group {
    pub(super) fn add(&mut self, item: ToWorker) {
        match item {
            ToWorker::Message(delivery) => {
                self.bytes += delivery.payload.len();
                self.tickets.push(delivery.ticket);
                self.messages.push(delivery);
            }
            ToWorker::Void(ticket) => self.tickets.push(ticket),
            ToWorker::Fact(fact, logged) => self.facts.push((fact, logged)),
        }
    }

    fn is_full(&self) -> bool {
        self.tickets.len() >= GROUP_MESSAGES_MAX || self.bytes >= GROUP_BYTES_MAX
    }
}

/// Takes what is there already, and waits a little for more while the group is small.
pub(super) fn gather(first: ToWorker, inbox: &Inbox<ToWorker>) -> Group {
    let mut group = Group::default();
    group.add(first);
    while !group.is_full() {
        let next = match inbox.try_recv() {
            Ok(next) => Ok(next),
            Err(_) if group.tickets.len() < GATHER_MESSAGES => inbox.recv_timeout(GATHER),
            Err(_) => break,
        };
        match next {
            Ok(next) => group.add(next),
            Err(_) => break,
        }
    }
    group
}
