//! What a failed attempt leads to: another try after a pause, or the end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::execution::ErrorClass;
use crate::limits::{RETRIES_MAX, RETRY_DELAY_MAX};

/// How often and how soon an execution is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub max_retries: u32,
    #[serde(alias = "backoff_type")]
    pub backoff: Backoff,
    pub initial_delay_ms: u64,
    #[serde(default = "max_delay_default")]
    pub max_delay_ms: u64,
    #[serde(default = "yes")]
    pub jitter: bool,
    #[serde(default = "yes")]
    pub retry_on_timeout: bool,
    #[serde(default = "yes")]
    pub retry_on_handler_error: bool,
    #[serde(default = "yes")]
    pub retry_on_system_error: bool,
}

/// How the pause grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// initial · 2^(n−1)
    Exponential,
    /// initial · n
    Linear,
    /// initial
    Fixed,
}

/// A random number that spreads retries, uniform over all of `u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u64);

impl Jitter {
    /// No spreading at all.
    pub const ZERO: Self = Self(0);
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryPolicyError {
    #[error("max_retries is {given}, allowed are 0 to {max}", max = RETRIES_MAX)]
    Retries { given: u32 },
    #[error("initial_delay_ms is {given}, the least is 100")]
    InitialDelay { given: u64 },
    #[error("max_delay_ms is {given}, allowed are initial_delay_ms to {max}", max = RETRY_DELAY_MAX.as_millis())]
    MaxDelay { given: u64 },
}

const fn yes() -> bool {
    true
}

const fn max_delay_default() -> u64 {
    60_000
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            backoff: Backoff::Exponential,
            initial_delay_ms: 1_000,
            max_delay_ms: max_delay_default(),
            jitter: true,
            retry_on_timeout: true,
            retry_on_handler_error: true,
            retry_on_system_error: true,
        }
    }
}

impl RetryPolicy {
    /// The presets `default`, `aggressive`, `conservative` and `no_retry`.
    pub fn preset(name: &str) -> Option<Self> {
        let policy = Self::default();
        match name {
            "default" => Some(policy),
            "aggressive" => Some(Self { max_retries: 5, initial_delay_ms: 500, ..policy }),
            "conservative" => Some(Self {
                max_retries: 2,
                backoff: Backoff::Linear,
                initial_delay_ms: 2_000,
                max_delay_ms: 10_000,
                jitter: false,
                ..policy
            }),
            "no_retry" => Some(Self { max_retries: 0, ..policy }),
            _ => None,
        }
    }

    /// Refuses values outside the published limits.
    pub fn check(&self) -> Result<(), RetryPolicyError> {
        if self.max_retries > RETRIES_MAX {
            return Err(RetryPolicyError::Retries { given: self.max_retries });
        }
        if self.initial_delay_ms < 100 {
            return Err(RetryPolicyError::InitialDelay { given: self.initial_delay_ms });
        }
        let longest = u64::try_from(RETRY_DELAY_MAX.as_millis()).unwrap_or(u64::MAX);
        if self.max_delay_ms < self.initial_delay_ms || self.max_delay_ms > longest {
            return Err(RetryPolicyError::MaxDelay { given: self.max_delay_ms });
        }
        Ok(())
    }

    /// Answers how long to wait before the retry that follows attempt `failed` (from 1), or
    /// `None` when there is none: the retries are used up, or this class is not retried.
    ///
    /// The pause is capped first and then lengthened by a uniform 0..25 %. It is never shorter
    /// than `retry_after`, which the other side asked for; jitter comes on top of that as well.
    pub fn delay_after(
        &self,
        failed: u32,
        class: ErrorClass,
        retry_after: Option<Duration>,
        jitter: Jitter,
    ) -> Option<Duration> {
        if failed > self.max_retries || !self.retries(class) {
            return None;
        }
        let steps = failed.saturating_sub(1);
        let grown = match self.backoff {
            Backoff::Exponential => self
                .initial_delay_ms
                .saturating_mul(1_u64.checked_shl(steps.min(63)).unwrap_or(u64::MAX)),
            Backoff::Linear => self.initial_delay_ms.saturating_mul(u64::from(failed.max(1))),
            Backoff::Fixed => self.initial_delay_ms,
        };
        let asked = retry_after
            .map_or(0, |pause| u64::try_from(pause.min(RETRY_DELAY_MAX).as_millis()).unwrap_or(0));
        let pause = grown.min(self.max_delay_ms).max(asked);
        let extra = if self.jitter { jitter.0 % (pause / 4 + 1) } else { 0 };
        Some(Duration::from_millis(pause.saturating_add(extra)))
    }

    fn retries(&self, class: ErrorClass) -> bool {
        match class {
            ErrorClass::Timeout => self.retry_on_timeout,
            ErrorClass::SystemError => self.retry_on_system_error,
            ErrorClass::HandlerError => self.retry_on_handler_error,
        }
    }
}

#[cfg(test)]
mod tests;
