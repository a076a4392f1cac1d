fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("doctor") => {
            println!("{:#?}", xtask::toolchain::detect()?);
            Ok(())
        }
        Some("build-ebpf") => {
            println!(
                "{}",
                xtask::ebpf::build(
                    std::path::Path::new("."),
                    std::path::Path::new("target/ebpf"),
                    std::env::consts::ARCH
                )?
                .display()
            );
            Ok(())
        }
        _ => anyhow::bail!("usage: cargo xtask doctor|build-ebpf"),
    }
}
