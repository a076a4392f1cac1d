//! Who CMD becomes, for every kind of caller.

use super::*;

fn accounts() -> Accounts {
    Accounts::parse(
        b"root:x:0:0::/root:/bin/bash\n\
          toor:x:0:0::/root:/bin/sh\n\
          alice:x:1000:1000::/home/alice:/bin/zsh\n\
          nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
        b"root:x:0:alice\nalice:x:1000:\nstaff:x:50:alice\nadm:x:4:alice\ndocker:x:998:alice\n",
    )
}

fn root() -> Caller {
    Caller::default()
}

fn chosen(caller: Caller) -> Choice {
    choose(&caller, &accounts()).unwrap()
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn sudo_means_the_user_who_called_it() {
    let choice =
        chosen(Caller { sudo_uid: text("1000"), sudo_gid: text("1000"), cwd_owner: Some(7), ..root() });
    assert_eq!((choice.identity.uid, choice.identity.gid), (1000, 1000));
    assert_eq!((choice.home_on_tmpfs, choice.note), (false, None));
    assert_eq!(choice.identity.home, PathBuf::from("/home/alice"));
}

#[test]
fn groups_that_amount_to_root_are_left_out() {
    let choice = chosen(Caller { sudo_uid: text("1000"), ..root() });
    assert_eq!(choice.identity.groups, [4, 50], "neither docker (998) nor root (0)");
}

#[test]
fn a_primary_group_that_amounts_to_root_is_not_taken() {
    for sudo_gid in ["998", "0"] {
        let choice = chosen(Caller { sudo_uid: text("1000"), sudo_gid: text(sudo_gid), ..root() });
        assert_eq!((choice.identity.gid, choice.identity.groups), (1000, vec![4, 50]));
        let choice = chosen(Caller { sudo_uid: text("4242"), sudo_gid: text(sudo_gid), ..root() });
        assert_eq!(choice.identity.gid, 4242, "a uid without an entry");
    }
    let choice = chosen(Caller { user: text("998"), ..root() });
    assert_eq!((choice.identity.uid, choice.identity.gid), (998, NOBODY), "nor the group named like the uid");
}

#[test]
fn a_primary_group_of_its_own_keeps_the_passwd_one_as_supplementary() {
    let choice = chosen(Caller { sudo_uid: text("1000"), sudo_gid: text("50"), ..root() });
    assert_eq!((choice.identity.gid, choice.identity.groups), (50, vec![4, 1000]));
}

#[test]
fn sudo_by_root_counts_as_no_sudo() {
    let choice = chosen(Caller { sudo_uid: text("0"), sudo_gid: text("0"), cwd_owner: Some(1000), ..root() });
    assert_eq!(choice.identity.uid, 1000);
    assert!(choice.note.unwrap().contains("owner of the working directory"));
}

#[test]
fn root_in_a_directory_of_roots_becomes_nobody_with_a_home_of_its_own() {
    for cwd_owner in [None, Some(0)] {
        let choice = chosen(Caller { cwd_owner, ..root() });
        assert_eq!((choice.identity.uid, choice.home_on_tmpfs), (65534, true));
        assert!(choice.note.unwrap().contains("nobody"));
    }
}

#[test]
fn a_uid_without_an_account_works() {
    let choice = chosen(Caller { user: text("4242"), ..root() });
    assert_eq!((choice.identity.uid, choice.identity.gid, choice.home_on_tmpfs), (4242, 4242, true));
    assert!(choice.identity.groups.is_empty() && choice.note.unwrap().contains("4242"));
}

#[test]
fn the_flag_wins_and_knows_names() {
    let choice = chosen(Caller { user: text("alice"), sudo_uid: text("4242"), ..root() });
    assert_eq!(choice.identity.uid, 1000);
}

#[test]
fn root_is_whoever_it_would_be_otherwise_under_every_name() {
    for user in ["root", "0", "toor", "00", "root:root", "0:0"] {
        let caller = || Caller { sudo_uid: text("1000"), ..root() };
        let plain = chosen(caller()).identity;
        let choice = chosen(Caller { user: text(user), ..caller() });
        let expected = Identity { called_root: true, name: "root".into(), ..plain };
        assert_eq!((choice.identity, choice.home_on_tmpfs), (expected, false), "{user}");
        assert!(choice.note.unwrap().contains("alice (uid 1000)"));
    }
    let choice = chosen(Caller { user: text("root"), cwd_owner: Some(0), ..root() });
    assert_eq!((choice.identity.uid, choice.identity.seen(), choice.home_on_tmpfs), (NOBODY, (0, 0), true));
    let refused = choose(&Caller { user: text("root:staff"), ..root() }, &accounts());
    assert_eq!(refused, Err(IdentityError::RootsGroup("root:staff".to_owned())));
}

#[test]
fn a_group_may_be_named_unless_it_amounts_to_root() {
    for group in ["staff", "50"] {
        let choice = chosen(Caller { user: Some(format!("alice:{group}")), ..root() });
        assert_eq!((choice.identity.gid, choice.identity.groups), (50, vec![4, 1000]));
    }
    assert_eq!(chosen(Caller { user: text("4242:4243"), ..root() }).identity.gid, 4243);
    for (user, group) in [("alice:docker", "docker"), ("alice:998", "docker"), ("1000:0", "root")] {
        let refused = choose(&Caller { user: text(user), ..root() }, &accounts());
        assert_eq!(
            refused,
            Err(IdentityError::RefusedGroup { user: user.to_owned(), group: group.to_owned() })
        );
    }
    for user in ["alice:", "alice:wheel", "alice:-1", "alice:50:50"] {
        let refused = choose(&Caller { user: text(user), ..root() }, &accounts());
        assert_eq!(refused, Err(IdentityError::NoSuchGroup(user.to_owned())), "{user}");
    }
    let refused = choose(&Caller { user: text(":staff"), ..root() }, &accounts());
    assert_eq!(refused, Err(IdentityError::NoSuchUser(":staff".to_owned())));
}

#[test]
fn nonsense_is_refused_and_not_guessed() {
    let unknown = choose(&Caller { user: text("mallory"), ..root() }, &accounts());
    assert_eq!(unknown, Err(IdentityError::NoSuchUser("mallory".to_owned())));
    for (uid, gid) in [("", "1"), ("-1", "1"), ("1000 ", "1"), ("1000", "x"), ("4294967295", "1")] {
        let caller = Caller { sudo_uid: text(uid), sudo_gid: text(gid), ..root() };
        assert!(
            matches!(choose(&caller, &accounts()), Err(IdentityError::BadSudoVariable { .. })),
            "{uid:?} {gid:?}"
        );
    }
}

#[test]
fn without_root_the_remedy_is_named() {
    let error = choose(&Caller { euid: 1000, ..root() }, &accounts()).unwrap_err();
    assert!(error.to_string().contains("sudo"));
}
