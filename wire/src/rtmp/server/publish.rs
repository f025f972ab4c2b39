//! A peer's description of itself and of the stream that it wants to publish.

use crate::amf0::Value;
use crate::rtmp::enhanced;
use crate::secret::Secret;

/// Parameters of `connect`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ConnectInfo {
    /// `app` as sent; some encoders put the key here.
    pub app: Secret,
    /// `tcUrl` as sent; some encoders put the key here.
    pub tc_url: Secret,
    /// `flashVer`: the encoder's name and version.
    pub flash_ver: Option<String>,
    /// Codecs that the encoder can send: `fourCcList` of Enhanced RTMP and the keys of `videoFourCcInfoMap` and
    /// `audioFourCcInfoMap`, each once.
    pub four_cc_list: Vec<String>,
    /// `capsEx` of Enhanced RTMP, a set of flags.
    pub caps_ex: Option<u32>,
}

impl ConnectInfo {
    pub(super) fn read(object: &Value) -> Self {
        let text = |name| object.get(name).and_then(Value::as_str);
        Self {
            app: text("app").unwrap_or_default().into(),
            tc_url: text("tcUrl").unwrap_or_default().into(),
            flash_ver: text("flashVer").map(str::to_owned),
            four_cc_list: enhanced::four_ccs(object),
            caps_ex: enhanced::caps_ex(object),
        }
    }

    /// Returns whether the peer speaks Enhanced RTMP.
    pub fn is_enhanced(&self) -> bool {
        !self.four_cc_list.is_empty() || self.caps_ex.is_some()
    }
}

/// A request to publish.
///
/// The app and the stream name are read as one path, as in `rtmp://host/app/instance/key?query`: its last segment is
/// the key, and the segments before it are the app. So it does not matter where an encoder splits the address that its
/// user typed, and a key is never taken for an app, which is printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The application with its instance: `app`, `app/instance`. Every name is accepted.
    pub app: String,
    /// The stream key; empty if the address had no segment at all.
    pub key: Secret,
    /// Text after `?` in the stream name, or else in the app. It may contain tokens.
    pub query: Option<Secret>,
    /// The parameters of `connect`.
    pub info: ConnectInfo,
}

impl Publish {
    /// Creates the request to publish `name` on a connection with the parameters `info`.
    pub(super) fn new(info: ConnectInfo, name: &str) -> Self {
        let split = |text: &str| match text.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(Secret::from(query))),
            None => (text.to_owned(), None),
        };
        let (app_path, app_query) = split(info.app.reveal());
        let (name_path, name_query) = split(name);
        let segments: Vec<&str> = app_path.split('/').chain(name_path.split('/')).filter(|s| !s.is_empty()).collect();
        let (key, lead) = segments.split_last().map_or(("", &[][..]), |(last, lead)| (*last, lead));
        Self { app: lead.join("/"), key: key.into(), query: name_query.or(app_query), info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(app: &str, name: &str) -> (String, String, Option<String>) {
        let info = ConnectInfo { app: app.into(), ..ConnectInfo::default() };
        let publish = Publish::new(info, name);
        (publish.app, publish.key.reveal().to_owned(), publish.query.map(|q| q.reveal().to_owned()))
    }

    #[test]
    fn app_and_key_are_found_wherever_the_address_is_cut() {
        let expect = |app: &str, key: &str, query: Option<&str>| (app.into(), key.into(), query.map(str::to_owned));
        assert_eq!(read("app", "KEY"), expect("app", "KEY", None));
        assert_eq!(read("app/", "KEY?a=b&c"), expect("app", "KEY", Some("a=b&c")));
        assert_eq!(read("app?t=1", "KEY"), expect("app", "KEY", Some("t=1")));
        assert_eq!(read("app/one/two", "KEY"), expect("app/one/two", "KEY", None));
        assert_eq!(read("app", "/one/KEY"), expect("app/one", "KEY", None));
        assert_eq!(read("app/KEY", ""), expect("app", "KEY", None));
        assert_eq!(read("app/KEY?q", ""), expect("app", "KEY", Some("q")));
        assert_eq!(read("", "KEY"), expect("", "KEY", None));
        assert_eq!(read("KEY", ""), expect("", "KEY", None));
        assert_eq!(read("", ""), expect("", "", None));
        assert_eq!(read("app/KEY", "/"), expect("app", "KEY", None));
    }

    #[test]
    fn nothing_that_may_hold_a_key_is_printed() {
        let info = ConnectInfo::read(&Value::object([
            ("app", "app/hush-1?hush-2".into()),
            ("tcUrl", "rtmp://host/app/hush-3".into()),
        ]));
        let publish = Publish::new(info, "hush-4?hush-5");
        assert!(!format!("{publish:?}").contains("hush-2"));
        let publish = Publish::new(publish.info, "");
        assert!(!format!("{publish:?}").contains("hush"), "{publish:?}");
    }

    #[test]
    fn enhanced_rtmp_fields_are_kept() {
        let list = Value::StrictArray(vec!["hvc1".into(), Value::Null, "av01".into()]);
        let info = ConnectInfo::read(&Value::object([("fourCcList", list), ("capsEx", 3.0.into())]));
        assert_eq!(info.four_cc_list, ["hvc1", "av01"]);
        assert_eq!((info.caps_ex, info.is_enhanced()), (Some(3), true));

        let map = |four_cc| Value::object([(four_cc, 1.0.into()), ("*", 4.0.into())]);
        let maps = [("videoFourCcInfoMap", map("hvc1")), ("audioFourCcInfoMap", map("Opus"))];
        assert_eq!(ConnectInfo::read(&Value::object(maps)).four_cc_list, ["hvc1", "*", "Opus"]);
        assert!(!ConnectInfo::read(&Value::object([("app", "app".into())])).is_enhanced());

        let many: Vec<Value> = (0..100).map(|n| format!("{n:04}").as_str().into()).collect();
        let info = ConnectInfo::read(&Value::object([("fourCcList", Value::StrictArray(many))]));
        assert_eq!(info.four_cc_list.len(), enhanced::MAX_FOUR_CCS);
    }
}
