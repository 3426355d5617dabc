//! Typed identifiers. Definitions carry small numbers, facts carry UUIDv7.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a UUIDv7 whose time is `at`, in milliseconds, and whose rest is `random`.
            pub fn mint(at: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(raw: &str) -> Result<Self, Self::Err> {
                raw.parse().map(Self)
            }
        }
    };
}

uuid_id! {
    /// An event, as we stored it. The caller's own id is [`crate::event::Event::external_id`].
    EventId
}
uuid_id! {
    /// An execution. It stays the same over all attempts, so it is the idempotency key of every
    /// call that the execution makes.
    ExecutionId
}
uuid_id! {
    /// An operation on many executions or dead letters.
    BulkId
}
uuid_id! {
    /// A run of a workflow. One that an execution has started has that execution's number.
    RunId
}
uuid_id! {
    /// An API key, which stays the same over all its tokens.
    ApiKeyId
}
uuid_id! {
    /// An account of a person.
    AccountId
}
uuid_id! {
    /// What one login led to.
    SessionId
}
uuid_id! {
    /// A stored secret, which stays the same over all its versions.
    SecretId
}
uuid_id! {
    /// A subscription of an action to events.
    SubscriptionId
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id! {
    /// A tenant's number in this installation. Number 1 is the platform's own tenant, `admin`.
    TenantId
}
number_id! {
    /// An action's number in this installation, never used again after it was deleted.
    ActionId
}
number_id! {
    /// One start of one process: a node's name and incarnation. Never used again, so it can
    /// stand in a lease without a second token.
    NodeId
}

impl TenantId {
    /// The platform's own tenant.
    pub const ADMIN: Self = Self(1);
}
