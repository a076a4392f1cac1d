fn main() -> anyhow::Result<()> {
    xtask::ebpf::build_script()
}
