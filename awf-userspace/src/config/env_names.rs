//! Which variables mean what: the lists that [`super::env`] applies.

/// Passed on without being asked for.
const DEFAULTS: &[&str] = &[
    "AZURE_CONFIG_DIR",
    "BUN_INSTALL",
    "CARGO_HOME",
    "CI",
    "COLORTERM",
    "COPILOT_OTEL_FILE_EXPORTER_PATH",
    "DOTNET_ROOT",
    "GITHUB_API_URL",
    "GITHUB_AW_OTEL_PARENT_SPAN_ID",
    "GITHUB_AW_OTEL_TRACE_ID",
    "GITHUB_OUTPUT",
    "GITHUB_SERVER_URL",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "GOROOT",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "RUNNER_TEMP",
    "RUNNER_TOOL_CACHE",
    "RUSTUP_HOME",
    "TERM",
    "TZ",
    "XDG_CONFIG_HOME",
];

/// Passed on without being asked for, by their first letters.
const DEFAULT_PREFIXES: &[&str] = &["LC_", "OTEL_"];

/// Credentials, and sockets that stand for credentials.
const CREDENTIALS: &[&str] = &[
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_RUNTIME_TOKEN",
    "ADO_MCP_AUTH_TOKEN",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_API_KEY",
    "CODEX_API_KEY",
    "COPILOT_GITHUB_TOKEN",
    "COPILOT_PROVIDER_API_KEY",
    "DBUS_SESSION_BUS_ADDRESS",
    "GEMINI_API_KEY",
    "GH_ACCESS_TOKEN",
    "GH_TOKEN",
    "GITHUB_API_TOKEN",
    "GITHUB_PAT",
    "GITHUB_PERSONAL_ACCESS_TOKEN",
    "GITHUB_TOKEN",
    "GOOGLE_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
];

/// True of the caller's process and session, not of the command's; among them what awf-bpf sets itself.
const CALLERS_OWN: &[&str] = &[
    "AWF_BPF",
    "AWF_BPF_RUN_ID",
    "HOME",
    "LOGNAME",
    "MAIL",
    "OLDPWD",
    "PATH",
    "PWD",
    "SHELL",
    "SHLVL",
    "SUDO_COMMAND",
    "SUDO_GID",
    "SUDO_UID",
    "SUDO_USER",
    "USER",
    "XDG_RUNTIME_DIR",
    "_",
];

/// They name proxies that cannot be reached from inside.
const PROXY: &[&str] = &[
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Set when the proxy is announced: what the clients measured read, between them.
pub(super) const PROXY_URL: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Own servers of the command are reached directly.
pub(super) const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Set by awf-bpf alone.
pub(super) const RESERVED: [&str; 2] = ["AWF_BPF", "AWF_BPF_RUN_ID"];

/// Whether a variable is passed on without being asked for.
pub(super) fn is_default(name: &str) -> bool {
    DEFAULTS.contains(&name) || DEFAULT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether it is left out of everything but `-e`, as a credential.
pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// Whether it is left out of everything but `-e`, because it would be wrong inside.
pub(super) fn is_callers_own(name: &str) -> bool {
    CALLERS_OWN.contains(&name) || PROXY.contains(&name)
}
