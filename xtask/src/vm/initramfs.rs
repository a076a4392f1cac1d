//! The archive that the kernel unpacks at first: busybox, the modules that reach our files, and two scripts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;

/// What must be there before the root can be mounted: virtio over PCI, 9p over virtio, the overlay.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

const INIT: &str = include_str!("init.sh");
const GUEST: &str = include_str!("guest.sh");

/// The archive, as bytes. `jobs` is the script that [`GUEST`] runs once the machine is set up.
///
/// # Errors
/// When the kernel lacks one of [`MODULES`], or a file cannot be read.
pub(super) fn build(kernel: &Kernel, busybox: &Path, jobs: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["dev", "lower", "modules", "root", "upper"] {
        archive.add(dir, 0o040_755, &[]);
    }
    let busybox = fs::read(busybox).with_context(|| format!("reading {}", busybox.display()))?;
    archive.add("busybox", 0o100_755, &busybox);
    archive.add("init", 0o100_755, INIT.as_bytes());
    archive.add("guest.sh", 0o100_755, GUEST.as_bytes());
    archive.add("jobs.sh", 0o100_644, jobs.as_bytes());
    for (nth, module) in load_order(kernel)?.iter().enumerate() {
        // Numbered: the shell's * is then the order of loading.
        archive.add(&format!("modules/{nth:02}.ko"), 0o100_644, &uncompressed(module)?);
    }
    Ok(archive.finish())
}

/// The files of [`MODULES`] and of what they depend on, each after its own dependencies.
fn load_order(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let read = |name: &str| {
        let path = kernel.modules.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let (dependencies, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = ordered(&dependencies, &builtin).with_context(|| format!("Linux {}", kernel.version))?;
    Ok(order.iter().map(|module| kernel.modules.join(module)).collect())
}

fn ordered<'d>(dependencies: &'d str, builtin: &str) -> Result<Vec<&'d str>> {
    let is = |path: &str, module: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split_once(".ko").is_some_and(|(name, _)| name == module)
    };
    let mut order: Vec<&str> = Vec::new();
    for module in MODULES {
        let line =
            dependencies.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| is(path, module));
        match line {
            // depmod writes the nearest dependency first.
            Some((path, needs)) => order.extend(needs.split_whitespace().rev().chain([path])),
            None if builtin.lines().any(|path| is(path, module)) => {}
            None => bail!("no module {module}: this kernel cannot use our files as its root"),
        }
    }
    let mut seen = Vec::new();
    order.retain(|path| !seen.contains(path) && (seen.push(*path), true).1);
    Ok(order)
}

fn uncompressed(module: &Path) -> Result<Vec<u8>> {
    let tool = match module.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(module).with_context(|| format!("reading {}", module.display())),
    };
    let out = Command::new(tool).arg("-dc").arg(module).output();
    let out = out.with_context(|| format!("starting {tool} (is it installed?)"))?;
    if !out.status.success() {
        bail!("{tool} -dc {}: {}", module.display(), String::from_utf8_lossy(&out.stderr));
    }
    Ok(out.stdout)
}

/// An archive in cpio's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.files += 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        // Inode, mode, uid, gid, links, mtime, size, four device numbers, the name's size, check sum.
        let fields = [self.files, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, ordered};

    #[test]
    fn dependencies_come_first_and_once() {
        let dependencies = "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/netfs/netfs.ko\n\
             kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio.ko\n\
             kernel/fs/overlayfs/overlay.ko:\n";
        let order = ordered(dependencies, "kernel/drivers/virtio/virtio_pci.ko\n").unwrap();
        assert_eq!(
            order,
            [
                "kernel/drivers/virtio/virtio.ko",
                "kernel/net/9p/9pnet.ko",
                "kernel/net/9p/9pnet_virtio.ko.xz",
                "kernel/fs/netfs/netfs.ko",
                "kernel/fs/9p/9p.ko",
                "kernel/fs/overlayfs/overlay.ko",
            ]
        );
        assert!(ordered(dependencies, "").unwrap_err().to_string().contains("virtio_pci"));
    }

    #[test]
    fn an_archive_is_laid_out_as_newc() {
        let mut archive = Archive::default();
        archive.add("abc", 0o100_644, b"hello");
        let first = "070701\
             00000001\
             000081a4\
             00000000\
             00000000\
             00000001\
             00000000\
             00000005\
             00000000\
             00000000\
             00000000\
             00000000\
             00000004\
             00000000\
             abc\0\0\0hello\0\0\0";
        assert!(archive.finish().starts_with(first.as_bytes()));
    }
}
