//! The kinds of faults that a run may have, by the names of the protocol model where it has them too.

use std::fmt;
use std::str::FromStr;

use crate::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name on the command line.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

faults! {
    /// The gateway's program is killed, also in the middle of a commit.
    GatewayKill = "gwkill",
    /// The centre's program is killed at one of the steps of its pipeline, also in the middle of a commit.
    CentreKill = "ckill",
    /// The broker loses everything it holds.
    BrokerCrash = "bcrash",
    /// The link of a gateway is cut.
    Cut = "cut",
    /// The broker drops, doubles and delays.
    Noise = "noise",
    /// Log, state database and quarantine are put back from a backup, as they were at one instant.
    Restore = "restore",
    /// The log alone is put back from a backup, under a state database that has gone on: where it still has its first
    /// record, for of one that has evicted no journal can be made anew.
    OldLog = "oldlog",
    /// A gateway's disk is put back from an image.
    Image = "image",
    /// A gateway gets an empty disk.
    NewDisk = "newdisk",
    /// A spool so small that it evicts.
    SmallSpool = "spool",
    /// A log so small that it crowds.
    SmallLog = "log",
    /// A device stops answering.
    Dead = "dead",
    /// Facts are recorded while it runs.
    Facts = "fact",
    /// A gateway starts with a clock that was never set.
    Unset = "unset",
    /// A gateway's clock goes back.
    Back = "back",
    /// A gateway's clock jumps ahead for a while.
    Jump = "jump",
    /// The link is cut for longer than a page may be old.
    LongOut = "longout",
    /// The centre is away for longer than a page may be old.
    LongDown = "longdown",
    /// The disk of the centre's log is full for a while.
    Full = "full",
    /// The store refuses, times out after applying, takes a part.
    Store = "store",
    /// The cursors lag behind the log.
    Lag = "lag",
    /// Several gateways share the site, the log and its quotas, each with faults of its own.
    Several = "several",
}

/// Clocks moved by hand make one time come twice: what was stored may be overwritten, and a page may lie in the past.
const CLOCKS: [Fault; 2] = [Fault::Back, Fault::Jump];
/// Sets the chance of this draw apart from the chance of the run.
const DRAW: u64 = 0x6661_756c_7473;

impl Fault {
    /// The kinds of faults of a seed where none is named: all; all whose run is held against every promise, for some promises
    /// are not there with [`CLOCKS`]; or any half of them, in which a fault has less to hide behind.
    #[must_use]
    pub fn drawn(seed: u64) -> Vec<Self> {
        let mut dice = Dice::new(seed ^ DRAW);
        let all = Self::ALL.iter().copied();
        match dice.below(3) {
            0 => all.collect(),
            1 => all.filter(|fault| !CLOCKS.contains(fault)).collect(),
            _ => all.filter(|_| dice.chance(0.5)).collect(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|fault| fault.word() == text);
        found.ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|fault| fault.word()).collect();
            format!("no fault is called {text:?}; there are {}", all.join(", "))
        })
    }
}
