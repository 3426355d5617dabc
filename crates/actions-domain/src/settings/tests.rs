use super::{EVENT_BURST, Effective, Layer, Setting, effective, event_rate};

/// `layer=value` of each layer that says something, and what comes of it.
fn check(setting: Setting, layers: &str, expected: &str) {
    let all = [
        Layer::Default,
        Layer::File,
        Layer::Environment,
        Layer::Platform,
        Layer::Tenant,
        Layer::Action,
    ];
    let said = layers.split_whitespace().map(|pair| {
        let (word, value) = pair.split_once('=').unwrap();
        let layer = all.into_iter().find(|known| known.word() == word).unwrap();
        (layer, Some(value.parse().unwrap()))
    });
    let Effective { value, layer, capped_by, .. } = effective(setting, said);
    let value = value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let cap = capped_by.map_or(String::new(), |layer| format!(", capped by {}", layer.word()));
    assert_eq!(format!("{value} by {}{cap}", layer.word()), expected, "{setting}: {layers}");
}

#[test]
fn the_last_layer_that_says_something_holds() {
    let rate = Setting::EventsPerSecond;
    for (layers, expected) in [
        ("", "none by default"),
        ("file=10", "10 by file"),
        ("file=10 environment=20", "20 by environment"),
        ("environment=20 platform=5", "5 by platform"),
        ("file=10 platform=5 tenant=500", "500 by tenant"),
        ("file=10 environment=20 platform=5 tenant=6", "6 by tenant"),
        ("platform=5 tenant=5", "5 by tenant"),
    ] {
        check(rate, layers, expected);
    }
    check(Setting::MaxConcurrentExecutions, "tenant=50 action=1", "1 by action");
    check(Setting::Weight, "", "1 by default");
    check(Setting::Subscriptions, "", "200000 by default");
    check(Setting::Subscriptions, "platform=10", "10 by platform");
    check(Setting::Subscriptions, "platform=10 tenant=200000", "200000 by tenant");
}

#[test]
fn what_may_only_be_stricter_is_never_loosened() {
    for (layers, expected) in [
        ("", "none by default"),
        ("default=30", "30 by default"),
        ("default=30 tenant=7", "7 by tenant"),
        ("default=30 tenant=90", "30 by tenant, capped by default"),
        ("file=60 tenant=90", "60 by tenant, capped by file"),
        ("environment=10 tenant=10", "10 by tenant"),
        ("tenant=90", "90 by tenant"),
    ] {
        check(Setting::KeepDays, layers, expected);
    }
}

#[test]
fn every_setting_has_a_word_of_its_own_and_a_range() {
    for setting in Setting::ALL {
        assert_eq!(Setting::parse(setting.word()), Some(*setting));
        let (least, most) = setting.range();
        assert!(least <= most && setting.allows(least) && setting.allows(most), "{setting}");
        assert!(!setting.allows(most + 1) && !setting.allows(least - 1), "{setting}");
        assert!(setting.default_value().is_none_or(|value| setting.allows(value)), "{setting}");
    }
}

#[test]
fn an_hour_of_events_is_paced_within_a_twentieth() {
    for per_second in [1, 7, 100, 1_000, Setting::EventsPerSecond.range().1] {
        let pace = event_rate(per_second).minute().unwrap();
        let an_hour = 3_600 * 1_000_000 / pace.cost;
        let wanted = 3_600 * i64::try_from(per_second).unwrap();
        assert!(an_hour <= wanted && an_hour * 100 >= wanted * 95, "{per_second}: {an_hour}");
        assert_eq!(u64::from(pace.burst), per_second * EVENT_BURST.as_secs(), "{per_second}");
    }
}
