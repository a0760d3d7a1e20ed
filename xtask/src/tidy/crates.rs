//! The edges between the crates, and what must not stand in a manifest.

use toml::{Table, Value};

use super::{
    Violation,
    tree::{File, Tree},
};

const RULE: &str = "crate-edges";

/// A crate and the siblings that it may depend on.
struct Edges {
    dir: &'static str,
    package: &'static str,
    normal: &'static [&'static str],
    dev: &'static [&'static str],
}

/// The allowed edges. A crate that is not in this table is a violation too.
const CRATES: [Edges; 9] = [
    Edges { dir: "proto", package: "coupon-proto", normal: &[], dev: &[] },
    Edges { dir: "domain", package: "coupon-domain", normal: &[], dev: &[] },
    // What it checks is the domain's promises alone.
    Edges { dir: "domain/fuzz", package: "coupon-fuzz", normal: &["coupon-domain"], dev: &[] },
    Edges { dir: "migrations", package: "coupon-migrations", normal: &[], dev: &[] },
    Edges {
        dir: "server",
        package: "coupon-server",
        normal: &["coupon-domain", "coupon-proto", "coupon-migrations"],
        dev: &[],
    },
    Edges { dir: "client", package: "coupon-client", normal: &["coupon-proto"], dev: &[] },
    // Demo, replay and bench are clients of a process: only the tests proper may link the server.
    Edges {
        dir: "tests",
        package: "coupon-tests",
        normal: &["coupon-client", "coupon-domain", "coupon-proto"],
        dev: &["coupon-migrations", "coupon-server"],
    },
    Edges { dir: "xtask", package: "xtask", normal: &[], dev: &[] },
    Edges { dir: "xtask/protoc", package: "coupon-protoc", normal: &[], dev: &[] },
];

/// What the pure crate must do without: runtimes, wire formats, drivers. Beginnings of names.
const NOT_IN_DOMAIN: [&str; 16] = [
    "tokio",
    "async-",
    "futures",
    "serde",
    "tonic",
    "prost",
    "hyper",
    "sqlx",
    "sea-orm",
    "rusqlite",
    "libsqlite3",
    "mysql",
    "redis",
    "fred",
    "pulsar",
    "reqwest",
];

/// Dependencies between crates follow the table; the domain stays pure.
pub(super) fn edges(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, manifest) in manifests(tree) {
        let package = package_name(&manifest);
        let dir = file.path.trim_end_matches("/Cargo.toml");
        let Some(edges) = CRATES.iter().find(|edges| edges.dir == dir && edges.package == package)
        else {
            let message =
                format!("crate `{package}` is not in the table of xtask/src/tidy/crates.rs");
            found.push(Violation::new(&file.path, 0, RULE, message));
            continue;
        };
        for (section, name) in dependencies(&manifest) {
            if let Some(message) = refusal(edges, section, &name) {
                found.push(Violation::new(&file.path, line_of(file, &name), RULE, message));
            }
        }
    }
    found
}

fn refusal(edges: &Edges, section: Section, name: &str) -> Option<String> {
    if let Some(sibling) = CRATES.iter().find(|sibling| sibling.package == name) {
        let allowed =
            edges.normal.contains(&name) || (section == Section::Dev && edges.dev.contains(&name));
        return (!allowed)
            .then(|| format!("`{}` must not depend on `{}`", edges.package, sibling.package));
    }
    let impure = NOT_IN_DOMAIN.iter().any(|start| name.starts_with(start));
    (edges.dir == "domain" && section != Section::Dev && impure)
        .then(|| format!("`coupon-domain` is pure: no `{name}` in its manifest"))
}

/// Every crate takes the workspace's lints, and those ask for documentation.
pub(super) fn lints_inherited(tree: &Tree) -> Vec<Violation> {
    const RULE: &str = "lints-inherited";
    let mut found = Vec::new();
    for (file, manifest) in manifests(tree) {
        let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if inherited != Some(&Value::Boolean(true)) {
            found.push(Violation::new(&file.path, 0, RULE, "must have `[lints] workspace = true`"));
        }
    }
    let docs = root_manifest(tree).is_some_and(|root| {
        let lint = |table: &Table| {
            table.get("workspace")?.get("lints")?.get("rust")?.get("missing_docs").cloned()
        };
        lint(&root).is_some()
    });
    if !docs {
        found.push(Violation::new(
            "Cargo.toml",
            0,
            RULE,
            "[workspace.lints.rust] must set missing_docs",
        ));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Normal,
    Dev,
}

fn manifests(tree: &Tree) -> impl Iterator<Item = (&File, Table)> {
    tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")).filter_map(|file| {
        // A manifest that does not parse stops cargo long before this.
        file.text.parse::<Table>().ok().map(|manifest| (file, manifest))
    })
}

fn root_manifest(tree: &Tree) -> Option<Table> {
    tree.file("Cargo.toml")?.text.parse().ok()
}

fn package_name(manifest: &Table) -> String {
    let name = manifest.get("package").and_then(|package| package.get("name"));
    name.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// All dependencies by their package names, those of single targets included.
fn dependencies(manifest: &Table) -> Vec<(Section, String)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for (key, section) in [
            ("dependencies", Section::Normal),
            ("build-dependencies", Section::Normal),
            ("dev-dependencies", Section::Dev),
        ] {
            let entries = table.get(key).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(name, value)| {
                let renamed = value.get("package").and_then(Value::as_str);
                (section, renamed.unwrap_or(name).to_owned())
            }));
        }
    }
    found
}

fn line_of(file: &File, name: &str) -> usize {
    file.text.lines().position(|line| line.starts_with(name)).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::{super::tree::tree_of, *};

    fn messages(path: &str, manifest: &str) -> Vec<String> {
        edges(&tree_of(&[(path, manifest)])).into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn an_edge_outside_the_table_is_found_with_its_line() {
        let manifest = "[package]\nname = \"coupon-client\"\n[dependencies]\ncoupon-proto.workspace = true\ncoupon-domain.workspace = true\n";
        let found = edges(&tree_of(&[("client/Cargo.toml", manifest)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 5);
        assert_eq!(found[0].message, "`coupon-client` must not depend on `coupon-domain`");
    }

    #[test]
    fn the_harness_links_the_server_in_its_tests_only() {
        let dev = "[package]\nname = \"coupon-tests\"\n[dev-dependencies]\ncoupon-server.workspace = true\n";
        assert!(messages("tests/Cargo.toml", dev).is_empty());
        assert_eq!(messages("tests/Cargo.toml", &dev.replace("dev-", "")).len(), 1);
    }

    #[test]
    fn the_domain_stays_pure() {
        let manifest = "[package]\nname = \"coupon-domain\"\n[dependencies]\njiff = \"1\"\nd = { package = \"serde_json\", version = \"1\" }\n[target.x.dependencies]\ntokio = \"1\"\n[dev-dependencies]\nserde = \"1\"\n";
        assert_eq!(
            messages("domain/Cargo.toml", manifest),
            [
                "`coupon-domain` is pure: no `serde_json` in its manifest",
                "`coupon-domain` is pure: no `tokio` in its manifest",
            ]
        );
    }

    #[test]
    fn the_fuzz_target_links_the_domain_alone() {
        let manifest = "[package]\nname = \"coupon-fuzz\"\n[dependencies]\ncoupon-domain.workspace = true\nlibfuzzer-sys = { workspace = true, optional = true }\n";
        assert!(messages("domain/fuzz/Cargo.toml", manifest).is_empty());
        let server = manifest.replace("-domain", "-server");
        assert_eq!(messages("domain/fuzz/Cargo.toml", &server).len(), 1);
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_eq!(messages("extra/Cargo.toml", "[package]\nname = \"extra\"\n").len(), 1);
    }

    #[test]
    fn lints_must_be_inherited_and_ask_for_docs() {
        let root = ("Cargo.toml", "[workspace.lints.rust]\nmissing_docs = \"warn\"\n");
        let good = ("a/Cargo.toml", "[lints]\nworkspace = true\n");
        assert!(lints_inherited(&tree_of(&[root, good])).is_empty());
        assert_eq!(lints_inherited(&tree_of(&[root, ("a/Cargo.toml", "[package]\n")])).len(), 1);
        assert_eq!(lints_inherited(&tree_of(&[good])).len(), 1);
    }
}
