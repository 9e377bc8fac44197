use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EtcHosts {
    /// `/etc/hosts` holds one line: the loopback address with the machine's name.
    Localhost,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ntp {
    pub servers: Vec<String>,
    pub fallback_servers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct CaCert {
    /// One or more PEM certificates.
    pub pem: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelModule {
    pub name: String,
    /// `key=value`, separated by spaces; empty for none.
    pub options: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Device, `LABEL=`, `UUID=`, `host:/export`, ...
    pub what: String,
    /// Absolute path of the mount point.
    pub path: String,
    /// File system type; empty lets the kernel find out.
    pub kind: String,
    pub options: Vec<String>,
    /// Whether boot goes on without it.
    pub required: bool,
}

impl Mount {
    pub fn is_network(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "nfs" | "nfs4" | "cifs" | "ceph" | "glusterfs" | "9p"
        ) || self.options.iter().any(|option| option == "_netdev")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swap {
    pub path: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proxy {
    pub http: Option<String>,
    pub https: Option<String>,
    pub no_proxy: Vec<String>,
}
