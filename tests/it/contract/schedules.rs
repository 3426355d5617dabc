//! What every `Schedules` must do: definitions with versions, and progress that only goes forward.

use actions_domain::Timestamp;
use actions_domain::action::ActionName;
use actions_domain::event::EventType;
use actions_domain::id::TenantId;
use actions_domain::json::Json;
use actions_domain::ports::definitions::{DefinitionsError, Expected};
use actions_domain::schedule::{
    Missed, Overlap, Progress, Schedule, ScheduleName, ScheduleSpec, Target, When,
};
use chrono::{DateTime, TimeDelta};

use super::given;
use super::stores::{Ports, Stores};

contract! { Schedules:
    what_was_saved_is_listed,
    a_version_is_expected_or_not,
    saving_the_same_changes_nothing,
    new_times_count_from_now_on,
    progress_is_noted_and_survives_an_edit,
    progress_of_an_older_version_is_refused,
    progress_never_goes_back,
    what_was_deleted_is_gone_and_its_version_too,
    tenants_have_schedules_of_their_own,
}

const ADMIN: TenantId = TenantId::ADMIN;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn name(raw: &str) -> ScheduleName {
    ScheduleName::parse(raw).unwrap()
}

pub(super) fn spec(raw: &str) -> ScheduleSpec {
    ScheduleSpec {
        name: name(raw),
        description: Some("Every night".to_owned()),
        target: Target::Action(ActionName::parse("report").unwrap()),
        data: Json::parse(r#"{"amount": 12.50, "words": "ä\u0007"}"#).unwrap(),
        when: When::Cron { text: "30 2 * * *".to_owned(), timezone: "Europe/Berlin".to_owned() },
        missed: Missed::All,
        overlap: Overlap::Skip,
        is_active: true,
    }
}

async fn save(ports: &Ports, spec: &ScheduleSpec, now: Timestamp) -> Schedule {
    ports.schedules.save_schedule(ADMIN, spec, Expected::Anything, now, None).await.unwrap()
}

async fn all(ports: &Ports) -> Vec<Schedule> {
    ports.schedules.schedules(Some(ADMIN)).await.unwrap()
}

fn progress(seconds: i64) -> Progress {
    Progress {
        handled_until: at(seconds),
        last_at: Some(at(seconds - 1) + TimeDelta::microseconds(7)),
        last_execution: Some(given::execution_id(0)),
        last_error: Some("it was \"busy\"".to_owned()),
    }
}

async fn what_was_saved_is_listed(stores: &Stores) {
    let ports = stores.open().await;
    let nightly = save(&ports, &spec("nightly"), at(0)).await;
    let event = EventType::parse("system.beat").unwrap();
    let beat = ScheduleSpec {
        target: Target::Event(event),
        when: When::EverySeconds(30),
        is_active: false,
        ..spec("Beat")
    };
    let beat = save(&ports, &beat, at(1)).await;
    let once = ScheduleSpec { when: When::At(at(500)), description: None, ..spec("once") };
    let once = save(&ports, &once, at(2)).await;
    assert_eq!(nightly.spec, spec("nightly"));
    assert_eq!((nightly.created_at, nightly.progress.handled_until), (at(0), at(0)));
    assert_eq!(all(&ports).await, [beat, nightly, once], "by name, in the order of bytes");
    assert_eq!(stores.open().await.schedules.schedules(None).await.unwrap().len(), 3);
}

async fn a_version_is_expected_or_not(stores: &Stores) {
    let ports = stores.open().await;
    let schedules = &ports.schedules;
    let first =
        schedules.save_schedule(ADMIN, &spec("s"), Expected::Absent, at(0), None).await.unwrap();
    let edited = ScheduleSpec { description: None, ..spec("s") };
    let save = |expected| schedules.save_schedule(ADMIN, &edited, expected, at(9), None);
    let refused = save(Expected::Absent).await;
    assert!(matches!(refused, Err(DefinitionsError::Exists { .. })), "{refused:?}");
    let refused = save(Expected::Version(first.version - 1)).await;
    assert!(
        matches!(refused, Err(DefinitionsError::Stale { current }) if current == first.version)
    );
    let second = save(Expected::Version(first.version)).await.unwrap();
    assert!(second.version > first.version);
    assert_eq!((second.created_at, second.updated_at), (at(0), at(9)));
    let unknown = spec("other");
    let refused = schedules.save_schedule(ADMIN, &unknown, Expected::Version(1), at(9), None).await;
    assert!(matches!(refused, Err(DefinitionsError::NotFound { .. })), "{refused:?}");
    let refused =
        schedules.save_schedule(TenantId(999), &unknown, Expected::Anything, at(9), None).await;
    assert!(matches!(refused, Err(DefinitionsError::NotFound { what: "tenant", .. })));
}

async fn saving_the_same_changes_nothing(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    assert_eq!(save(&ports, &spec("s"), at(60)).await, first);
    assert_eq!(all(&ports).await, [first]);
}

async fn new_times_count_from_now_on(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    let described = ScheduleSpec { description: None, ..spec("s") };
    assert_eq!(save(&ports, &described, at(60)).await.progress, first.progress);
    let moved = ScheduleSpec { when: When::EverySeconds(5), ..spec("s") };
    save(&ports, &moved, at(90)).await;
    assert_eq!(all(&ports).await[0].progress.handled_until, at(90));
}

async fn progress_is_noted_and_survives_an_edit(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    let far = progress(100);
    let noted = ports.schedules.note_progress(ADMIN, &name("s"), first.version, &far).await;
    assert!(noted.unwrap());
    let stored = all(&ports).await.remove(0);
    assert_eq!((stored.version, &stored.progress), (first.version, &far));
    let edited = ScheduleSpec { description: None, ..spec("s") };
    save(&ports, &edited, at(200)).await;
    assert_eq!(all(&ports).await[0].progress, far);
}

async fn progress_of_an_older_version_is_refused(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    let edited = ScheduleSpec { when: When::EverySeconds(5), ..spec("s") };
    let second = save(&ports, &edited, at(50)).await;
    for (name, version) in [(name("s"), first.version), (name("other"), second.version)] {
        let noted = ports.schedules.note_progress(ADMIN, &name, version, &progress(100)).await;
        assert!(!noted.unwrap());
    }
    assert_eq!(all(&ports).await[0].progress, second.progress);
}

async fn progress_never_goes_back(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    let far = progress(100);
    for (progress, is_noted) in [(far.clone(), true), (progress(99), false), (far.clone(), true)] {
        let name = name("s");
        let noted = ports.schedules.note_progress(ADMIN, &name, first.version, &progress).await;
        assert_eq!(noted.unwrap(), is_noted);
    }
    assert_eq!(all(&ports).await[0].progress, far);
}

async fn what_was_deleted_is_gone_and_its_version_too(stores: &Stores) {
    let ports = stores.open().await;
    let first = save(&ports, &spec("s"), at(0)).await;
    let delete = |expected| {
        let schedules = ports.schedules.clone();
        async move { schedules.delete_schedule(ADMIN, &name("s"), expected, None).await }
    };
    let refused = delete(Expected::Version(first.version + 1)).await;
    assert!(matches!(refused, Err(DefinitionsError::Stale { .. })), "{refused:?}");
    delete(Expected::Version(first.version)).await.unwrap();
    assert_eq!(all(&ports).await, []);
    let refused = delete(Expected::Anything).await;
    assert!(matches!(refused, Err(DefinitionsError::NotFound { .. })), "{refused:?}");
    let again = save(&ports, &spec("s"), at(1)).await;
    assert!(again.version > first.version);
}

async fn tenants_have_schedules_of_their_own(stores: &Stores) {
    let ports = stores.open().await;
    let slug = "acme".parse().unwrap();
    let other =
        ports.definitions.create_tenant(given::uuid(), &slug, "Acme", None).await.unwrap().id;
    let own = save(&ports, &spec("s"), at(0)).await;
    let schedules = &ports.schedules;
    let theirs =
        schedules.save_schedule(other, &spec("s"), Expected::Absent, at(0), None).await.unwrap();
    let noted = schedules.note_progress(other, &name("s"), theirs.version, &progress(100)).await;
    assert!(noted.unwrap());
    assert_eq!(all(&ports).await, [own]);
    schedules.delete_schedule(other, &name("s"), Expected::Anything, None).await.unwrap();
    assert_eq!(schedules.schedules(None).await.unwrap().len(), 1);
}
