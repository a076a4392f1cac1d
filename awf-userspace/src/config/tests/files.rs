//! Domain lists, rulesets and env files as people write them.

use super::Case;

fn rules(case: &Case) -> Vec<String> {
    super::rules(&case.resolved().plan.policy).iter().map(ToString::to_string).collect()
}

#[test]
fn a_domain_list_has_lines_commas_and_comments() {
    let text = "\u{feff}# ours\r\na.test, b.test # two\r\n\n  c.test\n,\nhttps://d.test#no blank\n";
    let case = Case::new(&["--allow-domains-file", "l.txt"]).file("l.txt", text);
    assert_eq!(
        rules(&case),
        ["a.test (l.txt:2)", "b.test (l.txt:2)", "c.test (l.txt:4)", "https://d.test (l.txt:6)"]
    );
    assert!(rules(&Case::new(&["--allow-domains-file", "l.txt"]).file("l.txt", "")).is_empty());
    let case = Case::new(&["--block-domains-file", "l.txt"]).file("l.txt", b"a.test\nb\xff.test\n");
    assert_eq!(case.texts(), ["--block-domains-file l.txt: line 2 is not UTF-8"]);
}

#[test]
fn a_ruleset_says_whether_subdomains_are_meant() {
    let text = "version: 1\nrules:\n  - domain: a.test\n  - domain: b.test\n    subdomains: false\n  - {domain: c.test, subdomains: true}\n";
    let case = Case::new(&["--ruleset-file", "r.yml"]).file("r.yml", text);
    assert_eq!(rules(&case), ["a.test (r.yml:3)", "=b.test (r.yml:4)", "c.test (r.yml:6)"]);
    let policy = case.resolved().plan.policy;
    for (name, allowed) in [("x.a.test", true), ("b.test", true), ("x.b.test", false), ("x.c.test", true)] {
        let name = crate::policy::DomainName::parse(name).unwrap();
        assert_eq!(policy.judge_name(&name).is_allow(), allowed, "{name}");
    }
}

#[test]
fn a_ruleset_is_strict() {
    for text in [
        "",
        "[]",
        "rules: []",
        "version: 2\nrules: []",
        "version: one\nrules: []",
        "version: 1",
        "version: 1\nrules: {}",
        "version: 1\nrules:\n- a.test\n",
        "version: 1\nrules:\n- domains: a.test\n",
        "version: 1\nrules: []\nmore: 1\n",
        "version: 1\nrules:\n- domain: a.test\n  subdomain: false\n",
        "version: 1\nrules:\n- subdomains: false\n",
        "version: 1\nrules:\n- domain: a.test\n  subdomains: no\n",
        "version: 1\nversion: 1\nrules: []",
        "version: 1\nrules:\n- domain: a.test\n  domain: b.test\n",
        "version: 1\nrules: [\n",
        "version: 1\nrules:\n- domain: '*.a.test'\n  subdomains: false\n",
        "version: 1\nrules: []\n---\nversion: 1\nrules: []\n",
    ] {
        let errors = Case::new(&["--ruleset-file", "r.yml"]).file("r.yml", text).texts();
        assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
        assert!(errors[0].contains("r.yml"), "{errors:?}");
        assert!(!errors[0].contains('\n'), "one line: {errors:?}");
    }
    let errors = Case::new(&["--ruleset-file", "r.yml"]).file("r.yml", b"version: 1\nrules: [\xff]").texts();
    assert_eq!(errors.len(), 1, "{errors:?}");
    // Aliases that multiply must end in an error, not in memory.
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nversion: 1\nrules: [*c,*c]\n";
    assert!(!Case::new(&["--ruleset-file", "r.yml"]).file("r.yml", bomb).errors().is_empty());
}

#[test]
fn an_env_file_is_taken_literally() {
    let text = "# ours\r\nA=1\r\n\n  B = 2\n";
    let errors = Case::new(&["--env-file", "e"]).file("e", text).texts();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let text = "# ours\r\nA=1\r\n\nB='q' # not a comment\nC=\nD=a=b\n_E= $A \n";
    let case = Case::new(&["--env-file", "e"]).file("e", text);
    for (name, value) in [("A", "1"), ("B", "'q' # not a comment"), ("C", ""), ("D", "a=b"), ("_E", " $A ")] {
        assert_eq!(case.env(name).as_deref(), Some(value), "{name}");
    }
    for line in ["A", "1A=2", "=x", "export A=1", "A-B=1", "A B=1", "A=1\0"] {
        let errors = Case::new(&["--env-file", "e"]).file("e", line).texts();
        assert!(errors.len() == 1 && errors[0].starts_with("--env-file e:1: "), "{line:?}: {errors:?}");
    }
    let secret =
        Case::new(&["--env-file", "e"]).file("e", "a-long-secret-pasted-on-a-line-of-its-own").texts();
    assert!(!secret[0].contains("pasted"), "{secret:?}");
}

#[test]
fn unreadable_files_are_errors_that_name_them() {
    for flag in ["--allow-domains-file", "--block-domains-file", "--ruleset-file", "--env-file"] {
        let mut case = Case::new(&[flag, "f"]);
        case.inputs.files.insert("f".into(), Err("No such file or directory (os error 2)".into()));
        assert_eq!(case.texts(), [format!("{flag} f: No such file or directory (os error 2)")]);
    }
}

#[test]
fn files_are_read_from_disk() {
    let path = std::env::temp_dir().join(format!("awf-bpf-config-{}", std::process::id()));
    std::fs::write(&path, "a.test\n").unwrap();
    let gone = path.with_extension("gone");
    let case =
        Case::new(&["--allow-domains-file", path.to_str().unwrap(), "--env-file", gone.to_str().unwrap()]);
    let inputs = crate::config::Inputs::read(&case.args());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(inputs.files[&path], Ok(b"a.test\n".to_vec().into()));
    assert!(inputs.files[&gone].as_ref().unwrap_err().contains("No such file"));
    assert!(inputs.env.iter().any(|(name, _)| name == "PATH"));
}
