//! What is pinned, read-only or covered, by every name it has.

use super::*;

/// Pins and covers, sorted.
fn guards(plan: &RootfsPlan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Pin { at, writable: true, .. } => Some(format!("{} pinned", at.display())),
        Step::Pin { at, writable: false, .. } => Some(format!("{} ro", at.display())),
        Step::Cover { at, .. } => Some(format!("{} hidden", at.display())),
        _ => None,
    };
    let mut all: Vec<_> = plan.steps.iter().filter_map(line).collect();
    all.sort();
    all
}

fn guarded(wanted: &Wanted, entries: &[&str]) -> Vec<String> {
    guards(&planned(wanted, &[MERGED, entries].concat()))
}

#[test]
fn the_way_to_a_secret_cannot_be_moved_away() {
    let got =
        guarded(&wanted(), &["/home/u/.config/gh/", "/home/u/.ssh/", "/home/u/.cache/huggingface/token"]);
    let want = [
        "/home/u/.cache pinned",
        "/home/u/.cache/huggingface pinned",
        "/home/u/.cache/huggingface/token hidden",
        "/home/u/.config pinned",
        "/home/u/.config/gh hidden",
        "/home/u/.ssh hidden",
    ];
    assert_eq!(got, want);
}

#[test]
fn nor_can_a_link_to_it() {
    let got = guarded(&wanted(), &["/home/u/.config -> dot/config", "/home/u/dot/config/gh/"]);
    let want = [
        "/home/u/.config pinned",
        "/home/u/dot pinned",
        "/home/u/dot/config pinned",
        "/home/u/dot/config/gh hidden",
    ];
    assert_eq!(got, want);
}

#[test]
fn what_programs_outside_run_is_read_only() {
    let entries =
        ["/home/u/.bashrc", "/home/u/.profile -> dot/profile", "/home/u/dot/profile", "=/home/u/.zshrc"];
    let want = [
        "/home/u/.bashrc ro",
        "/home/u/.profile pinned",
        "/home/u/.zshrc hidden",
        "/home/u/dot pinned",
        "/home/u/dot/profile ro",
    ];
    assert_eq!(guarded(&wanted(), &entries), want);
    let mut wanted = wanted();
    wanted.keep = vec!["/home/u/bin/awf-bpf".into(), "/usr/bin/awf-bpf".into()];
    let entries = ["/home/u/bin/awf-bpf", "/usr/bin/awf-bpf"];
    assert_eq!(guarded(&wanted, &entries), ["/home/u/bin pinned", "/home/u/bin/awf-bpf ro"]);
}

#[test]
fn a_mount_brings_it_back_so_that_programs_can_replace_it() {
    let mut wanted = wanted();
    wanted.mounts = vec![mount("/home/u/.gitconfig:/home/u/.gitconfig")];
    let plan = planned(&wanted, &[MERGED, &["/home/u/.gitconfig"]].concat());
    assert_eq!(guards(&plan), [""; 0]);
    assert_eq!(seen(&plan), ["/usr ro", "/etc ro", "/home/u rw"]);
}

#[test]
fn a_workspace_in_a_read_only_place_is_writable() {
    let mut wanted = wanted();
    wanted.workspaces = vec!["/home/u/.config/nvim/lua".into()];
    let plan = planned(&wanted, &[MERGED, &["/home/u/.config/nvim/lua/"]].concat());
    assert_eq!(guards(&plan), ["/home/u/.config pinned", "/home/u/.config/nvim ro"]);
    assert_eq!(seen(&plan).last().unwrap(), "/home/u/.config/nvim/lua rw");
}

#[test]
fn a_secret_is_hidden_by_each_of_its_names() {
    let mut facts = host(&[MERGED, &["/home/u/.ssh/", "/data/u/.ssh/", "/home/u/proj/all/u/.ssh/"]].concat());
    facts.mounts = vec![
        mount_point("/", "ext4", "8:1", "/"),
        mount_point("/home", "ext4", "8:2", "/"),
        // The same file system, wholly and in part; and one that something else lies over.
        mount_point("/data/u", "ext4", "8:2", "/u"),
        mount_point("/home/u/proj/all", "ext4", "8:2", "/"),
        mount_point("/home/u/proj/over", "ext4", "8:2", "/"),
        mount_point("/home/u/proj/over", "tmpfs", "0:9", "/"),
    ];
    let mut wanted = wanted();
    wanted.workspaces = vec!["/data/u".into()];
    let plan = RootfsPlan::new(&wanted, &facts).unwrap();
    let got: Vec<_> = guards(&plan).into_iter().filter(|line| line.ends_with("hidden")).collect();
    let want = ["/data/u/.ssh hidden", "/home/u/.ssh hidden", "/home/u/proj/all/u/.ssh hidden"];
    assert_eq!(got, want);
}
