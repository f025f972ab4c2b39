//! Targets that cannot be added, and secrets that are not printed.

use std::sync::Arc;

use simulcast::{AddError, Events, Secret, Settings, Simulcast, State, TargetId};

use crate::rig::{Rig, config};

struct Ignored;

impl Events for Ignored {
    fn transition(&self, _target: &TargetId, _state: &State) {}
}

fn add(simulcast: &Simulcast, name: &str, url: &str) -> Result<(), AddError> {
    let settings = Settings { url: Secret::from(url), stream_key: Secret::from("hush") };
    simulcast.add(name.into(), &settings, Arc::new(Ignored))
}

#[test]
fn targets_are_limited_in_number_and_have_one_id_each() {
    let mut config = config();
    config.max_targets = 2;
    let rig = Rig::new(config);
    let simulcast = &rig.simulcast;
    assert_eq!(add(simulcast, "one", "rtmp://localhost/app"), Ok(()));
    assert_eq!(add(simulcast, "one", "rtmp://localhost/app"), Err(AddError::Duplicate));
    assert_eq!(add(simulcast, "two", "http://localhost/app"), Err(AddError::Scheme));
    assert!(matches!(add(simulcast, "two", "rtmp:///app"), Err(AddError::Address(_))));
    assert_eq!(add(simulcast, "two", "srt://localhost:1"), Err(AddError::StreamKey));
    assert_eq!(add(simulcast, "two", "rtmp://localhost/app"), Ok(()));
    assert_eq!(add(simulcast, "three", "rtmp://localhost/app"), Err(AddError::TooMany(2)));
    assert!(simulcast.remove(&"one".into()));
    assert_eq!(add(simulcast, "three", "rtmp://localhost/app"), Ok(()));
    rig.finish();
    assert_eq!(add(simulcast, "four", "rtmp://localhost/app"), Err(AddError::Ended));
}

#[test]
fn settings_hide_their_secrets() {
    let settings = Settings { url: "rtmp://me:hush@localhost/app?hush".into(), stream_key: "hush".into() };
    assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
}
