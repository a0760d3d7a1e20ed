//! How many messages the broker was given, asked over its admin interface.

use anyhow::Context as _;
use serde_json::Value;

use crate::http::get;

/// Messages published so far to the alarm topic, and to those whose names continue its name.
pub(super) async fn messages(admin_url: &str, topic: &str) -> anyhow::Result<u64> {
    let (namespace, name) = split(topic).context("the alarm topic has an unusual name")?;
    let listed = get(admin_url, &format!("/admin/v2/persistent/{namespace}")).await?;
    let topics = listed.as_array().context("the broker does not list its topics")?;
    let mut sum = 0;
    for found in topics.iter().filter_map(Value::as_str) {
        let Some((_, found)) = split(found).filter(|(_, found)| found.starts_with(name)) else {
            continue;
        };
        let stats =
            get(admin_url, &format!("/admin/v2/persistent/{namespace}/{found}/stats")).await?;
        sum += stats["msgInCounter"].as_u64().context("the broker counts no messages")?;
    }
    Ok(sum)
}

/// `persistent://TENANT/NAMESPACE/NAME`: (`TENANT/NAMESPACE`, `NAME`).
fn split(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("persistent://")?.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_split_into_namespace_and_name() {
        assert_eq!(split("persistent://public/default/a-1"), Some(("public/default", "a-1")));
        assert_eq!(split("a-1"), None);
    }
}
