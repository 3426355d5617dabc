//! Every maximum in one place, each with its reason. `GET /v1/limits` publishes them.

use std::time::Duration;

/// One event with its data. Larger payloads belong into an object store, by reference.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Events of one batch: about what one commit takes without delaying its neighbours.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of one batch.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one flush: what a store should hold in memory at once. A larger submission is a flush
/// of its own.
pub const FLUSH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of everything that waits for a flush. Callers beyond are asked to come back.
pub const INGRESS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of the intake that are moved at once.
pub const INTAKE_BYTES_MAX: usize = FLUSH_BYTES_MAX;
/// A token of an identity provider. Those that carry groups are a few kilobytes.
pub const IDENTITY_TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Keys that an identity provider may publish at once.
pub const JWKS_KEYS_MAX: usize = 100;
/// Streams that one reading of a log leaves out. More of them are read and dropped.
pub const SKIPS_MAX: usize = 1_000;
/// Nesting of any JSON that we accept. Deeper input has only ever been an attack.
pub const JSON_DEPTH_MAX: usize = 64;
/// An event type, and a pattern for one: the width of the founding columns.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
pub const PATTERN_BYTES_MAX: usize = 255;
/// Source, subject and external id of an event.
pub const EVENT_ATTRIBUTE_BYTES_MAX: usize = 1_024;
/// A regular expression's compiled size: counted repeats cost memory, not time.
pub const REGEX_COMPILED_BYTES_MAX: usize = 256 * 1024;
/// A CEL expression. Longer ones take noticeable time to compile.
pub const CEL_BYTES_MAX: usize = 4 * 1024;
/// Nesting of brackets in CEL: the parser is recursive and a deep text would end the process.
pub const CEL_DEPTH_MAX: usize = 12;
/// Nodes of a JSON condition.
pub const CONDITION_NODES_MAX: usize = 256;
/// Values that all lists of a JSON condition hold together. Longer lists belong into the data.
pub const CONDITION_VALUES_MAX: usize = 1_000;
/// Nesting of a compiled CEL expression, which evaluation follows on an ordinary stack.
pub const CEL_TREE_DEPTH_MAX: usize = 64;
/// Items of a list or map that a CEL macro walks through: nothing can interrupt it.
pub const CEL_ITEMS_MAX: usize = 1_000;
/// Bytes that the additions of one CEL expression may copy, as an upper bound.
pub const CEL_COPY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that the comparisons of one CEL expression may read, as an upper bound. Comparing small
/// values takes about 10 ns a byte.
pub const CEL_READ_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Actions that caused one another. Longer chains are loops.
pub const CHAIN_DEPTH_MAX: u8 = 16;
/// Executions of one event. A broader match is a mistake in the subscriptions.
pub const FAN_OUT_MAX: usize = 1_000;
/// An action's name.
pub const NAME_BYTES_MAX: usize = 100;
/// A handler id.
pub const HANDLER_ID_BYTES_MAX: usize = 500;
/// A caller's idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Attributes of one event together, as JSON: what stands around its data.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// A name of a CloudEvents extension. The specification asks for 20, and many use more.
pub const EXTENSION_NAME_BYTES_MAX: usize = 64;
/// Members of an event or of another object that is read member by member: more than any of
/// ours has.
pub const MEMBERS_MAX: usize = 1_000;
/// The body of a request that is neither a batch nor a set: an input or a config, and a few
/// words around.
pub const BODY_BYTES_MAX: usize = EVENT_BYTES_MAX + ATTRIBUTES_BYTES_MAX;
/// Jobs of one bulk request, and their bytes: like a batch of events.
pub const BULK_JOBS_MAX: usize = BATCH_EVENTS_MAX;
pub const BULK_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Actions and subscriptions that one call may apply or compare, and their bytes.
pub const DEFINITIONS_PER_CALL_MAX: usize = 5_000;
pub const DEFINITIONS_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Dead letters that one call may run again or discard.
pub const DEAD_LETTERS_PER_CALL_MAX: u32 = 10_000;
/// Items of one bulk: they are written down when it starts, in one transaction of about a second.
pub const BULK_ITEMS_MAX: u32 = 100_000;
/// Items of a bulk that are named one by one: what fits into a request's body.
pub const BULK_IDS_MAX: usize = 10_000;
/// Items of a bulk that are done in a second: more than a node does anyway.
pub const BULK_RATE_MAX: u32 = 10_000;
/// Bulks of one tenant that have not ended: the owner of the first partition looks at all of them.
pub const BULKS_OPEN_MAX: usize = 20;
/// What one entry of the audit says of a state, before or after. A longer one is named by its hash.
pub const AUDIT_STATE_BYTES_MAX: usize = 32 * 1024;
/// Entries of the audit in one answer of an export, and their bytes.
pub const AUDIT_EXPORT_MAX: u32 = 1_000;
pub const AUDIT_EXPORT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries that one check of the audit reads: about a second.
pub const AUDIT_VERIFY_MAX: u32 = 20_000;
/// A filter and its terms. Longer filters are not written by people.
pub const FILTER_BYTES_MAX: usize = 2_000;
pub const FILTER_TERMS_MAX: usize = 30;
/// The window of figures.
pub const WINDOW_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// How long an idempotency key and an event's external id are remembered.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// An attempt's time limit: default and largest.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Retries of one execution.
pub const RETRIES_MAX: u32 = 100;
/// Largest pause between two attempts.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// `max_concurrent_executions`.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// `rate_limit_per_minute` and `rate_limit_per_hour`.
pub const RATE_MAX: u32 = 1_000_000;
/// How long an execution may be the only one, and how long it may wait for a newer one to take its
/// place: claims are kept as long, and nobody expects an answer after a month.
pub const UNIQUE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Events that gather into one execution: all of them are in one request, and in one dead letter.
pub const GATHERED_MAX: u32 = 1_000;
/// Bytes of what gathers into one execution: it is read and sent at once, like one event.
pub const GATHERED_BYTES_MAX: usize = EVENT_BYTES_MAX;
/// How long an execution waits for others: what may wait longer is a job of a schedule.
pub const GATHERED_WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// `tracestate` that is kept and passed on: nobody has to pass on more (W3C Trace Context,
/// 3.3.1.5), and some receivers refuse it.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// Turns of one tenant where others get one: beyond this, others would hardly get any.
pub const WEIGHT_MAX: u32 = 100;
/// Why something was paused, as it is kept with each tenant's definitions.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Actions of one tenant that may be paused one by one: all of it is read with every change.
pub const PAUSED_ACTIONS_MAX: usize = 1_000;
/// Entries of one list of where a tenant may connect to: each is compared at each dial.
pub const REACH_PLACES_MAX: usize = 100;
/// One of them: no name of a host is longer.
pub const REACH_PLACE_BYTES_MAX: usize = 255;
/// Days of history: deduplication looks back a day, so what it answers with is kept for two.
pub const KEEP_DAYS_MIN: u32 = 2;
/// Days that a tenant may keep history, or dead letters: whoever wants more wants an archive.
pub const RETENTION_DAYS_MAX: u32 = 3_650;
/// An action's or handler's output kept in the history.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// What an attempt leaves for the next one. More belongs into an object store, by reference.
pub const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;
/// The note beside an attempt's progress: one line for a person.
pub const PROGRESS_NOTE_BYTES_MAX: usize = 255;
/// Queues that a remote worker may ask for at once, and tasks that it may get.
pub const PULL_QUEUES_MAX: usize = 20;
pub const PULL_CLAIM_MAX: u32 = 100;
/// How long a remote worker may say nothing about a task. An attempt lasts no longer.
pub const PULL_LEASE_MAX: Duration = TIMEOUT_MAX;
/// An error message kept in the history.
pub const ERROR_BYTES_MAX: usize = 4 * 1024;
/// Bytes of inputs of one read of a log, beside the first item's. More finds no room in memory.
pub const WINDOW_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The details of an error. They are kept for every attempt of an execution.
pub const ERROR_DETAILS_BYTES_MAX: usize = 32 * 1024;
/// Attempts lost with their node before an item is set aside as poison.
pub const LOSSES_MAX: u8 = 4;
/// An affinity key.
pub const KEY_BYTES_MAX: usize = 255;
/// Tokens of an affinity key, and bytes of each: together they fit into a key, and a UUID fits into
/// a token. Of a longer token the end is replaced by a hash.
pub const KEY_TOKENS_MAX: usize = 6;
pub const KEY_TOKEN_BYTES_MAX: usize = 41;
/// A tenant's slug. Its schema name stays below PostgreSQL's 63 bytes.
pub const SLUG_BYTES_MAX: usize = 48;
/// A page of a list: default and largest.
pub const PAGE_DEFAULT: u32 = 50;
pub const PAGE_MAX: u32 = 1_000;
/// Data, input or output of one item of a list. Larger ones are left out, so that a page of
/// [`PAGE_MAX`] items fits into memory; reading the item itself shows them.
pub const LISTED_BYTES_MAX: usize = 16 * 1024;
/// How long a request may wait for its executions.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Executions that one request may wait for: each is asked for again and again.
pub const WAIT_EXECUTIONS_MAX: usize = 1_000;
/// A request from its arrival to its answer: longer than the longest wait, so that only what
/// hangs is cut.
pub const REQUEST_MAX: Duration = Duration::from_secs(90);
/// A request's address and headers. Room for the attributes of an event, which may be headers and
/// take more there than in a body.
pub const HEAD_BYTES_MAX: usize = 2 * ATTRIBUTES_BYTES_MAX;
/// How long a request's body may take to arrive.
pub const BODY_ARRIVAL_MAX: Duration = Duration::from_secs(30);
/// Open connections: half of the 1,024 descriptors that a process ordinarily may have.
pub const CONNECTIONS_MAX: u32 = 512;
/// How long a connection may be open without a request being answered on it.
pub const CONNECTION_QUIET_MAX: Duration = Duration::from_secs(60);
/// Execution may be scheduled this far ahead.
pub const SCHEDULE_AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// An action's config.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;
/// Actions of one tenant: all of them are in the memory of each node.
pub const ACTIONS_MAX: usize = 200_000;
/// Subscriptions of one tenant.
pub const SUBSCRIPTIONS_MAX: usize = 200_000;
/// Schedules of one tenant: the owner of the first partition looks at all of them.
pub const SCHEDULES_MAX: usize = 1_000;
/// API keys of one tenant that hold: people manage them by hand.
pub const API_KEYS_MAX: usize = 500;
/// API keys of one tenant that hold no more and are still listed.
pub const API_KEYS_ENDED_MAX: usize = 500;
/// Tokens of one API key that hold at once: rotations whose answers were lost, and then some.
pub const API_KEY_TOKENS_MAX: usize = 8;
/// How long an API key may be made for. Longer is the same as for good.
pub const API_KEY_LIFETIME_MAX: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// How long the old tokens of a rotated API key hold: default, until the next day's deployment, and
/// largest.
pub const API_KEY_OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
pub const API_KEY_OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a node lets an API key in without having asked whether something was revoked. A
/// revocation holds everywhere within this time, whoever is cut off from whom.
pub const API_KEY_TRUST_MAX: Duration = Duration::from_secs(2);
/// Tokens that a node asks the store about, because it does not know them: at once, and then in a
/// second. Whoever makes tokens up finds no others, and the store hardly notices.
pub const API_KEY_ASKS_MAX: u32 = 100;
pub const API_KEY_ASKS_PER_SECOND: u32 = 20;
/// Accounts of one tenant: people manage them by hand. Whoever has more has an identity provider.
pub const ACCOUNTS_MAX: usize = 500;
/// An account's name. A mail address of ordinary length is one.
pub const ACCOUNT_NAME_BYTES_MAX: usize = NAME_BYTES_MAX;
/// The shortest password that may be chosen: shorter ones are guessed from a stolen hash.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// The longest one. Hashing takes the same time for all of them.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Passwords that a process hashes at once: each takes 19 MiB, of a process that has 200. Those who
/// were right from their address before, or are logged in, have as many places of their own.
pub const PASSWORD_HASHES_MAX: usize = 2;
/// Passwords that wait to be hashed. Each takes some 50 ms.
pub const PASSWORD_WAITS_MAX: usize = 20;
/// The body of a login: whoever sends it is still a stranger.
pub const LOGIN_BYTES_MAX: usize = 4 * 1024;
/// How long a session holds, however much it is used: a working day.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a session holds without being used.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// Sessions of one account that hold at once. One more ends the oldest.
pub const ACCOUNT_SESSIONS_MAX: usize = 20;
/// How long a session that holds no more is kept, so that every node hears of its end: nodes remember
/// a session for half as long.
pub const SESSION_KEPT: Duration = Duration::from_secs(10 * 60);
/// Failures of one address that cost it nothing: at tokens and passwords of all accounts together.
pub const GUESSES_FREE: u32 = 20;
/// Right logins to one account that cost nothing; one is forgotten each minute. Each leaves a session
/// and an entry in the audit.
pub const ACCOUNT_LOGINS_FREE: u32 = 60;
/// Failures at one account from one address that cost it nothing.
pub const ACCOUNT_GUESSES_FREE: u32 = 5;
/// Failures at one account, from wherever they come, within an hour or so, after which each address
/// has one of them free.
pub const ACCOUNT_GUESSES_HOT: u32 = 100;
/// The longest wait that guesses lead to.
pub const GUESS_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Addresses, and accounts with addresses, whose guesses are remembered: a few megabytes.
pub const GUESSERS_MAX: usize = 20_000;
/// Proxies that one request may have passed.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// How long a policy service may take to answer: callers wait for it.
pub const POLICY_ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a yes of the policy service counts.
pub const POLICY_TRUST_MAX: Duration = Duration::from_secs(5);
/// Answers of the policy service that are remembered, and questions that it is asked at once.
pub const POLICY_ANSWERS_MAX: usize = 10_000;
pub const POLICY_QUESTIONS_MAX: usize = 64;
/// Bytes of an answer of the policy service.
pub const POLICY_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The data of a schedule. It is read with its schedule, every few seconds.
pub const SCHEDULE_DATA_BYTES_MAX: usize = 16 * 1024;
/// What a schedule is for, in words.
pub const SCHEDULE_DESCRIPTION_BYTES_MAX: usize = 1_024;
/// The text of a cron schedule. Longer ones are not written by people.
pub const CRON_BYTES_MAX: usize = 128;
/// The name of a time zone. The longest one has 32.
pub const TIMEZONE_BYTES_MAX: usize = 64;
/// Shortest and longest interval of a schedule.
pub const EVERY_MIN: Duration = Duration::from_secs(1);
pub const EVERY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Times that a schedule catches up on at once, and that one backfill may ask for.
pub const CATCH_UP_MAX: usize = 1_000;
/// Coming times of a schedule that one request may ask for.
pub const NEXT_TIMES_MAX: usize = 100;
/// The text of a secret: a private key or a certificate with its chain fits in.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Secrets of one tenant: people manage them by hand.
pub const SECRETS_MAX: usize = 1_000;
/// Shorter secrets are not masked in what an attempt leaves behind: they are found in any text.
pub const SECRET_MASKED_BYTES_MIN: usize = 4;
/// How long the version before goes on to be used after a new one was put: default, until the next
/// day's deployment, and largest.
pub const SECRET_OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
pub const SECRET_OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a node uses a secret without having asked whether there is a newer one. A new version
/// is used everywhere within this time.
pub const SECRET_TRUST_MAX: Duration = Duration::from_secs(2);
/// Data keys that one request wraps anew: a few seconds of work.
pub const SECRET_REWRAPS_MAX: u32 = 500;
/// The id of a master key.
pub const MASTER_KEY_ID_BYTES_MAX: usize = 64;
/// Master keys that a process knows at once: the one that wraps, and those that are on their way
/// out.
pub const MASTER_KEYS_MAX: usize = 16;
/// `events_per_second` of a tenant: rates are paced in whole microseconds, which makes larger ones
/// inexact. Beyond it there is no limit to be set.
pub const EVENTS_PER_SECOND_MAX: u32 = 50_000;
/// `waiting_executions` of a tenant: what has not ended is counted every few seconds.
pub const WAITING_EXECUTIONS_MAX: u64 = 100_000_000;
/// `stored_bytes` of a tenant: 1 PiB, beyond what one database holds.
pub const STORED_BYTES_MAX: u64 = 1 << 50;
/// Days of usage that one request may ask for.
pub const USAGE_DAYS_MAX: u32 = 366;
/// Steps of one workflow. A larger one is a workflow of workflows.
pub const FLOW_STEPS_MAX: usize = 1_000;
/// Ways between the steps of one workflow: ten for each.
pub const FLOW_EDGES_MAX: usize = 10_000;
/// A workflow as JSON. It is read as a whole when a run of it goes on.
pub const FLOW_BYTES_MAX: usize = 1024 * 1024;
/// Lists and objects of a workflow's file inside one another. Reading goes one frame deeper with
/// each: all of them take half of a thread's stack where nothing is optimised.
pub const FLOW_NESTING_MAX: usize = 24;
/// Workflows that start one another: like actions that cause one another.
pub const FLOW_DEPTH_MAX: u8 = CHAIN_DEPTH_MAX;
/// Retries of all steps of one run together: as many entries as half of a history may have.
pub const FLOW_RETRIES_MAX: u32 = 10_000;
/// Rounds of one step that is repeated. Each takes three entries of its run's history.
pub const FLOW_ROUNDS_MAX: u32 = 1_000;
/// The name of a step. It stands in expressions, again and again.
pub const STEP_NAME_BYTES_MAX: usize = 64;
/// Entries of one run's history: from here on it is warned of, and from there on nothing more is
/// started. All of them are read when a run goes on after a crash.
pub const RUN_ENTRIES_WARN: u32 = 2_000;
pub const RUN_ENTRIES_MAX: u32 = 20_000;
/// Bytes of one run's history, likewise.
pub const RUN_BYTES_WARN: u64 = 2 * 1024 * 1024;
pub const RUN_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// Steps and items of one run that are under way at once. Others wait for their turn.
pub const RUN_OPEN_MAX: usize = 1_000;
/// Signals of one run that no step has taken yet.
pub const RUN_SIGNALS_MAX: usize = 10_000;
/// An input, output or signal inside a run's history. More belongs into an object store, by
/// reference.
pub const RUN_PAYLOAD_BYTES_MAX: usize = OUTPUT_BYTES_MAX;
/// Items of one map: each takes two entries of its run's history, and compensation two more.
pub const MAP_ITEMS_MAX: usize = 4_000;
/// What the owner of runs reads at once of what they were told.
pub const INBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Histories of runs that a node keeps in memory. Others are read again when they go on.
pub const RUN_CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;
