//! The fields of the contract, read from its descriptors, and those that cannot be malformed.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

const OUTPUT_ONLY: &str = "output only: ignored in requests";
const EITHER: &str = "yes or no, both are well formed";
const NOT_UPDATABLE: &str = "never read by an update: the mask refuses its path";

/// RPC, path (with everything below it) and why no value of it is malformed.
const EXEMPT: [(&str, &str, &str); 19] = [
    ("ClaimStream", "sequence", "any number, echoed"),
    ("CreateTemplate", "template.name", OUTPUT_ONLY),
    ("CreateTemplate", "template.template_id", OUTPUT_ONLY),
    ("CreateTemplate", "template.state", OUTPUT_ONLY),
    ("CreateTemplate", "template.bucket_count", OUTPUT_ONLY),
    ("CreateTemplate", "template.version", OUTPUT_ONLY),
    ("CreateTemplate", "template.created_at", OUTPUT_ONLY),
    ("CreateTemplate", "template.published_at", OUTPUT_ONLY),
    ("CreateTemplate", "template.rules.threshold_off.every_threshold", EITHER),
    ("CreateTemplate", "template.rules.includes_shipping", EITHER),
    ("Restore", "shipping", EITHER),
    ("UpdateTemplate", "template.name", OUTPUT_ONLY),
    ("UpdateTemplate", "template.state", OUTPUT_ONLY),
    ("UpdateTemplate", "template.bucket_count", OUTPUT_ONLY),
    ("UpdateTemplate", "template.version", OUTPUT_ONLY),
    ("UpdateTemplate", "template.created_at", OUTPUT_ONLY),
    ("UpdateTemplate", "template.published_at", OUTPUT_ONLY),
    ("UpdateTemplate", "template.merchant_id", NOT_UPDATABLE),
    ("UpdateTemplate", "template.rules", NOT_UPDATABLE),
];

/// Why a field needs no rejecting case.
pub(super) fn exemption(rpc: &str, path: &str) -> Option<&'static str> {
    let found = EXEMPT.iter().find(|entry| applies(entry, rpc, path));
    found.map(|(_, _, reason)| *reason)
}

/// Exemptions that no field of the contract needs.
pub(super) fn stale_exemptions(known: &BTreeSet<(String, String)>) -> Vec<(&str, &str)> {
    let needed = |entry: &&(&str, &str, &str)| !known.iter().any(|(r, p)| applies(entry, r, p));
    let stale = EXEMPT.iter().filter(needed);
    stale.map(|(rpc, path, _)| (*rpc, *path)).collect()
}

fn applies((exempt_rpc, exempt_path, _): &(&str, &str, &str), rpc: &str, path: &str) -> bool {
    let below = path.strip_prefix(exempt_path);
    rpc == *exempt_rpc && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every field of every request, with the name of its RPC. A form of a `oneof` is not listed by
/// itself: the `oneof` is, and the fields below each form are.
pub(super) fn request_fields() -> BTreeSet<(String, String)> {
    let mut fields = BTreeSet::new();
    for method in methods() {
        let mut paths = Vec::new();
        collect(&method.input(), "", &mut paths);
        let rpc = method.name();
        fields.extend(paths.into_iter().map(|path| (rpc.to_owned(), path)));
    }
    assert!(fields.len() > 100, "the contract was not walked: {fields:?}");
    fields
}

/// The names of all RPCs.
pub(super) fn rpcs() -> BTreeSet<String> {
    methods().iter().map(|method| method.name().to_owned()).collect()
}

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(coupon_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let services = pool.services();
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn collect(message: &MessageDescriptor, above: &str, paths: &mut Vec<String>) {
    let below = |name: &str| match above {
        "" => name.to_owned(),
        _ => format!("{above}.{name}"),
    };
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        paths.push(below(oneof.name()));
    }
    for field in message.fields() {
        let path = below(field.name());
        if !is_form(&field) {
            paths.push(path.clone());
        }
        if let Kind::Message(inner) = field.kind()
            && inner.package_name() != "google.protobuf"
        {
            collect(&inner, &path, paths);
        }
    }
}

fn is_form(field: &FieldDescriptor) -> bool {
    let oneof = field.containing_oneof();
    oneof.is_some_and(|oneof| !oneof.is_synthetic())
}

/// The field that a path of a violation is about: no indices, and `update_mask.paths` is its mask.
pub(super) fn without_indices(path: &str) -> String {
    let mut field = String::new();
    let mut outside = true;
    for letter in path.chars() {
        match letter {
            '[' => outside = false,
            ']' => outside = true,
            _ if outside => field.push(letter),
            _ => {}
        }
    }
    let mask = field.strip_suffix(".paths").map(str::to_owned);
    mask.unwrap_or(field)
}
