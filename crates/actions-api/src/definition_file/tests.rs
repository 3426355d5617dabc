use super::{DefinitionFile, find_key};

const GOOD: &str = "
actions:
  - name: welcome
    action_type: email
    handler: email.template
    config: { country: no, zip: 0123 }
    event_patterns: [users.created]
    subscriptions:
      - event_pattern: users.imported
subscriptions:
  - action: welcome
    name: invited
    event_pattern: users.invited
";

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = DefinitionFile::parse(text).unwrap_err();
    mistakes.iter().map(|mistake| mistake.at("f.yaml")).collect()
}

#[test]
fn a_file_is_read_as_it_is_written() {
    let file = DefinitionFile::parse(GOOD).unwrap();
    let entry = &file.set.actions[0];
    assert_eq!(entry.action.config, serde_json::json!({ "country": "no", "zip": "0123" }));
    let patterns: Vec<_> =
        entry.subscriptions.iter().map(|spec| spec.event_pattern.as_str()).collect();
    assert_eq!(patterns, ["users.imported", "users.invited"]);
    assert_eq!(file.lines, [3]);
    assert!(DefinitionFile::parse("actions: []").is_ok_and(|file| file.set.actions.is_empty()));
}

#[test]
fn mistakes_have_places() {
    let syntax = mistakes("actions:\n  - name: [\n");
    assert!(syntax[0].starts_with("f.yaml:"), "{syntax:?}");
    let unknown = mistakes(&GOOD.replace("event_patterns", "event_patternz"));
    assert!(unknown[0].starts_with("f.yaml:7:"), "{unknown:?}");
    assert!(unknown[0].contains("event_patternz"), "{unknown:?}");
    let wrong = mistakes(&GOOD.replace("action_type: email", "action_type: mail"));
    assert!(wrong[0].starts_with("f.yaml:4:"), "{wrong:?}");
    let limits = mistakes(&GOOD.replace("    config:", "    timeout_seconds: 0\n    config:"));
    assert!(limits[0].starts_with("f.yaml:6:5: timeout_seconds is 0"), "{limits:?}");
    let orphan = mistakes(&GOOD.replace("action: welcome", "action: farewell"));
    assert!(orphan[0].starts_with("f.yaml:11:"), "{orphan:?}");
    let nameless = mistakes(&GOOD.replace("action: welcome\n    name: invited", "name: invited"));
    assert!(nameless[0].contains("names its action"), "{nameless:?}");
}

#[test]
fn mistakes_of_all_definitions_are_told_at_once() {
    let text = "
actions:
  - name: one
    action_type: mail
    handler: email.template
  - name: two
    action_type: email
    handler: email.template
    timeout_seconds: soon
  - name: three
    action_type: email
    handler: email.template
    timeout_seconds: 0
  - { name: four, action_type: email, handler: email.template, colour: red }
subscriptions:
  - action: one
    event_pattern: users.invited
  - action: three
    event_patern: users.invited
";
    let all = mistakes(text);
    let lines: Vec<_> = all.iter().map(|one| one.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["4", "9", "13", "14", "19"], "{all:#?}");
    assert!(all[1].ends_with("expected a whole number that is not negative"), "{all:#?}");
    assert!(all[3].contains("unknown field `colour`"), "{all:#?}");
}

#[test]
fn a_name_is_defined_once() {
    let again = "  - name: welcome\n    action_type: sms\n    handler: sms.twilio\nsubscriptions:\n  - action";
    let twice = GOOD.replace("subscriptions:\n  - action", again);
    assert!(mistakes(&twice)[0].contains("defined already in line 3"));
}

#[test]
fn a_pointer_leads_to_its_line() {
    assert_eq!(find_key(GOOD, 3, "/event_patterns/0"), Some((7, 5)));
    assert_eq!(find_key(GOOD, 3, "/event_patternz"), None);
}
