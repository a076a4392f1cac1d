//! The command's environment and identity: what comes in, what stays out, and in which order it is overruled.

use std::collections::BTreeMap;

use harness::{Lab, Run, machine, workdir::UID};

fn environment(run: &Run<'_>) -> BTreeMap<String, String> {
    let out = run.run(&["env", "-0"]);
    let text = out.ok().stdout();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

const PROXY: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

#[test]
fn the_proxy_variables_are_set_and_name_a_loopback_proxy() {
    let lab = Lab::new();
    let env = environment(&lab.awf().outer_env("ALL_PROXY", "http://203.0.113.20:3128"));
    for name in PROXY {
        let value = env.get(name).unwrap_or_else(|| panic!("{name} is not in {env:#?}"));
        assert!(
            value.starts_with("http://127.0.0.1:") || value.starts_with("http://[::1]:"),
            "{name}={value}"
        );
    }
    for name in ["NO_PROXY", "no_proxy"] {
        let value = env.get(name).unwrap_or_else(|| panic!("{name} is not in {env:#?}"));
        assert!(["localhost", "127.0.0.1", "::1"].iter().all(|host| value.contains(host)), "{name}={value}");
    }
    assert!(!env.contains_key("ALL_PROXY") && !env.contains_key("all_proxy"));
}

#[test]
fn proxy_env_none_sets_and_passes_none() {
    let lab = Lab::new();
    let run = lab.awf().no_proxy_env().args(["--env-all"]);
    let run = PROXY
        .iter()
        .chain(&["ALL_PROXY", "all_proxy"])
        .fold(run, |run, name| run.outer_env(name, "http://[::1]:1"));
    let env = environment(&run);
    let found: Vec<_> = env.keys().filter(|name| name.to_lowercase().ends_with("_proxy")).collect();
    assert!(found.iter().all(|name| name.eq_ignore_ascii_case("no_proxy")), "{found:?}");
}

#[test]
fn only_a_short_list_comes_in_by_itself() {
    let lab = Lab::new();
    let run = lab.awf().outer_env("CI", "true").outer_env("MY_SECRET", "x").outer_env("LC_ALL", "C.UTF-8");
    let env = environment(&run);
    assert_eq!(env.get("CI").map(String::as_str), Some("true"));
    assert_eq!(env.get("LC_ALL").map(String::as_str), Some("C.UTF-8"));
    assert!(!env.contains_key("MY_SECRET"));
}

#[test]
fn env_all_brings_everything_but_the_runners_own_tokens() {
    let lab = Lab::new();
    let run =
        lab.awf().args(["--env-all"]).outer_env("MINE", "x").outer_env("ACTIONS_RUNTIME_TOKEN", "secret");
    let run = run.outer_env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret").outer_env("SUDO_COMMAND", "x");
    let env = environment(&run);
    assert_eq!(env.get("MINE").map(String::as_str), Some("x"));
    for name in ["ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SUDO_COMMAND"] {
        assert!(!env.contains_key(name), "{name} came in");
    }
}

#[test]
fn exclude_beats_e_beats_file_beats_all() {
    let lab = Lab::new();
    let file = lab.dir().file("env", "# values are literal\nFROM_FILE=file $HOME\nFROM_E=file\nOUT=file\n");
    let run = lab.awf().args(["--env-all", "--exclude-env", "OUT", "--exclude-env", "GONE", "--env-file"]);
    let run = run.args([file.into_os_string()]).env("FROM_E", "e").env("OUT", "e");
    let run = ["FROM_FILE", "FROM_E", "FROM_ALL", "OUT", "GONE"]
        .iter()
        .fold(run, |run, name| run.outer_env(name, "all"));
    let env = environment(&run);
    let get = |name: &str| env.get(name).map(String::as_str);
    assert_eq!(get("FROM_ALL"), Some("all"));
    assert_eq!(get("FROM_FILE"), Some("file $HOME"));
    assert_eq!(get("FROM_E"), Some("e"));
    assert_eq!((get("OUT"), get("GONE")), (None, None));
}

#[test]
fn e_without_a_value_takes_the_callers() {
    let lab = Lab::new();
    let env = environment(&lab.awf().args(["-e", "WANTED"]).outer_env("WANTED", "value=with=equals"));
    assert_eq!(env.get("WANTED").map(String::as_str), Some("value=with=equals"));
}

#[test]
fn the_command_is_the_user_without_privileges() {
    let lab = Lab::new();
    let out =
        lab.awf().run(&["bash", "-c", "id -u; id -g; id -G; echo $HOME; whoami; pwd; cat /proc/self/status"]);
    let (home, work) = (lab.dir().home(), lab.dir().work());
    let user = machine::USER;
    let wanted = format!("{UID}\n{UID}\n{UID}\n{}\n{user}\n{}\n", home.display(), work.display());
    out.ok().check(out.stdout().starts_with(&wanted), || format!("stdout to start with {wanted:?}"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        out.stdout_contains(&format!("{set}:\t0000000000000000\n"));
    }
    out.stdout_contains("NoNewPrivs:\t1\n").stdout_contains("Seccomp:\t2\n");
}

#[test]
fn under_sudo_the_command_is_the_invoking_user() {
    let lab = Lab::new();
    let uid = UID.to_string();
    let run = lab.awf().cwd("/").outer_env("SUDO_UID", &uid).outer_env("SUDO_GID", &uid);
    run.outer_env("SUDO_USER", machine::USER).run(&["id", "-u"]).ok().stdout_is(&format!("{UID}\n"));
}

#[test]
fn root_without_sudo_in_roots_directory_becomes_nobody_and_says_so() {
    let lab = Lab::new();
    lab.awf().cwd("/").run(&["id", "-u"]).ok().stdout_is("65534\n").stderr_contains("nobody");
}

#[test]
fn the_commands_own_servers_on_its_own_loopback_work() {
    let lab = Lab::new();
    let script = "mkdir www; echo mine > www/index.html\n\
        for addr in 127.0.0.1 ::1; do\n\
          coproc { exec /usr/bin/python3 -u -m http.server -d www -b $addr 8000; }; read -r line <&${COPROC[0]}\n\
          url=$addr; [ $addr = 127.0.0.1 ] || url='[::1]'\n\
          curl -sS --noproxy '*' http://$url:8000/; kill $COPROC_PID; wait $COPROC_PID || true\n\
        done";
    lab.awf().sh(script).ok().stdout_is("mine\nmine\n");
}

#[test]
fn the_machines_own_loopback_is_out_of_reach() {
    let lab = Lab::new();
    let listener =
        lab.machine().within(|| std::net::TcpListener::bind("127.0.0.1:0")).expect("listen on the machine");
    let port = listener.local_addr().expect("it has an address").port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    lab.bare().sh(&script).ok();
    lab.awf().allow("allowed.test").sh(&script).fails().fast();
    lab.awf().allow("allowed.test").host_network().sh(&script).fails().fast();
}
