//! The broker's jars: fetched by Maven once, kept in the target folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{Options, Step, program};

/// The version that the tests run on.
const VERSION: &str = "4.2.4";
/// Without the import the broker meets versions of libraries that it was not built with, and dies.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>coupon</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencyManagement><dependencies><dependency>
    <groupId>org.apache.pulsar</groupId><artifactId>pulsar</artifactId><version>VERSION</version>
    <type>pom</type><scope>import</scope>
  </dependency></dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>org.apache.pulsar</groupId><artifactId>pulsar-broker</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j2-impl</artifactId></dependency>
  </dependencies>
</project>
"#;
/// Maven fails now and then on a connection that is cut.
const ATTEMPTS: u32 = 3;

/// The folder of the jars.
pub(super) async fn provide(service: &str, options: &Options) -> anyhow::Result<PathBuf> {
    let cache = match &options.cache {
        Some(cache) => cache.clone(),
        None => program::target_dir().join("services"),
    };
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let cache = cache.canonicalize()?;
    let jars = cache.join(format!("pulsar-{VERSION}"));
    if jars.is_dir() {
        return Ok(jars);
    }
    options.tell(Step::Doing(service, "fetching the broker through Maven, 250 MB, once"));
    let _lock = lock(cache.join("fetching.lock")).await?;
    // Another process may have been quicker.
    if !jars.is_dir() {
        fetch(&cache, &jars).await?;
    }
    Ok(jars)
}

/// Waits until nobody else fetches.
async fn lock(path: PathBuf) -> anyhow::Result<File> {
    let locking = tokio::task::spawn_blocking(move || {
        let file = File::create(&path)?;
        file.lock()?;
        std::io::Result::Ok(file)
    });
    locking.await?.context("cannot lock the cache of the broker")
}

/// Into a folder beside, which takes its name only when complete.
async fn fetch(cache: &Path, jars: &Path) -> anyhow::Result<()> {
    let maven = program::find("mvn")?;
    let work = cache.join(format!("pulsar-{VERSION}.partial"));
    let lib = work.join("lib");
    let mut attempt = 1;
    loop {
        if work.exists() {
            fs::remove_dir_all(&work).context("cannot remove an unfinished fetch")?;
        }
        fs::create_dir_all(&lib).with_context(|| format!("cannot make {}", lib.display()))?;
        fs::write(work.join("pom.xml"), pom()).context("cannot write the list of jars")?;
        let output = format!("-DoutputDirectory={}", lib.display());
        let args = ["-q", "-B", "dependency:copy-dependencies", &output];
        match program::run(&maven, &work, args).await {
            Ok(_) => break,
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.context("cannot fetch the Pulsar broker")),
        }
    }
    if !has_broker(&lib)? {
        bail!("Maven has fetched no Pulsar broker into {}", lib.display());
    }
    fs::rename(&lib, jars).context("cannot keep the jars of the broker")?;
    fs::remove_dir_all(&work).context("cannot remove what the fetch has left")
}

fn pom() -> String {
    POM.replace("VERSION", VERSION)
}

fn has_broker(folder: &Path) -> anyhow::Result<bool> {
    let name = format!("pulsar-broker-{VERSION}.jar");
    Ok(folder.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_jars_names_one_version_and_imports_its_libraries() {
        let text = pom();
        assert!(!text.contains("VERSION"));
        assert_eq!(text.matches(VERSION).count(), 2);
        assert!(text.contains("<scope>import</scope>"));
    }

    #[tokio::test]
    async fn jars_that_are_there_are_not_fetched() {
        let cache = tempfile::tempdir().unwrap();
        let jars = cache.path().canonicalize().unwrap().join(format!("pulsar-{VERSION}"));
        fs::create_dir(&jars).unwrap();
        let options = Options { cache: Some(cache.path().to_owned()), ..Options::default() };
        assert_eq!(provide("pulsar", &options).await.unwrap(), jars);
    }
}
