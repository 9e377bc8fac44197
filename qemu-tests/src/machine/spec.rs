//! What a machine is made of. Kept beside its disk, so that later commands know what runs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ssh::KeyPair;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineSpec {
    pub name: String,
    /// A raw disk image; never written to.
    pub image: PathBuf,
    pub disk: Disk,
    pub disk_gib: u32,
    pub memory_mib: u32,
    pub cpus: u32,
    pub config: Config,
    /// Of a second disk with the configuration.
    #[serde(default)]
    pub drive: Filesystem,
    /// `network_data.json` or `network-config` on that disk.
    #[serde(default)]
    pub network: Option<String>,
    #[serde(default)]
    pub cloud: Option<Cloud>,
    pub kernel_options: Vec<String>,
    pub lan: Option<Lan>,
    /// Guest ports reachable on free loopback ports of the host, besides that of ssh.
    pub published: Vec<u16>,
    pub watchdog: Watchdog,
    pub key: KeyPair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// Holds only what differs from the image. Can be snapshotted.
    Overlay,
    /// A sparse copy of the image, whose partitions can be written to while the machine is off.
    Copy,
    /// The same, and every write and flush is recorded beside it.
    Recorded,
}

/// How the cloud-config reaches the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Config {
    None,
    /// A second disk labelled `config-2`, as OpenStack makes it.
    Drive {
        user_data: String,
    },
    /// A second disk labelled `cidata`, as cloud-init's NoCloud takes it.
    NoCloud {
        user_data: String,
    },
    /// `user_data` on the image's own CONFIG partition; needs [`Disk::Copy`].
    Partition {
        user_data: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filesystem {
    #[default]
    Vfat,
    /// With Joliet and Rock Ridge names, as clouds make it.
    Iso9660,
}

/// What makes a machine look as if it ran in a cloud. Its one network is 169.254.0.0/16 then, so
/// the host's loopback is not at its usual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cloud {
    /// Of the system in SMBIOS.
    pub manufacturer: String,
    pub product: String,
    /// Port on the host's loopback where 169.254.169.254:80 leads to.
    pub metadata: u16,
}

/// A port of the lab's switch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lan {
    pub socket: PathBuf,
    pub mac: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watchdog {
    None,
    I6300esb,
}

impl MachineSpec {
    pub fn new(name: &str, image: &Path, key: &KeyPair) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            disk: Disk::Overlay,
            disk_gib: 20,
            memory_mib: 2048,
            cpus: 2,
            config: Config::None,
            drive: Filesystem::default(),
            network: None,
            cloud: None,
            kernel_options: Vec::new(),
            lan: None,
            published: Vec::new(),
            watchdog: Watchdog::None,
            key: key.clone(),
        }
    }

    pub fn config_drive(mut self, user_data: &str) -> Self {
        self.config = Config::Drive {
            user_data: user_data.to_owned(),
        };
        self
    }

    pub fn config_partition(mut self, user_data: &str) -> Self {
        self.disk = Disk::Copy;
        self.config = Config::Partition {
            user_data: user_data.to_owned(),
        };
        self
    }

    pub fn no_cloud(mut self, user_data: &str) -> Self {
        self.config = Config::NoCloud {
            user_data: user_data.to_owned(),
        };
        self
    }

    /// The disk of [`Self::config_drive`] and [`Self::no_cloud`] is an ISO image.
    pub fn iso(mut self) -> Self {
        self.drive = Filesystem::Iso9660;
        self
    }

    /// Says on that disk how the network is.
    pub fn network(mut self, description: &str) -> Self {
        self.network = Some(description.to_owned());
        self
    }

    pub fn cloud(mut self, manufacturer: &str, product: &str, metadata: u16) -> Self {
        self.cloud = Some(Cloud {
            manufacturer: manufacturer.to_owned(),
            product: product.to_owned(),
            metadata,
        });
        self
    }

    pub fn kernel_option(mut self, option: &str) -> Self {
        self.kernel_options.push(option.to_owned());
        self
    }

    pub fn publish(mut self, port: u16) -> Self {
        self.published.push(port);
        self
    }

    pub fn lan(mut self, socket: &Path, mac: &str) -> Self {
        self.lan = Some(Lan {
            socket: socket.to_owned(),
            mac: mac.to_owned(),
        });
        self
    }

    /// See [`crate::blocklog`].
    pub fn recorded(mut self) -> Self {
        self.disk = Disk::Recorded;
        self
    }

    pub fn watchdog(mut self) -> Self {
        self.watchdog = Watchdog::I6300esb;
        self
    }
}
