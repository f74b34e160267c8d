//! What the centre orders on `…/cmd`. No order writes to a field device: there is none that could.

use prost::Message as _;

use super::{name, read};
use crate::error::{DecodeError, at_most, between};
use crate::ids::{GatewayName, LogId};
use crate::limits::{COMMENT_BYTES_MAX, TEXT_BYTES_MAX};
use crate::proto;

/// One order to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whom it is for; must be the name in the topic.
    pub gateway: GatewayName,
    /// The start of the centre that issued it.
    pub log_id: LogId,
    /// Idempotency: an id that was carried out is not carried out again.
    pub id: String,
    /// Milliseconds UTC.
    pub issued_at: i64,
    /// Milliseconds UTC; void afterwards.
    pub expires_at: i64,
    /// What to do.
    pub order: Order,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Publish the state now.
    Ping,
    /// Take this rule set for the edge rules.
    RuleSet(RuleSet),
    /// A person signed an alarm at the centre.
    AlarmAck(AlarmAck),
}

/// Rules and facts for the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// Version of the rule set.
    pub version: String,
    /// Revision of the facts; named in every block that was evaluated with them.
    pub fact_revision: u64,
    /// The catalogue.
    pub catalogue: Vec<u8>,
    /// The facts.
    pub facts: Vec<u8>,
}

/// A person's signature under an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmAck {
    /// The rule.
    pub rule: String,
    /// Its scope.
    pub scope: String,
    /// Who signed.
    pub by: String,
    /// When, milliseconds UTC.
    pub at: i64,
    /// What the person wrote.
    pub comment: String,
}

impl Command {
    /// The body of a frame of kind [`Command`](crate::frame::Kind::Command).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let order = match &self.order {
            Order::Ping => proto::command::Order::Ping(proto::Ping {}),
            Order::RuleSet(set) => proto::command::Order::RuleSet(proto::RuleSet {
                version: set.version.clone(),
                fact_revision: set.fact_revision,
                catalogue: set.catalogue.clone(),
                facts: set.facts.clone(),
            }),
            Order::AlarmAck(ack) => proto::command::Order::AlarmAck(proto::AlarmAck {
                rule: ack.rule.clone(),
                scope: ack.scope.clone(),
                by: ack.by.clone(),
                at: ack.at,
                comment: ack.comment.clone(),
            }),
        };
        proto::Command {
            gateway: self.gateway.to_string(),
            log_id: self.log_id.0,
            id: self.id.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            order: Some(order),
        }
        .encode_to_vec()
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] on anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let command: proto::Command = read("a command", bytes)?;
        between("length of a command's id", command.id.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
        let order = match command.order {
            Some(proto::command::Order::Ping(proto::Ping {})) => Order::Ping,
            Some(proto::command::Order::RuleSet(set)) => {
                at_most("length of a rule set's version", set.version.len(), TEXT_BYTES_MAX)?;
                Order::RuleSet(RuleSet {
                    version: set.version,
                    fact_revision: set.fact_revision,
                    catalogue: set.catalogue,
                    facts: set.facts,
                })
            }
            Some(proto::command::Order::AlarmAck(ack)) => Order::AlarmAck(read_alarm_ack(ack)?),
            None => return Err(DecodeError::Missing { what: "the order of a command" }),
        };
        Ok(Self {
            gateway: name(command.gateway)?,
            log_id: LogId(command.log_id),
            id: command.id,
            issued_at: command.issued_at,
            expires_at: command.expires_at,
            order,
        })
    }
}

fn read_alarm_ack(ack: proto::AlarmAck) -> Result<AlarmAck, DecodeError> {
    between("length of a rule's id", ack.rule.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
    at_most("length of a scope", ack.scope.len(), TEXT_BYTES_MAX)?;
    at_most("length of a person's name", ack.by.len(), TEXT_BYTES_MAX)?;
    at_most("length of a comment", ack.comment.len(), COMMENT_BYTES_MAX)?;
    Ok(AlarmAck { rule: ack.rule, scope: ack.scope, by: ack.by, at: ack.at, comment: ack.comment })
}
