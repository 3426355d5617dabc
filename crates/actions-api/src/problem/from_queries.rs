//! What unanswered questions mean in HTTP.

use actions_app::filter::FilterError;
use actions_app::queries::QueryError;
use actions_domain::authorization::Forbidden;
use actions_domain::ports::store::StoreError;

use super::{
    AUTH_INVALID, AUTH_ROLE, DATA_REFUSED, FILTER_INVALID, FILTER_UNKNOWN_FIELD, HANDLER_NOT_FOUND,
    POLICY_DENIED, POLICY_UNAVAILABLE, Problem, STORE_PAUSE, STORE_UNAVAILABLE,
};

impl From<Forbidden> for Problem {
    fn from(forbidden: Forbidden) -> Self {
        match forbidden {
            // Like a missing one, so that names tell nothing.
            Forbidden::OtherTenant => Self::not_found("tenant"),
            Forbidden::Role { .. } | Forbidden::Rank { .. } => {
                Self::new(&AUTH_ROLE, forbidden.to_string())
            }
            Forbidden::Policy { .. } => Self::new(&POLICY_DENIED, forbidden.to_string()),
            Forbidden::PolicyUnavailable => {
                Self::new(&POLICY_UNAVAILABLE, forbidden.to_string()).with_retry_after(STORE_PAUSE)
            }
            Forbidden::Ended { .. } => Self::new(&AUTH_INVALID, forbidden.to_string()),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Forbidden(forbidden) => forbidden.into(),
            QueryError::NotFound { what: "handler" } => {
                Self::new(&HANDLER_NOT_FOUND, "no such handler")
            }
            QueryError::NotFound { what } => Self::not_found(what),
            QueryError::Filter(error) => error.into(),
            QueryError::Store(error) => error.into(),
        }
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        let kind = match error {
            FilterError::UnknownField { .. } => &FILTER_UNKNOWN_FIELD,
            FilterError::TooLong | FilterError::Form { .. } | FilterError::Value { .. } => {
                &FILTER_INVALID
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable { .. } => {
                Self::new(&STORE_UNAVAILABLE, "the store cannot be reached, or is busy or full")
                    .with_retry_after(STORE_PAUSE)
                    .caused_by(&error)
            }
            StoreError::Newer { .. } => Self::new(
                &STORE_UNAVAILABLE,
                "a newer program has stored what this node cannot read; ask another node",
            )
            .with_retry_after(STORE_PAUSE)
            .caused_by(&error),
            StoreError::Refused { .. } => {
                Self::new(&DATA_REFUSED, "nothing was stored").caused_by(&error)
            }
            StoreError::Fenced { .. }
            | StoreError::Conflict { .. }
            | StoreError::Corrupt { .. } => Self::internal("").caused_by(&error),
        }
    }
}
