use chrono::DateTime;
use proptest::prelude::*;
use serde_json::json;

use super::{Act, ActKind, Broken, Entry, Head, Verifier};
use crate::authorization::AuthorizationContext;
use crate::id::TenantId;

fn act(tenant: i32, number: usize) -> Act {
    let caller = AuthorizationContext::of_bootstrap_token("r");
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    Act::new(&caller, TenantId(tenant), at, ActKind::ActionUpdated, format!("action:{number}"))
        .from(json!({ "n": number }))
        .to(json!({ "n": number + 1 }))
}

fn stream(tenant: i32, count: usize) -> Vec<Entry> {
    let mut head = Head::default();
    let entries = (0..count).map(|number| {
        let entry = head.append(&act(tenant, number));
        head = entry.head();
        entry
    });
    entries.collect()
}

fn verify(entries: &[Entry], noted: &[Head]) -> Result<Head, Broken> {
    let mut verifier = Verifier::new(Head::default(), noted.to_vec());
    entries.iter().try_for_each(|entry| verifier.check(entry))?;
    verifier.finish()
}

#[test]
fn the_sealed_bytes_are_those_of_the_document() {
    let entry = stream(7, 1).remove(0);
    let mut bytes = b"actions.audit.1\0".to_vec();
    bytes.extend([0; 32]);
    for number in [7, 1, entry.at.timestamp_micros()] {
        bytes.extend(number.to_le_bytes());
    }
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    let fields = ["token:bootstrap", "bootstrap_token", "platform_admin", "http", "r"];
    for field in fields.into_iter().chain(["action.updated", "action:0"]) {
        text(&mut bytes, field);
    }
    for optional in [None, Some(r#"{"n":0}"#), Some(r#"{"n":1}"#), None] {
        bytes.push(u8::from(optional.is_some()));
        if let Some(optional) = optional {
            text(&mut bytes, optional);
        }
    }
    assert_eq!(entry.hash.to_string(), blake3::hash(&bytes).to_string());
}

#[test]
fn a_whole_stream_holds_and_ends_at_its_head() {
    let entries = stream(1, 5);
    let head = entries[4].head();
    assert_eq!(verify(&entries, &[]), Ok(head));
    assert_eq!(verify(&entries, &[entries[2].head(), head]), Ok(head));
    assert_eq!(verify(&[], &[]), Ok(Head::default()));
    assert_eq!(head.to_string().parse(), Ok(head));
    // A later part, behind something that is trusted.
    let mut verifier = Verifier::new(entries[1].head(), vec![entries[0].head(), head]);
    entries[2..].iter().try_for_each(|entry| verifier.check(entry)).unwrap();
    assert_eq!(verifier.finish(), Ok(head));
}

#[test]
fn what_is_missing_moved_or_put_in_is_found_with_its_place() {
    let entries = stream(1, 5);
    let without = |seq: usize| [&entries[..seq - 1], &entries[seq..]].concat();
    assert_eq!(verify(&without(1), &[]), Err(Broken::Missing { expected: 1, found: 2 }));
    assert_eq!(verify(&without(3), &[]), Err(Broken::Missing { expected: 3, found: 4 }));
    let mut swapped = entries.clone();
    swapped.swap(1, 2);
    assert_eq!(verify(&swapped, &[]), Err(Broken::Missing { expected: 2, found: 3 }));
    let mut twice = entries.clone();
    twice.insert(3, entries[2].clone());
    assert_eq!(verify(&twice, &[]), Err(Broken::Reordered { last: 3, found: 3 }));
    let mut foreign = entries.clone();
    foreign[2] = stream(2, 3).remove(2);
    let expected = Broken::Foreign { seq: 3, expected: TenantId(1), found: TenantId(2) };
    assert_eq!(verify(&foreign, &[]), Err(expected));
}

#[test]
fn an_end_that_is_gone_is_found_when_a_later_head_is_known() {
    let entries = stream(1, 5);
    let noted = [entries[4].head()];
    assert_eq!(verify(&entries[..3], &[]).unwrap().seq, 3, "nobody can know");
    assert_eq!(verify(&entries[..3], &noted), Err(Broken::Cut { last: 3, noted: 5 }));
    assert_eq!(verify(&[], &noted), Err(Broken::Cut { last: 0, noted: 5 }));
}

#[test]
fn a_stream_that_was_written_anew_is_found_by_an_older_head() {
    let entries = stream(1, 5);
    let mut anew = entries[..2].to_vec();
    let mut forged = act(1, 2);
    forged.actor.name = "somebody".to_owned();
    anew.push(anew[1].head().append(&forged));
    anew.push(anew[2].head().append(&act(1, 3)));
    assert!(verify(&anew, &[]).is_ok(), "it is a chain");
    assert_eq!(verify(&anew, &[entries[2].head()]), Err(Broken::Replaced { seq: 3 }));
    // Joined to the rest of the old one, it does not fit.
    let joined = [&anew[..3], &entries[3..]].concat();
    assert_eq!(verify(&joined, &[]), Err(Broken::Unlinked { seq: 4 }));
}

proptest! {
    /// Whatever one member of an export says instead is noticed, at its line.
    #[test]
    fn no_member_can_be_changed(
        line in 0_usize..4,
        member in any::<proptest::sample::Index>(),
        text in "[a-z0-9:{}]{1,20}",
        number in any::<i64>(),
    ) {
        let entries = stream(1, 4);
        let mut object = serde_json::to_value(&entries[line]).unwrap();
        let members = object.as_object_mut().unwrap();
        let name = members.keys().nth(member.index(members.len())).unwrap().clone();
        for instead in [json!(text), json!(number), json!(null), json!({ "n": text })] {
            let mut changed = members.clone();
            let before = changed.insert(name.clone(), instead.clone());
            prop_assume!(before.as_ref() != Some(&instead));
            let Ok(entry) = serde_json::from_value::<Entry>(changed.into()) else { continue };
            let mut entries = entries.clone();
            entries[line] = entry;
            let broken = verify(&entries, &[]).expect_err(&name);
            let place = i64::try_from(line + 1).unwrap();
            // An alien stream's number in the first line makes the second one the alien.
            let is_first = name == "stream" && line == 0;
            prop_assert!(broken.position() == place || is_first, "{name}: {broken}");
        }
    }
}
