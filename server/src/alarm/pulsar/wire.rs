//! What a message says.

use coupon_domain::{book::AlarmKind, time::Minute};
use serde::{Deserialize, Serialize};

use crate::ledger::AlarmRow;

/// The only version so far. A reader drops what it does not know: the sweeper finds the alarm.
const VERSION: u32 = 1;

/// A message's text is JSON.
#[derive(Serialize, Deserialize)]
struct Text {
    v: u32,
    shard: u16,
    kind: i32,
    /// Minutes since the Unix epoch.
    minute: i64,
    hop: i64,
}

/// Reads no further than this into a version that it does not know.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The text of an alarm's message.
pub(super) fn encode(alarm: AlarmRow) -> Vec<u8> {
    let text = Text {
        v: VERSION,
        shard: alarm.shard,
        kind: alarm.kind.to_stored(),
        minute: alarm.minute.as_minutes(),
        hop: alarm.hop,
    };
    // A struct of numbers cannot fail to be written.
    serde_json::to_vec(&text).unwrap_or_default()
}

/// The alarm of a message's text.
///
/// # Errors
/// Why it is none, in plain words.
pub(super) fn decode(text: &[u8]) -> Result<AlarmRow, String> {
    let version: Version = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if version.v != VERSION {
        return Err(format!("version {} is not known", version.v));
    }
    let text: Text = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let kind = AlarmKind::from_stored(text.kind)
        .ok_or_else(|| format!("kind {} is not known", text.kind))?;
    if text.hop < 0 {
        return Err(format!("hop {} is negative", text.hop));
    }
    let minute = Minute::from_minutes(text.minute);
    Ok(AlarmRow { shard: text.shard, kind, minute, hop: text.hop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small_and_read_back() {
        for kind in [AlarmKind::CouponExpiry, AlarmKind::LockLapse] {
            let minute = Minute::from_minutes(29_453_760);
            let alarm = AlarmRow { shard: 1_023, kind, minute, hop: 359 };
            let text = encode(alarm);
            assert!(text.len() < 80, "{} bytes", text.len());
            assert_eq!(decode(&text), Ok(alarm));
        }
    }

    #[test]
    fn the_text_of_a_version_does_not_change() {
        let minute = Minute::from_minutes(60);
        let alarm = AlarmRow { shard: 2, kind: AlarmKind::LockLapse, minute, hop: 3 };
        let text = br#"{"v":1,"shard":2,"kind":1,"minute":60,"hop":3}"#;
        assert_eq!(encode(alarm), text);
        assert_eq!(decode(text), Ok(alarm));
    }

    #[test]
    fn whatever_else_is_refused() {
        for text in [
            &b""[..],
            b"\xff\xfe",
            b"[]",
            b"{}",
            br#"{"v":2,"alarm":"later"}"#,
            br#"{"v":1,"shard":2,"kind":9,"minute":60,"hop":3}"#,
            br#"{"v":1,"shard":2,"kind":1,"minute":60,"hop":-1}"#,
            br#"{"v":1,"shard":70000,"kind":1,"minute":60,"hop":3}"#,
            br#"{"v":1,"shard":2,"kind":1,"minute":60}"#,
        ] {
            assert!(decode(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
