//! What the refusals of commands mean in HTTP.

use actions_app::commands::apply_definitions::ApplyDefinitionsError;
use actions_app::commands::begin_session::BeginSessionError;
use actions_app::commands::cancel_execution::CancelExecutionError;
use actions_app::commands::change_account::{ChangeAccountError, SetOwnPasswordError};
use actions_app::commands::change_api_key::ChangeApiKeyError;
use actions_app::commands::change_bulk::ChangeBulkError;
use actions_app::commands::check_action_health::CheckActionHealthError;
use actions_app::commands::check_definition::{Finding, FindingKind};
use actions_app::commands::claim_tasks::ClaimTasksError;
use actions_app::commands::control_tenant::ControlTenantError;
use actions_app::commands::create_account::{AccountRoleError, CreateAccountError};
use actions_app::commands::create_api_key::CreateApiKeyError;
use actions_app::commands::create_tenant::CreateTenantError;
use actions_app::commands::delete_action::DeleteActionError;
use actions_app::commands::delete_tenant::DeleteTenantError;
use actions_app::commands::discard_dead_letters::DiscardDeadLettersError;
use actions_app::commands::end_session::EndSessionError;
use actions_app::commands::execute_action::ExecuteActionError;
use actions_app::commands::fire_schedule::FireScheduleError;
use actions_app::commands::put_secret::{DeleteSecretError, PutSecretError};
use actions_app::commands::put_workflow::PutWorkflowError;
use actions_app::commands::requeue_dead_letters::RequeueDeadLettersError;
use actions_app::commands::rewrap_secrets::RewrapSecretsError;
use actions_app::commands::save_action::SaveActionError;
use actions_app::commands::save_schedule::SaveScheduleError;
use actions_app::commands::save_subscription::SaveSubscriptionError;
use actions_app::commands::start_bulk::StartBulkError;
use actions_app::commands::start_run::StartRunError;
use actions_app::commands::submit_event::SubmitEventsError;
use actions_app::commands::tell_of_task::TellOfTaskError;
use actions_app::commands::tell_run::TellRunError;
use actions_app::ingress::IngressError;
use actions_app::queries::QueryError;
use actions_app::quotas::QuotaError;
use actions_app::workflows::WorkflowProblem;
use actions_domain::account::PasswordError;
use actions_domain::flow::decide::Refusal;
use actions_domain::ports::accounts::AccountsError;
use actions_domain::ports::api_keys::ApiKeysError;
use actions_domain::ports::definitions::DefinitionsError;
use actions_domain::ports::passwords::PasswordsError;
use actions_domain::ports::secrets::SecretsError;
use actions_domain::ports::vault::VaultError;

use crate::caller::throttled;

use super::{
    ACCOUNT_INVALID, ACTION_BLOCKED, ACTION_INVALID, API_KEY_ENDED, API_KEY_INVALID, AUTH_INVALID,
    BODY_TOO_LARGE, BULK_ENDED, CHAIN_TOO_DEEP, CLAIM_OVER, CONDITION_INVALID, CONFIG_INVALID,
    CONFLICT, DATA_REFUSED, EVENT_INVALID, EXECUTION_FINAL, EXECUTION_NOT_UNIQUE, EXISTS,
    FAN_OUT_EXCEEDED, FieldError, IDEMPOTENCY_MISMATCH, INPUT_INVALID, KEYS_UNAVAILABLE, Kind,
    OVERLOADED, PARAMETER_INVALID, PATTERN_INVALID, Problem, QUOTA_EXCEEDED, RUN_INVALID,
    RUN_STATE, SCHEDULE_INVALID, SECRET_INVALID, SECRET_NO_KEY, STORE_PAUSE, STORE_UNAVAILABLE,
    SUBSCRIPTION_INVALID, TENANT_INVALID, TENANT_NOT_SUSPENDED, TENANT_SUSPENDED, VERSION_STALE,
    WORKFLOW_BLOCKED, WORKFLOW_INVALID,
};

impl From<SubmitEventsError> for Problem {
    fn from(error: SubmitEventsError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitEventsError::Forbidden(forbidden) => forbidden.into(),
            SubmitEventsError::UnknownTenant => Self::not_found("tenant"),
            SubmitEventsError::Suspended => Self::new(&TENANT_SUSPENDED, detail),
            SubmitEventsError::BatchSize { given: 0 } => Self::new(&EVENT_INVALID, detail),
            SubmitEventsError::BatchSize { .. } => Self::new(&BODY_TOO_LARGE, detail),
            SubmitEventsError::TooLarge { index, .. } => Self::new(&BODY_TOO_LARGE, &detail)
                .with_error(FieldError::new(format!("/{index}/data"), detail)),
            SubmitEventsError::AttributesTooLarge { index, .. } => {
                Self::new(&BODY_TOO_LARGE, &detail)
                    .with_error(FieldError::new(format!("/{index}"), detail))
            }
            SubmitEventsError::AttributeTooLong { index, attribute, .. } => {
                Self::new(&EVENT_INVALID, &detail)
                    .with_error(FieldError::new(format!("/{index}/{attribute}"), detail))
            }
            SubmitEventsError::ChainTooDeep { index, .. } => Self::new(&CHAIN_TOO_DEEP, &detail)
                .with_error(FieldError::new(format!("/{index}"), detail)),
            SubmitEventsError::FanOut { index, .. } => Self::new(&FAN_OUT_EXCEEDED, &detail)
                .with_error(FieldError::new(format!("/{index}"), detail)),
            SubmitEventsError::TooFarAhead { index } => Self::new(&EVENT_INVALID, &detail)
                .with_error(FieldError::new(format!("/{index}/delay"), detail)),
            SubmitEventsError::IdempotencyMismatch => Self::new(&IDEMPOTENCY_MISMATCH, detail),
            SubmitEventsError::Quota(error) => error.into(),
            SubmitEventsError::Busy => Self::new(&OVERLOADED, detail).with_retry_after(STORE_PAUSE),
            SubmitEventsError::Ingress(error) => error.into(),
            SubmitEventsError::Store(error) => error.into(),
        }
    }
}

impl From<PutWorkflowError> for Problem {
    fn from(error: PutWorkflowError) -> Self {
        let detail = error.to_string();
        match error {
            PutWorkflowError::Forbidden(forbidden) => forbidden.into(),
            PutWorkflowError::UnknownTenant => Self::not_found("tenant"),
            PutWorkflowError::OtherAction { .. } => Self::new(&EXISTS, detail),
            PutWorkflowError::Invalid(problems) => {
                let detail = problems.first().map_or(detail, |first| first.message.clone());
                let errors = problems.into_iter().map(FieldError::from).collect();
                Self::new(&WORKFLOW_INVALID, detail).with_errors(errors)
            }
            PutWorkflowError::Action(error) => error.into(),
            PutWorkflowError::Subscriptions(error) => error.into(),
            PutWorkflowError::Store(error) => error.into(),
        }
    }
}

impl From<WorkflowProblem> for FieldError {
    fn from(problem: WorkflowProblem) -> Self {
        Self { code: Some(problem.code), ..Self::new(problem.pointer, problem.message) }
    }
}

impl From<StartRunError> for Problem {
    fn from(error: StartRunError) -> Self {
        let detail = error.to_string();
        match error {
            StartRunError::Forbidden(forbidden) => forbidden.into(),
            StartRunError::NotFound => Self::not_found("workflow"),
            StartRunError::Blocked { .. } => Self::new(&WORKFLOW_BLOCKED, detail),
            StartRunError::Id => Self::at(&RUN_INVALID, Some("/id"), detail),
            StartRunError::Refused(refusal) => refusal.into(),
            StartRunError::Quota(error) => error.into(),
            StartRunError::Store(error) => error.into(),
        }
    }
}

impl From<TellRunError> for Problem {
    fn from(error: TellRunError) -> Self {
        match error {
            TellRunError::Forbidden(forbidden) => forbidden.into(),
            TellRunError::NotFound => Self::not_found("run"),
            TellRunError::Refused(refusal) => refusal.into(),
            TellRunError::Quota(error) => error.into(),
            TellRunError::Query(error) => error.into(),
            TellRunError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let kind = match refusal {
            Refusal::OtherVersion
            | Refusal::AlreadyStarted
            | Refusal::NotStarted
            | Refusal::State { .. }
            | Refusal::AlreadyPaused
            | Refusal::NotPaused
            | Refusal::SignalsFull
            | Refusal::HistoryFull { .. }
            | Refusal::Parked { .. }
            | Refusal::OfCode => &RUN_STATE,
            Refusal::TooLarge { .. } => &BODY_TOO_LARGE,
            Refusal::UnknownStep { .. }
            | Refusal::Depth
            | Refusal::SeedMissing { .. }
            | Refusal::SignalName => &RUN_INVALID,
        };
        let error = FieldError { code: Some(refusal.code()), ..FieldError::new("", &detail) };
        Self::new(kind, detail).with_error(error)
    }
}

impl From<QuotaError> for Problem {
    fn from(error: QuotaError) -> Self {
        let problem = Self::new(&QUOTA_EXCEEDED, error.to_string());
        match error.retry_after() {
            Some(pause) => problem.with_retry_after(pause),
            None => problem,
        }
    }
}

impl From<ClaimTasksError> for Problem {
    fn from(error: ClaimTasksError) -> Self {
        let (detail, pointer) = (error.to_string(), error.pointer());
        match error {
            ClaimTasksError::Forbidden(forbidden) => forbidden.into(),
            ClaimTasksError::Store(error) => error.into(),
            ClaimTasksError::Queues { .. }
            | ClaimTasksError::Queue(_)
            | ClaimTasksError::Max { .. }
            | ClaimTasksError::Worker
            | ClaimTasksError::Lease { .. }
            | ClaimTasksError::Wait { .. } => Self::at(&PARAMETER_INVALID, pointer, detail),
        }
    }
}

impl From<TellOfTaskError> for Problem {
    fn from(error: TellOfTaskError) -> Self {
        let (detail, pointer) = (error.to_string(), error.pointer());
        match error {
            TellOfTaskError::Forbidden(forbidden) => forbidden.into(),
            TellOfTaskError::Store(error) => error.into(),
            TellOfTaskError::Over => Self::new(&CLAIM_OVER, detail),
            TellOfTaskError::TooLarge { .. } => Self::at(&BODY_TOO_LARGE, pointer, detail),
            TellOfTaskError::Lease { .. }
            | TellOfTaskError::Progress
            | TellOfTaskError::Code { .. } => Self::at(&PARAMETER_INVALID, pointer, detail),
        }
    }
}

impl From<IngressError> for Problem {
    fn from(error: IngressError) -> Self {
        match &error {
            // The reason is the store's own words, which are for the log.
            IngressError::Refused { .. } => {
                Self::new(&DATA_REFUSED, "nothing was stored").caused_by(&error)
            }
            IngressError::Unavailable => {
                Self::new(&STORE_UNAVAILABLE, "nothing was stored; it is safe to try again")
                    .with_retry_after(STORE_PAUSE)
            }
            IngressError::Unknown => Self::new(
                &STORE_UNAVAILABLE,
                "it may be stored or not; with the same id or Idempotency-Key it is safe to try again",
            )
            .with_retry_after(STORE_PAUSE),
            IngressError::Full => {
                Self::new(&OVERLOADED, error.to_string()).with_retry_after(STORE_PAUSE)
            }
        }
    }
}

impl From<ExecuteActionError> for Problem {
    fn from(error: ExecuteActionError) -> Self {
        let detail = error.to_string();
        match error {
            ExecuteActionError::Forbidden(forbidden) => forbidden.into(),
            ExecuteActionError::NotFound => Self::not_found("action"),
            ExecuteActionError::Blocked { .. } => Self::new(&ACTION_BLOCKED, detail),
            ExecuteActionError::TooLarge { .. } => Self::new(&BODY_TOO_LARGE, detail),
            ExecuteActionError::TooFarAhead => Self::new(&PARAMETER_INVALID, detail),
            ExecuteActionError::Input(notes) => {
                let errors = notes
                    .into_iter()
                    .map(|note| FieldError::new(format!("/input{}", note.pointer), note.message));
                Self::new(&INPUT_INVALID, detail).with_errors(errors.collect())
            }
            ExecuteActionError::Schema(error) => Self::internal(error.to_string()),
            ExecuteActionError::NotUnique { .. } => Self::new(&EXECUTION_NOT_UNIQUE, detail),
            ExecuteActionError::IdempotencyMismatch => Self::new(&IDEMPOTENCY_MISMATCH, detail),
            ExecuteActionError::Quota(error) => error.into(),
            ExecuteActionError::Busy => {
                Self::new(&OVERLOADED, detail).with_retry_after(STORE_PAUSE)
            }
            ExecuteActionError::Ingress(error) => error.into(),
            ExecuteActionError::Store(error) => error.into(),
        }
    }
}

impl From<CancelExecutionError> for Problem {
    fn from(error: CancelExecutionError) -> Self {
        let detail = error.to_string();
        match error {
            CancelExecutionError::Forbidden(forbidden) => forbidden.into(),
            CancelExecutionError::NotFound => Self::not_found("execution"),
            CancelExecutionError::Final { .. } => Self::new(&EXECUTION_FINAL, detail),
            CancelExecutionError::Ingress(error) => error.into(),
            CancelExecutionError::Store(error) => error.into(),
        }
    }
}

impl From<RequeueDeadLettersError> for Problem {
    fn from(error: RequeueDeadLettersError) -> Self {
        match error {
            RequeueDeadLettersError::Forbidden(forbidden) => forbidden.into(),
            RequeueDeadLettersError::NotFound => Self::not_found("dead letter"),
            RequeueDeadLettersError::Selection(error) => error.into(),
            RequeueDeadLettersError::Ingress(error) => error.into(),
            RequeueDeadLettersError::Store(error) => error.into(),
        }
    }
}

impl From<DiscardDeadLettersError> for Problem {
    fn from(error: DiscardDeadLettersError) -> Self {
        let detail = error.to_string();
        match error {
            DiscardDeadLettersError::Forbidden(forbidden) => forbidden.into(),
            DiscardDeadLettersError::Reason { .. } => Self::new(&PARAMETER_INVALID, &detail)
                .with_error(FieldError::new("/reason", detail)),
            DiscardDeadLettersError::NotFound => Self::not_found("dead letter"),
            DiscardDeadLettersError::Selection(error) => error.into(),
            DiscardDeadLettersError::Ingress(error) => error.into(),
            DiscardDeadLettersError::Store(error) => error.into(),
        }
    }
}

impl From<StartBulkError> for Problem {
    fn from(error: StartBulkError) -> Self {
        let detail = error.to_string();
        let at = |place: &str| {
            Self::new(&PARAMETER_INVALID, &detail).with_error(FieldError::new(place, &detail))
        };
        match error {
            StartBulkError::Forbidden(forbidden) => forbidden.into(),
            StartBulkError::Number { field, .. } => at(&format!("/{field}")),
            StartBulkError::Ids { .. } => at("/ids"),
            StartBulkError::Group | StartBulkError::GroupOfExecutions => at("/group"),
            StartBulkError::ReasonMissing | StartBulkError::Reason => at("/reason"),
            StartBulkError::Filter(error)
            | StartBulkError::Selection(QueryError::Filter(error)) => {
                Self::from(error).below("/where")
            }
            StartBulkError::TooMany => Self::new(&QUOTA_EXCEEDED, detail),
            StartBulkError::Selection(error) => error.into(),
            StartBulkError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeBulkError> for Problem {
    fn from(error: ChangeBulkError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeBulkError::Forbidden(forbidden) => forbidden.into(),
            ChangeBulkError::NotFound => Self::not_found("bulk"),
            ChangeBulkError::Ended(_) => Self::new(&BULK_ENDED, detail),
            ChangeBulkError::Store(error) => error.into(),
        }
    }
}

impl From<SaveActionError> for Problem {
    fn from(error: SaveActionError) -> Self {
        match error {
            SaveActionError::Forbidden(forbidden) => forbidden.into(),
            SaveActionError::UnknownTenant => Self::not_found("tenant"),
            SaveActionError::NotFound => Self::not_found("action"),
            SaveActionError::Invalid(findings) => from_findings(&ACTION_INVALID, findings),
            SaveActionError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, error.to_string()),
            SaveActionError::Definitions(error) => error.into(),
            SaveActionError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteActionError> for Problem {
    fn from(error: DeleteActionError) -> Self {
        match error {
            DeleteActionError::Forbidden(forbidden) => forbidden.into(),
            DeleteActionError::Definitions(error) => error.into(),
            DeleteActionError::Store(error) => error.into(),
        }
    }
}

impl From<SaveSubscriptionError> for Problem {
    fn from(error: SaveSubscriptionError) -> Self {
        let detail = error.to_string();
        match error {
            SaveSubscriptionError::Forbidden(forbidden) => forbidden.into(),
            SaveSubscriptionError::UnknownTenant => Self::not_found("tenant"),
            SaveSubscriptionError::UnknownAction { .. } => {
                Self::new(&SUBSCRIPTION_INVALID, &detail)
                    .with_error(FieldError::new("/action", detail))
            }
            SaveSubscriptionError::NotFound => Self::not_found("subscription"),
            SaveSubscriptionError::Invalid(findings) => {
                from_findings(&SUBSCRIPTION_INVALID, findings)
            }
            SaveSubscriptionError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, detail),
            SaveSubscriptionError::Definitions(error) => error.into(),
            SaveSubscriptionError::Store(error) => error.into(),
        }
    }
}

impl From<SaveScheduleError> for Problem {
    fn from(error: SaveScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            SaveScheduleError::Forbidden(forbidden) => forbidden.into(),
            SaveScheduleError::UnknownTenant => Self::not_found("tenant"),
            SaveScheduleError::NotFound => Self::not_found("schedule"),
            SaveScheduleError::Invalid(findings) => from_findings(&SCHEDULE_INVALID, findings),
            SaveScheduleError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, detail),
            SaveScheduleError::Definitions(error) => error.into(),
            SaveScheduleError::Store(error) => error.into(),
        }
    }
}

impl From<CreateApiKeyError> for Problem {
    fn from(error: CreateApiKeyError) -> Self {
        let detail = error.to_string();
        match error {
            CreateApiKeyError::Forbidden(forbidden) => forbidden.into(),
            CreateApiKeyError::OtherTenant { .. } | CreateApiKeyError::Role { .. } => {
                Self::at(&API_KEY_INVALID, Some("/role"), detail)
            }
            CreateApiKeyError::Past | CreateApiKeyError::TooLong => {
                Self::at(&API_KEY_INVALID, Some("/expires_at"), detail)
            }
            CreateApiKeyError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, detail),
            CreateApiKeyError::ApiKeys(error) => error.into(),
            CreateApiKeyError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeApiKeyError> for Problem {
    fn from(error: ChangeApiKeyError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeApiKeyError::Forbidden(forbidden) => forbidden.into(),
            ChangeApiKeyError::Ended(_) => Self::new(&API_KEY_ENDED, detail),
            ChangeApiKeyError::Overlap => {
                Self::at(&API_KEY_INVALID, Some("/overlap_seconds"), detail)
            }
            ChangeApiKeyError::Query(error) => error.into(),
            ChangeApiKeyError::ApiKeys(error) => error.into(),
        }
    }
}

impl From<CreateAccountError> for Problem {
    fn from(error: CreateAccountError) -> Self {
        match error {
            CreateAccountError::Forbidden(forbidden) => forbidden.into(),
            CreateAccountError::Role(error) => error.into(),
            CreateAccountError::Password(error) => error.into(),
            CreateAccountError::Passwords(error) => error.into(),
            CreateAccountError::Accounts(error) => error.into(),
            CreateAccountError::Store(error) => error.into(),
        }
    }
}

impl From<AccountRoleError> for Problem {
    fn from(error: AccountRoleError) -> Self {
        Self::at(&ACCOUNT_INVALID, Some("/role"), error.to_string())
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        Self::at(&ACCOUNT_INVALID, Some("/password"), error.to_string())
    }
}

impl From<PasswordsError> for Problem {
    fn from(error: PasswordsError) -> Self {
        match error {
            PasswordsError::Busy => {
                Self::new(&OVERLOADED, error.to_string()).with_retry_after(STORE_PAUSE)
            }
            PasswordsError::Failed { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<ChangeAccountError> for Problem {
    fn from(error: ChangeAccountError) -> Self {
        match error {
            ChangeAccountError::Forbidden(forbidden) => forbidden.into(),
            ChangeAccountError::Role(error) => error.into(),
            ChangeAccountError::Password(error) => error.into(),
            ChangeAccountError::Passwords(error) => error.into(),
            ChangeAccountError::Query(error) => error.into(),
            ChangeAccountError::Accounts(error) => error.into(),
        }
    }
}

impl From<SetOwnPasswordError> for Problem {
    fn from(error: SetOwnPasswordError) -> Self {
        let detail = error.to_string();
        match error {
            SetOwnPasswordError::NoSession => Self::not_found("session"),
            SetOwnPasswordError::Wrong => Self::at(&ACCOUNT_INVALID, Some("/password"), detail),
            SetOwnPasswordError::Throttled { wait } => throttled(wait),
            SetOwnPasswordError::Change(ChangeAccountError::Password(error)) => {
                Self::at(&ACCOUNT_INVALID, Some("/new_password"), error.to_string())
            }
            SetOwnPasswordError::Change(error) => error.into(),
        }
    }
}

impl From<BeginSessionError> for Problem {
    fn from(error: BeginSessionError) -> Self {
        let detail = error.to_string();
        match error {
            BeginSessionError::Refused => Self::new(&AUTH_INVALID, detail),
            BeginSessionError::Throttled { wait } => throttled(wait),
            BeginSessionError::Passwords(error) => error.into(),
            BeginSessionError::Accounts(error) => error.into(),
            BeginSessionError::Store(error) => error.into(),
        }
    }
}

impl From<EndSessionError> for Problem {
    fn from(error: EndSessionError) -> Self {
        match error {
            EndSessionError::Forbidden(forbidden) => forbidden.into(),
            EndSessionError::NotFound => Self::not_found("session"),
            EndSessionError::Accounts(error) => error.into(),
            EndSessionError::Store(error) => error.into(),
        }
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::TooMany => Self::new(&QUOTA_EXCEEDED, error.to_string()),
            AccountsError::Exists { .. } => Self::new(&EXISTS, error.to_string()),
            AccountsError::Stale | AccountsError::Taken => {
                Self::new(&CONFLICT, error.to_string()).with_retry_after(STORE_PAUSE)
            }
            AccountsError::NotFound { what } => Self::not_found(what),
            AccountsError::Store(error) => error.into(),
        }
    }
}

impl From<PutSecretError> for Problem {
    fn from(error: PutSecretError) -> Self {
        let detail = error.to_string();
        match error {
            PutSecretError::Forbidden(forbidden) => forbidden.into(),
            PutSecretError::Name(_) => Self::new(&SECRET_INVALID, detail),
            PutSecretError::Text(_) => Self::at(&SECRET_INVALID, Some("/value"), detail),
            PutSecretError::Overlap => Self::at(&SECRET_INVALID, Some("/overlap_seconds"), detail),
            PutSecretError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, detail),
            PutSecretError::Vault(error) => error.into(),
            PutSecretError::Secrets(error) => error.into(),
            PutSecretError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteSecretError> for Problem {
    fn from(error: DeleteSecretError) -> Self {
        match error {
            DeleteSecretError::Forbidden(forbidden) => forbidden.into(),
            DeleteSecretError::Secrets(error) => error.into(),
        }
    }
}

impl From<RewrapSecretsError> for Problem {
    fn from(error: RewrapSecretsError) -> Self {
        match error {
            RewrapSecretsError::Forbidden(forbidden) => forbidden.into(),
            RewrapSecretsError::Vault(error) => error.into(),
            RewrapSecretsError::Store(error) => error.into(),
        }
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::NoKey => Self::new(
                &SECRET_NO_KEY,
                "secrets cannot be stored without one: set ACTIONS_MASTER_KEY, the same on all nodes, to the output of `openssl rand -base64 32`",
            ),
            VaultError::UnknownKey { .. } => Self::new(&SECRET_NO_KEY, error.to_string()),
            VaultError::Damaged => Self::internal(error.to_string()),
            VaultError::Unavailable { .. } => {
                Self::new(&KEYS_UNAVAILABLE, "nothing was stored; it is safe to try again")
                    .with_retry_after(STORE_PAUSE)
                    .caused_by(&error)
            }
        }
    }
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::NotFound { what } => Self::not_found(what),
            SecretsError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, error.to_string()),
            SecretsError::Stale => {
                Self::new(&CONFLICT, error.to_string()).with_retry_after(STORE_PAUSE)
            }
            SecretsError::Store(error) => error.into(),
        }
    }
}

impl From<ApiKeysError> for Problem {
    fn from(error: ApiKeysError) -> Self {
        match error {
            ApiKeysError::Exists { .. } => Self::new(&EXISTS, error.to_string()),
            ApiKeysError::Taken => Self::new(&CONFLICT, error.to_string()),
            ApiKeysError::NotFound { what } => Self::not_found(what),
            ApiKeysError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, error.to_string()),
            ApiKeysError::TooManyTokens => Self::new(
                &QUOTA_EXCEEDED,
                format!("{error}; rotate it with an overlap of 0, or wait until some have ended"),
            ),
            ApiKeysError::Store(error) => error.into(),
        }
    }
}

impl From<FireScheduleError> for Problem {
    fn from(error: FireScheduleError) -> Self {
        let detail = error.to_string();
        match error {
            FireScheduleError::Forbidden(forbidden) => forbidden.into(),
            FireScheduleError::Query(error) => error.into(),
            FireScheduleError::Range | FireScheduleError::TooMany => {
                Self::new(&PARAMETER_INVALID, &detail).with_error(FieldError::new("/to", detail))
            }
            FireScheduleError::Unreadable => Self::new(&SCHEDULE_INVALID, detail),
            FireScheduleError::Execute(error) => error.into(),
            FireScheduleError::Submit(error) => error.into(),
            FireScheduleError::Store(error) => error.into(),
        }
    }
}

impl From<ApplyDefinitionsError> for Problem {
    fn from(error: ApplyDefinitionsError) -> Self {
        let detail = error.to_string();
        match error {
            ApplyDefinitionsError::Forbidden(forbidden) => forbidden.into(),
            ApplyDefinitionsError::UnknownTenant => Self::not_found("tenant"),
            ApplyDefinitionsError::TooMany { .. } => Self::new(&BODY_TOO_LARGE, detail),
            ApplyDefinitionsError::Invalid(findings) => from_findings(&ACTION_INVALID, findings),
            ApplyDefinitionsError::Action(error) => error.into(),
            ApplyDefinitionsError::Subscription(error) => error.into(),
            ApplyDefinitionsError::Delete(error) => error.into(),
            ApplyDefinitionsError::Definitions(error) => error.into(),
            ApplyDefinitionsError::Store(error) => error.into(),
        }
    }
}

impl From<CheckActionHealthError> for Problem {
    fn from(error: CheckActionHealthError) -> Self {
        match error {
            CheckActionHealthError::Forbidden(forbidden) => forbidden.into(),
            CheckActionHealthError::NotFound => Self::not_found("action"),
            CheckActionHealthError::Definitions(error) => error.into(),
            CheckActionHealthError::Store(error) => error.into(),
        }
    }
}

impl From<ControlTenantError> for Problem {
    fn from(error: ControlTenantError) -> Self {
        let detail = error.to_string();
        let at = |pointer: &str| FieldError::new(pointer, detail.clone());
        match error {
            ControlTenantError::Forbidden(forbidden) => forbidden.into(),
            ControlTenantError::NotFound { what } => Self::not_found(what),
            ControlTenantError::Limit { field, .. } | ControlTenantError::Days { field, .. } => {
                Self::new(&TENANT_INVALID, &detail).with_error(at(&format!("/{field}")))
            }
            ControlTenantError::Reason => {
                Self::new(&TENANT_INVALID, &detail).with_error(at("/reason"))
            }
            ControlTenantError::TooManyPauses | ControlTenantError::Platform => {
                Self::new(&TENANT_INVALID, &detail)
            }
            ControlTenantError::Definitions(error) => error.into(),
        }
    }
}

impl From<CreateTenantError> for Problem {
    fn from(error: CreateTenantError) -> Self {
        let detail = error.to_string();
        match error {
            CreateTenantError::Forbidden(forbidden) => forbidden.into(),
            CreateTenantError::Name { .. } => {
                Self::new(&TENANT_INVALID, &detail).with_error(FieldError::new("/name", detail))
            }
            CreateTenantError::Definitions(error) => error.into(),
        }
    }
}

impl From<DeleteTenantError> for Problem {
    fn from(error: DeleteTenantError) -> Self {
        let detail = error.to_string();
        match error {
            DeleteTenantError::Forbidden(forbidden) => forbidden.into(),
            DeleteTenantError::NotFound => Self::not_found("tenant"),
            DeleteTenantError::Platform => Self::new(&TENANT_INVALID, detail),
            DeleteTenantError::Unconfirmed { .. } => Self::parameter("confirm", detail),
            DeleteTenantError::Reason => Self::parameter("reason", detail),
            DeleteTenantError::NotSuspended => Self::new(&TENANT_NOT_SUSPENDED, detail),
            DeleteTenantError::Store(error) => error.into(),
        }
    }
}

impl From<DefinitionsError> for Problem {
    fn from(error: DefinitionsError) -> Self {
        let detail = error.to_string();
        match error {
            DefinitionsError::Exists { .. } | DefinitionsError::Retired { .. } => {
                Self::new(&EXISTS, detail)
            }
            DefinitionsError::NotFound { what, .. } => Self::not_found(what),
            DefinitionsError::Stale { .. } => Self::new(&VERSION_STALE, detail),
            DefinitionsError::TooMany(_) => Self::new(&QUOTA_EXCEEDED, detail),
            DefinitionsError::Store(actions_domain::ports::store::StoreError::Conflict {
                ..
            }) => Self::new(&CONFLICT, "somebody changed the definitions at the same moment")
                .with_retry_after(STORE_PAUSE),
            DefinitionsError::Store(error) => error.into(),
        }
    }
}

/// The first finding gives the code, all of them are listed.
pub(crate) fn from_findings(otherwise: &'static Kind, findings: Vec<Finding>) -> Problem {
    let first = findings.first();
    let kind = first.map_or(otherwise, |finding| match finding.kind {
        FindingKind::Limit => otherwise,
        FindingKind::Pattern => &PATTERN_INVALID,
        FindingKind::Condition => &CONDITION_INVALID,
        FindingKind::Config => &CONFIG_INVALID,
    });
    let detail = first.map(|finding| finding.message.clone()).unwrap_or_default();
    Problem::new(kind, detail).with_errors(field_errors(findings))
}

pub(crate) fn field_errors(findings: Vec<Finding>) -> Vec<FieldError> {
    let place = |number: Option<u32>| number.and_then(|number| usize::try_from(number).ok());
    findings
        .into_iter()
        .map(|finding| FieldError {
            pointer: finding.pointer,
            message: finding.message,
            code: None,
            line: place(finding.line),
            column: place(finding.column),
        })
        .collect()
}
