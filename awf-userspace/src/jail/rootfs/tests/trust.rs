//! Where the run's CA lies on machines of several kinds.

use super::*;

const BUNDLE: &str = "/run/awf-bpf/tls/bundle.pem";
const CA: &str = "/run/awf-bpf/tls/ca.pem";
const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
const ALPINE: &str = "/etc/ssl/cert.pem";

fn with(over: &[&str]) -> Wanted {
    let mut wanted = wanted();
    let one = |at: &&str| OverFile { at: at.into(), file: BUNDLE.into(), optional: false };
    wanted.trust = Trust {
        files: vec![(CA.into(), b"ca".to_vec()), (BUNDLE.into(), b"bundle".to_vec())],
        links: vec![("/run/awf-bpf/tls/certs/abcd.0".into(), CA.into())],
        over: over.iter().map(one).collect(),
        directories: Vec::new(),
        own: None,
    };
    wanted
}

fn on(wanted: &Wanted, entries: &[&str]) -> RootfsPlan {
    planned(wanted, &[MERGED, entries].concat())
}

/// Where the bundle is mounted.
fn covered(plan: &RootfsPlan) -> Vec<String> {
    let at = |step: &Step| match step {
        Step::Cover { from, at, dir: false, .. } if from == Path::new(BUNDLE) => {
            Some(at.display().to_string())
        }
        _ => None,
    };
    plan.steps.iter().filter_map(at).collect()
}

fn checked(plan: &RootfsPlan) -> Vec<String> {
    plan.checks.iter().map(|check| check.at.display().to_string()).collect()
}

const ALWAYS: [&str; 3] = [CA, BUNDLE, "/run/awf-bpf/tls/certs/abcd.0"];

#[test]
fn where_nothing_is_intercepted_there_is_nothing() {
    let plan = on(&wanted(), &[DEBIAN]);
    assert!(plan.checks.is_empty());
    assert!(!format!("{:?}", plan.steps).contains("awf-bpf/tls"));
}

#[test]
fn the_bundle_lies_over_what_is_there_and_nothing_else_is_made() {
    let plan = on(&with(&[DEBIAN, "/etc/pki/tls/cert.pem"]), &[DEBIAN]);
    assert_eq!(covered(&plan), [DEBIAN]);
    assert_eq!(checked(&plan), [&ALWAYS[..], &[DEBIAN]].concat());
    assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
}

#[test]
fn links_lead_to_one_mount_and_each_name_is_checked() {
    // Fedora's, where one file has many names.
    let entries = [
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/cert.pem -> ../ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt -> ../../ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/certs -> ../pki/tls/certs",
    ];
    let names = ["/etc/pki/tls/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-bundle.crt"];
    let plan = on(&with(&names), &entries);
    assert_eq!(covered(&plan), ["/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"]);
    assert_eq!(checked(&plan)[3..], names);
}

#[test]
fn a_link_out_of_what_is_shown_leads_to_a_file_of_ours() {
    let plan = on(&with(&[ALPINE]), &["/etc/ssl/cert.pem -> /srv/pki/all.pem", "/srv/pki/all.pem"]);
    let made = |step: &Step| matches!(step, Step::File { at, content } if at == Path::new("/srv/pki/all.pem") && content == b"bundle");
    assert!(plan.steps.iter().any(made), "{:#?}", plan.steps);
    assert!(covered(&plan).is_empty());
    assert_eq!(checked(&plan)[3..], [ALPINE]);
}

/// What the user put there has to give way, where it is seen; elsewhere it stays.
#[test]
fn a_mount_of_the_users_is_covered_where_programs_look() {
    let mut wanted = with(&[DEBIAN]);
    wanted.mounts = vec![mount("/data/etc-ssl:/etc/ssl:ro"), mount("/data/own.pem:/mnt/own.pem:ro")];
    let entries = [DEBIAN, "/data/etc-ssl/certs/ca-certificates.crt", "/data/own.pem"];
    assert_eq!(covered(&on(&wanted, &entries)), [DEBIAN]);
    // Which has no such file: nothing to cover, and programs find what the user chose.
    let plan = on(&wanted, &[DEBIAN, "/data/etc-ssl/", "/data/own.pem"]);
    assert!(covered(&plan).is_empty() && checked(&plan) == ALWAYS, "{:?}", checked(&plan));
}

#[test]
fn a_directory_is_shown_with_one_more_name() {
    let mut wanted = with(&[DEBIAN]);
    wanted.trust.directories = vec![MoreIn {
        at: "/etc/ssl/certs".into(),
        links: vec![("1234.0".into(), "a.pem".into())],
        others: vec!["ca-certificates.crt".into()],
        ours: ("abcd.0".into(), CA.into()),
    }];
    let plan = on(&wanted, &[DEBIAN]);
    let at = |want: &dyn Fn(&Step) -> bool| plan.steps.iter().position(want).expect("a step");
    let link = |name: &str, to: &str| {
        let dir = "/run/awf-bpf/tls/dirs/0";
        Step::Link { at: Path::new(dir).join(name), to: to.into() }
    };
    let host = "/run/awf-bpf/tls/host/0";
    let over = at(&|step| matches!(step, Step::Cover { at, .. } if at == Path::new(DEBIAN)));
    let again = at(&|step| *step == Step::Again { from: "/etc/ssl/certs".into(), at: host.into() });
    let links = [
        at(&|step| *step == link("1234.0", "a.pem")),
        at(&|step| *step == link("ca-certificates.crt", &format!("{host}/ca-certificates.crt"))),
        at(&|step| *step == link("abcd.0", CA)),
    ];
    let seen =
        at(&|step| matches!(step, Step::Cover { at, dir: true, .. } if at == Path::new("/etc/ssl/certs")));
    assert!(over < again && links.iter().all(|link| *link < seen), "the bundle is in what is seen again");
    assert_eq!(checked(&plan).last().unwrap(), "/etc/ssl/certs/abcd.0");
}

const OWN: &str = "/home/u/.pki/nssdb";

fn with_own() -> Wanted {
    let mut wanted = with(&[]);
    let own = OwnFile { dir: ".pki/nssdb".into(), name: "cert9.db".into(), content: b"db".to_vec() };
    wanted.trust.own = Some(own);
    wanted
}

/// Where the user's own file is made, after a tmpfs for it, and that it is looked at.
fn own(plan: &RootfsPlan) -> Option<String> {
    let at = |want: &dyn Fn(&Step) -> bool| plan.steps.iter().position(want);
    let is_file = |step: &Step| matches!(step, Step::UserFile { owner: (1000, 1000), .. });
    let Some(file) = at(&is_file) else {
        assert!(!checked(plan).iter().any(|path| path.ends_with("cert9.db")));
        assert_eq!(plan.notes.iter().filter(|note| note.contains("Chromium")).count(), 1, "{:?}", plan.notes);
        return None;
    };
    let Step::UserFile { at: path, .. } = &plan.steps[file] else { unreachable!() };
    let dir = path.parent().unwrap();
    let tmpfs =
        at(&|step| matches!(step, Step::Tmpfs { at, mode: 0o700, owner: (1000, 1000), .. } if at == dir));
    assert!(tmpfs.unwrap() < file, "{:#?}", plan.steps);
    let check = plan.checks.iter().find(|check| check.at == *path).expect("it is looked at");
    assert!(check.optional);
    Some(dir.display().to_string())
}

#[test]
fn a_data_base_lies_over_the_users_or_in_a_home_in_memory() {
    let plan = on(&with_own(), &["/home/u/.pki/nssdb/"]);
    assert_eq!(own(&plan).as_deref(), Some(OWN));
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    // One that has something is said to be hidden.
    let plan = on(&with_own(), &["/home/u/.pki/nssdb/cert9.db"]);
    assert_eq!(own(&plan).as_deref(), Some(OWN));
    assert!(plan.notes.concat().contains(&format!("--mount {OWN}:{OWN}")), "{:?}", plan.notes);
    // HOME by a link.
    let mut linked = with_own();
    linked.home = Home::Host("/home/link".into());
    let plan = on(&linked, &["/home/link -> u", "/home/u/.pki/nssdb/"]);
    assert_eq!(own(&plan).as_deref(), Some(OWN));
    let mut memory = with_own();
    for home in [Home::Memory("/run/awf-bpf/home".into()), Home::Host("/home/gone".into())] {
        memory.home = home.clone();
        assert_eq!(own(&on(&memory, &[])), Some(format!("{}/.pki/nssdb", home.path().display())));
    }
}

/// Nothing is made in HOME, no link in it followed, and what was asked for stays.
#[test]
fn where_there_is_no_place_for_it_there_is_no_data_base() {
    let none: [&[&str]; 7] = [
        &[],
        &["/home/u/.pki/"],
        &["/home/u/.pki/nssdb"],
        &["=/home/u/.pki/nssdb"],
        &["/home/u/.pki -> ../v/.pki", "/home/v/.pki/nssdb/"],
        &["/home/u/.pki -> proj/pki", "/home/u/proj/pki/nssdb/"],
        &["/home/u/.pki/nssdb -> /etc/ssl", "/etc/ssl/"],
    ];
    for entries in none {
        assert_eq!(own(&on(&with_own(), entries)), None, "{entries:?}");
    }
    let asked_for = [
        "/home/u/.pki:/home/u/.pki",
        "/data/pki:/home/u/.pki/nssdb",
        "/home/u/.pki/nssdb:/home/u/.pki/nssdb",
    ];
    for text in asked_for {
        let mut wanted = with_own();
        wanted.mounts = vec![mount(text)];
        assert_eq!(own(&on(&wanted, &["/home/u/.pki/nssdb/", "/data/pki/"])), None, "{text}");
    }
    let mut not_shown = with_own();
    not_shown.home = Home::Host("/root".into());
    assert_eq!(own(&on(&not_shown, &["/root/.pki/nssdb/"])), None);
}

#[test]
fn only_a_home_of_the_users_own_may_have_something_made_in_it() {
    let own = |home: &str, entries: &[&str]| {
        let wanted = Wanted { home: Home::Host(home.into()), ..wanted() };
        wanted.own_home(&host(&[MERGED, entries].concat()))
    };
    assert_eq!(own("/home/u", &[]), Some("/home/u".into()));
    assert_eq!(own("/home/link", &["/home/link -> u"]), Some("/home/u".into()));
    for (home, entries) in [("/srv/root's", "/srv/root's/"), ("/home", "/home/"), ("/home/f", "/home/f")] {
        assert_eq!(own(home, &[entries]), None, "{home}");
    }
    assert_eq!(own("/home/gone", &[]), None);
}
