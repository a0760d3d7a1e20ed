//! The programs that the services are: which are missing, and installing them on Debian.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::cargo;

/// Servers stand here on Debian, outside an ordinary user's PATH.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];
const JAVA_MIN: u32 = 17;

/// A program, the package of Debian that brings it, and what it is for.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("mariadbd", "mariadb-server", "MariaDB"),
    ("mariadb-install-db", "mariadb-server", "MariaDB"),
    ("redis-server", "redis-server", "Redis"),
    ("redis-cli", "redis-server", "Redis"),
    ("java", "default-jre-headless", "the Pulsar broker"),
    ("mvn", "maven", "fetching the Pulsar broker"),
];

/// Installs what is missing, or says what to do.
pub(super) fn provide(yes: bool) -> anyhow::Result<()> {
    let missing = missing(&|name| find(name).is_some(), java_version());
    if missing.is_empty() {
        return Ok(());
    }
    let packages = packages(&missing);
    if find("apt-get").is_none() {
        bail!("{}", advice(&missing, None));
    }
    let root = is_root();
    if !root && find("sudo").is_none() {
        bail!("{}", advice(&missing, Some(&packages)));
    }
    let may = yes || env::var("CI").is_ok_and(|ci| ci == "true");
    if !may && !agreed(&missing, &packages)? {
        bail!("{}", advice(&missing, Some(&packages)));
    }
    install(&packages, root)?;
    let missing = self::missing(&|name| find(name).is_some(), java_version());
    ensure!(missing.is_empty(), "{}", advice(&missing, Some(&packages)));
    Ok(())
}

type Missing = (&'static str, &'static str, &'static str);

fn missing(found: &dyn Fn(&str) -> bool, java: Option<u32>) -> Vec<Missing> {
    let lacks = |name: &str| match name {
        "java" => !found(name) || java.is_none_or(|version| version < JAVA_MIN),
        _ => !found(name),
    };
    PROGRAMS.into_iter().filter(|(name, ..)| lacks(name)).collect()
}

fn packages(missing: &[Missing]) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
    packages.dedup();
    packages
}

fn told(missing: &[Missing]) -> String {
    let needs = |(name, _, what): &Missing| {
        let version = if *name == "java" { " (17 or newer)" } else { "" };
        format!("{name}{version} is missing, needed for {what}")
    };
    missing.iter().map(needs).collect::<Vec<_>>().join("\n")
}

/// What the user can do.
fn advice(missing: &[Missing], packages: Option<&[&str]>) -> String {
    let install = match packages {
        Some(packages) => format!(
            "install them with `apt-get update && apt-get install --no-install-recommends {}` or \
             `cargo xtask services up --yes`",
            packages.join(" ")
        ),
        None => "install them with this system's package manager".to_owned(),
    };
    format!(
        "{}\n{install}; or name services of your own, in containers too, in COUPON_TEST_* (CONTRIBUTING.md \
         says which); tests that need none run with `cargo xtask test --embedded`",
        told(missing)
    )
}

/// Asks, where somebody can answer.
fn agreed(missing: &[Missing], packages: &[&str]) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    println!("{}", told(missing));
    print!("Install {} with apt-get? [y/N] ", packages.join(" "));
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The packages start servers of their own when they are installed. A policy keeps them from it for
/// as long as this lasts; one that is there already is the owner's and stays. The servers would start
/// with the next boot, so they are disabled where an init system is there.
const INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT INT TERM
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
    for package in "$@"; do
        case "$package" in
            mariadb-server) systemctl disable mariadb.service || true ;;
            redis-server) systemctl disable redis-server.service || true ;;
        esac
    done
fi
"#;

fn install(packages: &[&str], root: bool) -> anyhow::Result<()> {
    println!("Installing {} (the servers in them are not started)", packages.join(" "));
    let mut command = if root {
        Command::new("sh")
    } else {
        let mut command = Command::new("sudo");
        command.arg("sh");
        command
    };
    command.args(["-c", INSTALL, "install"]).args(packages);
    cargo::run(&mut command).with_context(|| format!("cannot install {}", packages.join(" ")))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Major version of the Java in the PATH.
fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").stdout(Stdio::null()).output().ok()?;
    major_version(&String::from_utf8_lossy(&output.stderr))
}

/// Of `openjdk version "17.0.15" 2025-04-15`, or `java version "1.8.0_392"`.
fn major_version(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("version \"")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package_once() {
        let all = missing(&|_| false, None);
        assert_eq!(all.len(), PROGRAMS.len());
        let expected = ["mariadb-server", "redis-server", "default-jre-headless", "maven"];
        assert_eq!(packages(&all), expected);
        assert!(missing(&|_| true, Some(17)).is_empty());
        let text = advice(&missing(&|name| name != "redis-cli", Some(21)), Some(&["redis-server"]));
        assert!(text.contains("redis-cli is missing, needed for Redis"), "{text}");
        assert!(text.contains("install --no-install-recommends redis-server"), "{text}");
        assert!(text.contains("COUPON_TEST_*"), "{text}");
        assert!(!text.contains("mariadbd"), "{text}");
    }

    #[test]
    fn an_old_java_is_as_good_as_none() {
        let old = missing(&|_| true, Some(11));
        assert_eq!(packages(&old), ["default-jre-headless"]);
        assert!(told(&old).contains("java (17 or newer) is missing"));
    }

    #[test]
    fn java_tells_its_version_in_two_ways() {
        assert_eq!(major_version("openjdk version \"17.0.15\" 2025-04-15\nmore"), Some(17));
        assert_eq!(major_version("openjdk version \"21\" 2023"), Some(21));
        assert_eq!(major_version("java version \"1.8.0_392\""), Some(8));
        assert_eq!(major_version("what"), None);
    }
}
