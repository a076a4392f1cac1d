//! A kernel to boot: found on disk, or fetched by apt and unpacked below `target/vm`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cmd, setup};

/// A kernel's image and its modules.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// `.../lib/modules/VERSION`, with a `modules.dep`.
    pub(super) modules: PathBuf,
}

/// `which` is the beginning of a version (`6.1`), a `.deb`, or a directory that one was unpacked into.
///
/// # Errors
/// When there is no such thing; names what was looked for.
pub(super) fn obtain(which: &str, cache: &Path) -> Result<Kernel> {
    let path = Path::new(which);
    if path.is_dir() {
        return unpacked(&path.canonicalize()?);
    }
    if path.is_file() {
        let name = path.file_stem().with_context(|| format!("{which} has no name"))?;
        return unpack(path, &cache.join("kernels").join(name));
    }
    ensure!(
        which.split('.').all(|part| part.parse::<u32>().is_ok()),
        "--kernel {which}: neither a version such as 6.1 nor a file or directory that is there"
    );
    let package = newest(which)?;
    let dir = cache.join("kernels").join(&package);
    unpacked(&dir).or_else(|_| unpack(&download(&package, cache)?, &dir))
}

/// A statically linked busybox, for the first moments of the machine.
///
/// # Errors
/// When apt cannot fetch it.
pub(super) fn busybox(cache: &Path) -> Result<PathBuf> {
    let dir = cache.join("busybox-static");
    let found = || ["bin/busybox", "usr/bin/busybox"].map(|p| dir.join(p)).into_iter().find(|p| p.is_file());
    if found().is_none() {
        extract(&download("busybox-static", cache)?, &dir)?;
    }
    found().with_context(|| format!("no busybox in {}", dir.display()))
}

/// The newest package of that series with all modules (cloud kernels have no 9p).
fn newest(series: &str) -> Result<String> {
    let prefix = format!("linux-image-{series}");
    let mut names = known(&prefix)?;
    if best(&names, &prefix).is_none() {
        setup::apt::update()?;
        names = known(&prefix)?;
    }
    best(&names, &prefix).map(String::from).with_context(|| {
        format!(
            "apt knows no package {prefix}.*-amd64; Debian 12 has 6.1 in bookworm and 6.12 in bookworm-security. \
             With another kernel: --kernel PATH, a linux-image .deb or a directory that one was unpacked into"
        )
    })
}

fn known(prefix: &str) -> Result<Vec<String>> {
    ensure!(setup::apt::is_here(), "there is no apt here to fetch kernels with; use --kernel PATH");
    let out = Command::new("apt-cache").args(["pkgnames", prefix]).output().context("starting apt-cache")?;
    Ok(String::from_utf8_lossy(&out.stdout).lines().map(String::from).collect())
}

/// Of `linux-image-6.1.0-56-amd64`, `linux-image-6.1.0-56-cloud-amd64` and so on, the plain one of the highest version.
fn best<'n>(names: &'n [String], prefix: &str) -> Option<&'n str> {
    let version = |name: &'n String| -> Option<(Vec<u32>, &'n str)> {
        let rest = name.strip_prefix(prefix)?.strip_suffix("-amd64")?;
        let plain = !["cloud", "rt"].iter().any(|flavour| rest.ends_with(flavour));
        let numbers = rest.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        (rest.starts_with('.') && plain).then_some((numbers, name.as_str()))
    };
    names.iter().filter_map(version).max().map(|(_, name)| name)
}

/// Fetches a package without installing it.
fn download(package: &str, cache: &Path) -> Result<PathBuf> {
    let dir = cache.join("download");
    // A file of an attempt that was cut short must not be taken for the package.
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    cmd::say(&format!("apt-get download {package}"));
    cmd::run(Command::new("apt-get").args(["-q", "download", package]).current_dir(&dir))?;
    let mut files = fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|file| file.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get reported success, but there is no .deb in {}", dir.display()))
}

fn extract(deb: &Path, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    cmd::run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(dir))
}

fn unpack(deb: &Path, dir: &Path) -> Result<Kernel> {
    extract(deb, dir)?;
    unpacked(dir)
}

/// The kernel in a directory that has `boot` and `lib/modules`, as packages of Debian, Ubuntu and their kin have them.
fn unpacked(dir: &Path) -> Result<Kernel> {
    let image = only(&dir.join("boot"), "vmlinuz-")?;
    let version = image.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix("vmlinuz-"));
    let version = version.context("a kernel with a strange name")?.to_owned();
    let roots = [dir.to_owned(), dir.join("usr")];
    let has_modules = |root: &&PathBuf| root.join("lib/modules").join(&version).is_dir();
    let root = roots.iter().find(has_modules);
    let root = root.with_context(|| format!("{} has no lib/modules/{version}", dir.display()))?;
    let modules = root.join("lib/modules").join(&version);
    if !modules.join("modules.dep").is_file() {
        let depmod = cmd::which_in("depmod", &setup::test_path()?).context("depmod is not installed")?;
        cmd::run(Command::new(depmod).arg("-b").arg(root).arg(&version))?;
    }
    Ok(Kernel { version, image, modules })
}

/// The one file of a directory whose name begins so.
fn only(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("looking for a kernel in {}", dir.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> = paths
        .filter(|p| p.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (one, _) => bail!(
            "{} has {} of {prefix}*, and one is wanted",
            dir.display(),
            found.len() + usize::from(one.is_some())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::best;

    #[test]
    fn the_newest_plain_kernel_of_a_series_is_chosen() {
        let names = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.1.0-57-cloud-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.1.0-57-amd64-dbg",
            "linux-image-6.1.0-57-amd64-unsigned",
            "linux-image-6.12.117+deb12-amd64",
            "linux-image-6.12.99+deb12-amd64",
        ]
        .map(String::from);
        assert_eq!(best(&names, "linux-image-6.1"), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(best(&names, "linux-image-6.12"), Some("linux-image-6.12.117+deb12-amd64"));
        assert_eq!(best(&names, "linux-image-6.2"), None);
    }
}
